"""Tests the client without an event loop of the caller, and with several."""

import asyncio
import threading

import pytest
from server import Server
from test_client import create, ship

import orderlog.sync
from orderlog import Orderlog, OrderlogError
from orders.v1.projection_service_pb2 import VerifyRequest
from orders.v1.query_service_pb2 import GetOrderRequest, SearchOrdersRequest, WatchOrdersRequest


@pytest.fixture
def target(tmp_path):
    """A server that is there while no event loop runs."""
    (tmp_path / "data").mkdir()
    server = Server(tmp_path / "data")
    server.start()
    yield server.direct
    server.kill()


def test_a_client_is_made_before_its_loop_runs_and_used_from_another(target):
    client = Orderlog(target)

    async def execute(order_id):
        reply = await client.execute(create(order_id))
        await client.close()
        return reply.position

    assert [asyncio.run(execute(order_id)) for order_id in ("a", "b")] == [1, 2]


def test_a_client_is_used_from_two_loops_at_once(target):
    client = Orderlog(target)
    positions = []

    async def execute(name):
        for number in range(50):
            reply = await client.execute(create(f"{name}-{number}"))
            positions.append(reply.position)
        await client.close()

    threads = [threading.Thread(target=lambda it=it: asyncio.run(execute(it))) for it in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(positions) == list(range(1, 101))


def test_every_kind_of_call_is_made_without_await(target):
    with orderlog.sync.Orderlog(target) as client:
        made = client.execute(create("a"))
        commands = (create(f"o-{number}") for number in range(1000))
        positions = [reply.position for reply in client.execute_all(commands)]
        assert positions == list(range(2, 1002))
        last = positions[-1]
        assert client.ask(GetOrderRequest(order_id="a", min_position=last)).order.version == 1
        search = SearchOrdersRequest(page_size=500, min_position=last)
        assert len(list(client.search(search))) == 1001
        assert [len(page.orders) for page in client.pages(search)] == [500, 500, 1]
        assert list(client.progress(VerifyRequest(parts=["log"])))[-1].finished
        watched = client.watch(WatchOrdersRequest(order_ids=["a"]))
        assert next(watched).orders[0].order_id == made.order_id
        watched.close()
        with pytest.raises(OrderlogError) as refused:
            client.execute(ship("nobody"))
        assert refused.value.reason == "ORDER_NOT_FOUND"
    assert "orderlog" not in [thread.name for thread in threading.enumerate()]


def test_threads_share_a_client(target):
    positions = []
    with orderlog.sync.Orderlog(target) as client:

        def execute():
            positions.extend(client.execute(create()).position for _ in range(20))

        threads = [threading.Thread(target=execute) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(positions) == list(range(1, 81))
