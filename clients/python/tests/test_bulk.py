"""Tests many commands over one stream."""

import asyncio

import pytest
from test_client import create, head, ship
from test_retry import failure
from test_subscriber import until

from orderlog import Orderlog, OrderlogError
from orders.v1.command_service_pb2 import CreateOrderResponse, ExecuteCommandsResponse
from orders.v1.command_service_pb2_grpc import (
    CommandServiceServicer,
    add_CommandServiceServicer_to_server,
)


async def test_each_command_gets_its_reply_or_its_error_in_order(orderlog):
    async def commands():
        yield create("a")
        yield ship("nobody")
        yield ship("a")

    created, refused, shipped = [result async for result in orderlog.execute_all(commands())]
    assert (created.order_id, shipped.version) == ("a", 2)
    assert isinstance(refused, OrderlogError)
    assert (refused.reason, refused.resource) == ("ORDER_NOT_FOUND", "nobody")
    assert [result async for result in orderlog.execute_all([])] == []


async def test_replies_come_while_commands_are_read(orderlog):
    replied = asyncio.Event()

    async def commands():
        yield create("a")
        await replied.wait()
        yield create("b")

    positions = []
    async for reply in orderlog.execute_all(commands()):
        positions.append(reply.position)
        replied.set()
    assert positions == [1, 2]


async def test_commands_without_an_answer_are_sent_again_after_a_break(server, orderlog):
    async def execute():
        commands = [create(f"o-{number}") for number in range(1000)]
        return [reply.position async for reply in orderlog.execute_all(commands)]

    executing = asyncio.create_task(execute())
    async with Orderlog(server.target) as other:
        while await head(other) < 50:
            assert not executing.done()
    server.cut()
    assert await executing == list(range(1, 1001))
    assert await head(orderlog) == 1000


async def test_an_error_of_the_source_comes_after_the_replies(orderlog):
    def commands():
        yield create("a")
        raise LookupError("the file ends here")

    results = orderlog.execute_all(commands())
    assert (await anext(results)).order_id == "a"
    with pytest.raises(LookupError):
        await anext(results)


async def test_no_more_commands_are_read_than_may_be_in_flight(server, orderlog):
    await orderlog.execute(create("first"))
    server.hold_answers()
    read = []

    def commands():
        for number in range(2000):
            read.append(number)
            yield create(f"o-{number}")

    async def execute():
        return len([reply async for reply in orderlog.execute_all(commands())])

    executing = asyncio.create_task(execute())
    await until(lambda: len(read) >= 512)
    async with Orderlog(server.target) as other:
        # The server executes them all, and none of the replies arrives.
        while await head(other) < 513:
            await asyncio.sleep(0.01)
    assert len(read) == 512
    server.cut()
    assert await executing == 2000


async def test_a_command_that_must_wait_is_sent_again_with_those_after_it(serve):
    ids = []

    class Busy(CommandServiceServicer):
        async def ExecuteCommands(self, requests, context):  # noqa: N802
            async for request in requests:
                ids.append(request.create_order.request_id)
                if len(ids) == 2:
                    yield ExecuteCommandsResponse(error=failure("OVERLOADED"))
                else:
                    reply = CreateOrderResponse(order_id=request.create_order.order_id)
                    yield ExecuteCommandsResponse(create_order=reply)

    target = await serve(add_CommandServiceServicer_to_server, Busy())
    async with Orderlog(target) as orderlog:
        commands = [create("a"), create("b"), create("c")]
        replies = [reply.order_id async for reply in orderlog.execute_all(commands)]
    assert replies == ["a", "b", "c"]
    assert len(set(ids)) == 3
    assert ids[1] in ids[2:]


async def test_nobody_there_is_told_when_patience_is_over():
    async with Orderlog("127.0.0.1:1", patience=0.5) as orderlog:
        with pytest.raises(OrderlogError):
            await anext(orderlog.execute_all([create()]))
