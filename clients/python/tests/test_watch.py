"""Tests the orders as they change, and operators' calls."""

import asyncio
import contextlib

import pytest
from grpc import StatusCode
from test_client import create, ship

from orderlog import Orderlog, OrderlogError
from orders.v1.order_pb2 import ORDER_STATUS_CREATED
from orders.v1.projection_service_pb2 import (
    GetStatusRequest,
    ListParkedRequest,
    RebuildRequest,
    RebuildStage,
    VerifyRequest,
)
from orders.v1.query_service_pb2 import WatchOrdersRequest


async def test_orders_are_watched_until_it_is_left(orderlog):
    written = await orderlog.execute(create("a"))
    request = WatchOrdersRequest(statuses=[ORDER_STATUS_CREATED], min_position=written.position)
    async with contextlib.aclosing(orderlog.watch(request)) as responses:
        first = await anext(responses)
        assert ([order.order_id for order in first.orders], first.caught_up) == (["a"], True)
        await orderlog.execute(ship("a"))
        assert (await anext(responses)).left_order_ids == ["a"]


async def test_after_silence_and_a_break_all_that_match_are_listed_again(server, orderlog):
    written = await orderlog.execute(create("a"))
    restarts = []
    request = WatchOrdersRequest(min_position=written.position)
    options = {"silence": 1.0, "on_restart": lambda: restarts.append(len(restarts))}
    async with contextlib.aclosing(orderlog.watch(request, **options)) as responses:
        assert [order.order_id for order in (await anext(responses)).orders] == ["a"]
        server.hold_answers()
        assert [order.order_id for order in (await anext(responses)).orders] == ["a"]
        assert restarts
        server.cut()
        count = len(restarts)
        assert [order.order_id for order in (await anext(responses)).orders] == ["a"]
        assert len(restarts) > count


async def test_a_watch_that_cannot_be_ends(orderlog):
    with pytest.raises(OrderlogError) as refused:
        await anext(orderlog.watch(WatchOrdersRequest(order_ids=["no good"])))
    assert refused.value.code is StatusCode.INVALID_ARGUMENT


async def test_operators_see_and_rebuild_the_read_models(orderlog):
    written = await orderlog.execute(create("a"))
    status = await orderlog.ask(GetStatusRequest())
    assert [it.name for it in status.projections] == ["documents", "search"]
    async with asyncio.timeout(30):
        while (await orderlog.ask(GetStatusRequest())).projections[0].position < written.position:
            await asyncio.sleep(0.01)
    rebuild = RebuildRequest(projections=["documents"])
    stages = [response.stage async for response in orderlog.progress(rebuild)]
    assert stages[-1] == RebuildStage.REBUILD_STAGE_DONE
    verified = [response async for response in orderlog.progress(VerifyRequest(parts=["log"]))]
    assert (verified[-1].finished, list(verified[-1].differences)) == (True, [])
    assert [list(page.parked) async for page in orderlog.pages(ListParkedRequest())] == [[]]


async def test_an_operators_call_is_not_tried_again():
    async with Orderlog("127.0.0.1:1") as orderlog:
        with pytest.raises(OrderlogError) as failed:
            await anext(orderlog.progress(VerifyRequest()))
    assert failed.value.code is StatusCode.UNAVAILABLE


async def test_a_request_goes_to_the_call_that_takes_it(orderlog):
    many = orderlog.execute_all([GetStatusRequest()])
    for call in (orderlog.execute(GetStatusRequest()), orderlog.ask(create()), anext(many)):
        with pytest.raises(TypeError, match=r"orders\.v1\.\w+ is not one of"):
            await call
