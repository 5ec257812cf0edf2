"""The scenarios. The docstring of each is its row in the table of results."""

import asyncio
import time

import pytest
from google.protobuf.json_format import MessageToDict
from google.type.money_pb2 import Money

from driver import ClientError, Driver
from newer import newer_server
from orders.v1.command_service_pb2 import CreateOrderItem, CreateOrderRequest
from orders.v1.command_service_pb2_grpc import CommandServiceStub
from orders.v1.event_service_pb2 import GetHeadRequest
from orders.v1.event_service_pb2_grpc import EventServiceStub
from orders.v1.projection_service_pb2 import GetStatusRequest
from orders.v1.projection_service_pb2_grpc import ProjectionServiceStub
from server import secured


def order(order_id, lines=1):
    price = Money(currency_code="EUR", units=12, nanos=500_000_000)
    item = CreateOrderItem(product_id="p" * 64, quantity=2, unit_price=price)
    return CreateOrderRequest(order_id=order_id, customer_id="ann", items=[item] * lines)


def create(order_id):
    return MessageToDict(order(order_id))


def ship(order_id, **more):
    address = {"shippingAddress": "1 Harbour Street", "trackingNumber": "T-1"}
    return {"orderId": order_id, **address, **more}


class Direct:
    """Calls the server past the proxy, as another client that nothing happens to."""

    def __init__(self, server):
        self.server = server

    async def write(self, *orders):
        options = {"wait_for_ready": True, "metadata": self.server.credential}
        async with self.server.channel() as channel:
            for it in orders:
                await CommandServiceStub(channel).CreateOrder(it, **options)

    async def head(self):
        async with self.server.channel() as channel:
            head = await EventServiceStub(channel).GetHead(GetHeadRequest(), wait_for_ready=True)
            return head.position

    async def projected(self, position):
        """Waits until the read model has an event."""
        async with self.server.channel() as channel, asyncio.timeout(120):
            status = ProjectionServiceStub(channel).GetStatus
            while (await status(GetStatusRequest())).projections[0].position < position:
                await asyncio.sleep(0.05)


async def until(is_so):
    async with asyncio.timeout(60):
        while not is_so():
            await asyncio.sleep(0.005)


async def test_lost_answer(driver, server):
    """A reply is lost: the command is sent again, and has one effect."""
    await driver.connect(server.target)
    await driver.ask("create_order", request=create("first"))
    server.hold_answers()
    call = asyncio.create_task(driver.ask("create_order", request=create("o")))
    while await Direct(server).head() < 2 and not call.done():
        pass
    assert not call.done()
    server.cut()
    assert await call == {"orderId": "o", "version": "1", "position": "2"}
    assert await Direct(server).head() == 2


async def test_server_restarts_during_command(driver, server):
    """The server is killed and starts again: the command waits for it."""
    await driver.connect(server.target)
    await driver.ask("create_order", request=create("before"))
    server.kill()
    call = asyncio.create_task(driver.ask("create_order", request=create("after")))
    await asyncio.to_thread(server.start)
    assert (await call)["position"] == "2"


async def test_restart_in_mid_stream(client, server, tmp_path):
    """Server and subscriber are killed in mid-stream: no event is lost or comes twice."""
    direct, store = Direct(server), tmp_path / "store"
    await direct.write(*(order(f"a-{number}") for number in range(100)))
    first = Driver(client)
    await first.start()
    try:
        await first.connect(server.target)
        following = asyncio.create_task(first.follow(store, 10_000))
        await until(lambda: following.done() or first.progress[-1:] == [100])
        server.kill()
        await asyncio.to_thread(server.start)
        await direct.write(*(order(f"b-{number}") for number in range(50)))
        await until(lambda: following.done() or first.progress[-1:] >= [120])
        assert not following.done() or following.result()
    finally:
        await first.kill()
        await asyncio.gather(following, return_exceptions=True)
    second = Driver(client)
    await second.start()
    try:
        await second.connect(server.target)
        following = asyncio.create_task(second.follow(store, 200))
        await direct.write(*(order(f"c-{number}") for number in range(50)))
        assert await following == {"seen": list(range(1, 201)), "position": 200}
        await second.end()
    finally:
        await second.kill()


async def test_silent_network(driver, server, tmp_path):
    """The network goes silent: the subscriber takes another connection."""
    await Direct(server).write(order("a"))
    await driver.connect(server.target)
    following = asyncio.create_task(driver.follow(tmp_path / "store", 2, silence_ms=1000))
    await until(lambda: following.done() or driver.progress[-1:] == [1])
    server.hold_answers()
    await Direct(server).write(order("b"))
    assert (await following)["seen"] == [1, 2]


async def test_slow_reader(driver, server, tmp_path):
    """A slow subscriber keeps its stream: the time of its work is not silence."""
    # A response ends at 256 KiB, which three of these exceed.
    await Direct(server).write(*(order(f"o-{number}", 1000) for number in range(8)))
    await driver.connect(server.target)
    before = server.connection_count
    slow = {"silence_ms": 1000, "apply_ms": 1200}
    assert (await driver.follow(tmp_path / "store", 8, **slow))["seen"] == list(range(1, 9))
    assert len(driver.progress) >= 3
    # A busy machine may be silent once.
    assert server.connection_count - before <= 2


async def test_refused_commands(driver, server):
    """A refusal comes at once, with its code, reason and details."""
    await driver.connect(server.target)
    await driver.ask("create_order", request=create("o"))
    with pytest.raises(ClientError) as refused:
        await driver.ask("create_order", request=create("no good") | {"customerId": ""})
    assert (refused.value.code, refused.value.reason) == ("INVALID_ARGUMENT", "INVALID_FIELD")
    assert refused.value.violations.keys() == {"order_id", "customer_id"}
    assert refused.value.violations["order_id"] == "must match [A-Za-z0-9_-]{1,64}"
    with pytest.raises(ClientError) as refused:
        await driver.ask("ship_order", request=ship("o", expectedVersion="7"))
    assert (refused.value.code, refused.value.reason) == ("ABORTED", "VERSION_MISMATCH")
    assert refused.value.metadata == {"expected": "7", "actual": "1"}
    with pytest.raises(ClientError) as refused:
        await driver.ask("ship_order", request=ship("nobody"))
    assert (refused.value.code, refused.value.reason) == ("NOT_FOUND", "ORDER_NOT_FOUND")
    assert refused.value.resource == "nobody"


async def test_log_diverged(driver, server, tmp_path):
    """The log went back: the subscriber ends, is rewound and goes on."""
    direct, store = Direct(server), tmp_path / "store"
    await direct.write(order("kept-0"), order("kept-1"))
    server.kill()
    server.save_log(tmp_path / "saved")
    await asyncio.to_thread(server.start)
    await direct.write(order("lost"))
    await driver.connect(server.target)
    await driver.follow(store, 3)
    server.kill()
    server.put_back_log(tmp_path / "saved")
    await asyncio.to_thread(server.start)
    await direct.write(order("other-0"), order("other-1"))
    with pytest.raises(ClientError) as lost:
        await driver.follow(store, 4)
    assert (lost.value.reason, lost.value.position) == ("LOG_DIVERGED", 3)
    await driver.ask("rewind", store=str(store), position=lost.value.shared_position or 0)
    assert (await driver.follow(store, 4))["seen"] == [1, 2, 3, 4]


async def test_large_pages(driver, server):
    """Pages of large orders are read to the end."""
    await Direct(server).write(*(order(f"o-{number:02}", 1000) for number in range(60)))
    await Direct(server).projected(60)
    await driver.connect(server.target)
    search = {"pageSize": 500, "orderBy": "created_at", "minPosition": "60"}
    found = await driver.ask("search", request=search)
    # All of them together exceed the default limit of 4 MiB of many libraries.
    assert found["order_ids"] == [f"o-{number:02}" for number in range(60)]


async def test_newer_server(driver, tmp_path):
    """A newer server sends unknown fields, enum values, events and reasons: the rest is read."""
    async with newer_server() as target:
        await driver.connect(target)
        found = (await driver.ask("get_order", request={"orderId": "o"}))["order"]
        assert (found["orderId"], found["version"], found["status"]) == ("o", "7", 99)
        with pytest.raises(ClientError) as refused:
            await driver.ask("create_order", request=create("o"))
        assert (refused.value.code, refused.value.reason) == ("FAILED_PRECONDITION", "NEW_REASON")
        assert (await driver.follow(tmp_path / "store", 2))["seen"] == [1, 2]


async def test_token_expiry(driver, tmp_path):
    """A token expires: a command is UNAUTHENTICATED, and a stream goes on with the next token."""
    token = tmp_path / "token"
    async with secured(tmp_path / "server") as server:
        options = {"tls": True, "ca": str(server.certificate), "token_file": str(token)}
        await driver.connect(server.target.removeprefix("https://"), **options)
        # The server allows for clocks that differ by 30 s.
        token.write_text(server.jwt(time.time() - 600))
        with pytest.raises(ClientError) as refused:
            await driver.ask("create_order", request=create("a"))
        assert refused.value.code == "UNAUTHENTICATED"
        token.write_text(server.jwt(time.time() + 600))
        await driver.ask("create_order", request=create("a"))
        token.write_text(server.jwt(time.time() - 28))
        following = asyncio.create_task(driver.follow(tmp_path / "store", 2))
        await until(lambda: following.done() or driver.progress[-1:] == [1])
        before = server.connection_count
        await until(lambda: following.done() or server.connection_count > before)
        token.write_text(server.jwt(time.time() + 600))
        await Direct(server).write(order("b"))
        assert (await following)["seen"] == [1, 2]


async def test_execute_commands(driver, server):
    """Many commands are in flight at a break: each has one effect, and its reply or its error."""
    await driver.connect(server.target)
    requests = [{"createOrder": create(f"o-{number}")} for number in range(2000)]
    requests[500] = {"shipOrder": ship("nobody")}
    call = asyncio.create_task(driver.ask("execute_commands", requests=requests))
    while await Direct(server).head() < 100 and not call.done():
        pass
    is_late = call.done()
    server.cut()
    results = (await call)["results"]
    assert not is_late
    assert results.pop(500)["error"]["reason"] == "ORDER_NOT_FOUND"
    assert [result["ok"]["position"] for result in results] == [str(it) for it in range(1, 2000)]
    assert await Direct(server).head() == 1999


async def test_watch_orders(driver, server):
    """Orders are watched, and after a break watched once more."""
    await Direct(server).write(order("a"))
    await driver.connect(server.target)
    call = driver.ask("watch_orders", request={"customerIds": ["ann"]}, until=3)
    watching = asyncio.create_task(call)
    await until(lambda: watching.done() or driver.progress[-1:] == [1])
    await Direct(server).write(order("b"))
    await until(lambda: watching.done() or driver.progress[-1:] == [2])
    server.cut()
    await Direct(server).write(order("c"))
    versions = {"a": 1, "b": 1, "c": 1}
    assert await watching == {"versions": versions, "left": [], "position": 3}
