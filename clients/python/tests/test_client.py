"""Tests commands and queries against a real server."""

import asyncio
from decimal import Decimal

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.json_format import MessageToDict, ParseDict
from google.type.money_pb2 import Money
from grpc import StatusCode

from orderlog import Orderlog, OrderlogError
from orderlog.client import uuid7
from orderlog.money import amount, money
from orders.v1.command_service_pb2 import (
    CancelOrderRequest,
    CreateOrderItem,
    CreateOrderRequest,
    DeliverOrderRequest,
    RegisterCustomerRequest,
    ShipOrderRequest,
)
from orders.v1.event_service_pb2 import GetHeadRequest
from orders.v1.order_pb2 import Order, OrderStatus
from orders.v1.query_service_pb2 import GetOrderRequest, SearchOrdersRequest


def create(order_id: str = "", customer: str = "ann") -> CreateOrderRequest:
    item = CreateOrderItem(product_id="tea", quantity=2, unit_price=money("EUR", Decimal("12.50")))
    return CreateOrderRequest(order_id=order_id, customer_id=customer, items=[item])


def ship(order_id: str, **more: int) -> ShipOrderRequest:
    return ShipOrderRequest(
        order_id=order_id, shipping_address="1 Harbour Street", tracking_number="T-1", **more
    )


async def head(orderlog: Orderlog) -> int:
    return (await orderlog.events.GetHead(GetHeadRequest(), wait_for_ready=True)).position


async def test_orders_are_created_shipped_and_cancelled(orderlog):
    made = await orderlog.execute(create())
    assert (made.version, made.position) == (1, 1)
    shipped = await orderlog.execute(ship(made.order_id))
    assert (shipped.order_id, shipped.version, shipped.position) == (made.order_id, 2, 2)
    await orderlog.execute(create("b"))
    cancelled = await orderlog.execute(CancelOrderRequest(order_id="b", reason="changed my mind"))
    assert cancelled.version == 2


async def test_what_was_written_is_read(orderlog):
    for number in range(20):
        written = await orderlog.execute(create(f"o-{number}"))
        query = GetOrderRequest(order_id=f"o-{number}", min_position=written.position)
        answer = await orderlog.ask(query)
        assert answer.order.version == 1
        assert answer.as_of_position >= written.position


async def test_large_orders_are_read_in_short_pages(orderlog):
    large = create()
    item = large.items[0]
    item.product_id = "p" * 64
    large.items.extend([item] * 999)
    for _ in range(60):
        written = await orderlog.execute(large)
    # All of them together exceed grpc's default limit of 4 MiB.
    search = SearchOrdersRequest(page_size=500, min_position=written.position)
    assert len([order async for order in orderlog.search(search)]) == 60


async def test_a_request_id_has_one_effect(orderlog):
    request = create()
    request.request_id = str(uuid7())
    first = await orderlog.execute(request)
    assert await orderlog.execute(request) == first
    assert await head(orderlog) == 1


async def test_a_lost_answer_is_asked_for_again_and_the_command_has_one_effect(server, orderlog):
    await orderlog.execute(RegisterCustomerRequest(customer_id="ann", name="Ann"))
    async with Orderlog(server.target) as other:
        server.hold_answers()
        call = asyncio.create_task(orderlog.execute(create("o")))
        # The proxy forwards replies on a new connection, which shows the committed command.
        async with Orderlog(server.target) as third, asyncio.timeout(30):
            while await head(third) < 2:
                await asyncio.sleep(0)
        assert not call.done()
        server.cut()
        assert (await call).position == 2
        assert await head(other) == 2


async def test_a_command_outlives_the_server(server, orderlog):
    await orderlog.execute(create("before"))
    server.kill()
    call = asyncio.create_task(orderlog.execute(create("after")))
    await asyncio.to_thread(server.start)
    assert (await call).order_id == "after"
    assert await head(orderlog) == 2


async def test_an_error_tells_every_wrong_field(orderlog):
    request = create("no good")
    request.customer_id = ""
    request.items[0].quantity = 0
    request.items[0].unit_price.units = -1
    with pytest.raises(OrderlogError) as refused:
        await orderlog.execute(request)
    error = refused.value
    assert (error.code, error.reason) == (StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")
    assert set(error.violations) == {
        "order_id",
        "customer_id",
        "items[0].quantity",
        "items[0].unit_price",
    }
    assert error.violations["order_id"] == "must match [A-Za-z0-9_-]{1,64}"
    assert not error.is_retryable


async def test_an_error_tells_what_belongs_to_its_reason(orderlog):
    with pytest.raises(OrderlogError) as refused:
        await orderlog.execute(ship("nobody"))
    assert (refused.value.reason, refused.value.resource) == ("ORDER_NOT_FOUND", "nobody")
    await orderlog.execute(create("o"))
    with pytest.raises(OrderlogError) as refused:
        await orderlog.execute(ship("o", expected_version=7))
    assert refused.value.reason == "VERSION_MISMATCH"
    assert refused.value.metadata == {"expected": "7", "actual": "1"}
    with pytest.raises(OrderlogError) as refused:
        await orderlog.execute(DeliverOrderRequest(order_id="o"))
    assert (refused.value.reason, refused.value.metadata["status"]) == (
        "ORDER_NOT_DELIVERABLE",
        "CREATED",
    )


async def test_a_read_model_that_is_behind_says_so(server):
    async with Orderlog(server.target, answer_within=0.5) as orderlog:
        query = GetOrderRequest(order_id="o", min_position=99, max_wait=Duration(seconds=1))
        with pytest.raises(OrderlogError) as behind:
            await orderlog.ask(query)
    assert behind.value.reason == "READ_MODEL_BEHIND"
    assert behind.value.metadata == {"position": "0", "min_position": "99"}


async def test_pages_hold_every_order_once(orderlog):
    made = [(await orderlog.execute(create(f"o-{number:02}"))) for number in range(25)]
    search = SearchOrdersRequest(
        page_size=10, order_by="created_at", min_position=made[-1].position
    )
    found = [order.order_id async for order in orderlog.search(search)]
    assert found == [it.order_id for it in made]


async def test_zero_is_a_version_and_absent_is_none(orderlog):
    await orderlog.execute(create("o"))
    with pytest.raises(OrderlogError) as refused:
        await orderlog.execute(ship("o", expected_version=0))
    assert refused.value.metadata == {"expected": "0", "actual": "1"}
    assert (await orderlog.execute(ship("o"))).version == 2


async def test_json_has_the_contracts_names_and_takes_both_spellings(orderlog):
    made = await orderlog.execute(
        ParseDict(
            {
                "orderId": "o",
                "customer_id": "ann",
                "items": [
                    {
                        "productId": "tea",
                        "quantity": 2,
                        "unit_price": {"currencyCode": "EUR", "units": "12", "nanos": 500000000},
                    }
                ],
            },
            CreateOrderRequest(),
        )
    )
    assert MessageToDict(made) == {"orderId": "o", "version": "1", "position": "1"}
    order = (await orderlog.ask(GetOrderRequest(order_id="o", min_position=1))).order
    assert not order.HasField("shipped_at")
    assert (order.shipping_address, order.customer_name) == ("", "")
    assert MessageToDict(order)["status"] == "ORDER_STATUS_CREATED"


async def test_what_is_not_known_is_kept_when_read_and_refused_when_it_filters(orderlog):
    with pytest.raises(OrderlogError) as refused:
        await orderlog.ask(SearchOrdersRequest(statuses=[99]))
    assert set(refused.value.violations) == {"statuses[0]"}
    newer = Order(order_id="o", status=99).SerializeToString() + b"\xc2\x3e\x03new"
    known = Order.FromString(newer)
    assert known.status == 99
    assert known.status not in OrderStatus.values()
    assert known.SerializeToString() == newer


async def test_as_much_is_told_as_a_client_takes(orderlog):
    request = create("o")
    request.items.extend(CreateOrderItem() for _ in range(999))
    with pytest.raises(OrderlogError) as refused:
        await orderlog.execute(request)
    assert refused.value.reason == "INVALID_FIELD"
    assert "items[1].product_id" in refused.value.violations
    assert " more" in str(refused.value)


async def test_a_field_of_a_newer_contract_is_refused(orderlog):
    newer = CreateOrderRequest.FromString(create("o").SerializeToString() + b"\xc2\x3e\x03new")
    with pytest.raises(OrderlogError) as refused:
        await orderlog.execute(newer)
    assert set(refused.value.violations) == {"1000"}
    assert await head(orderlog) == 0


async def test_nobody_there_is_told_when_patience_is_over():
    async with Orderlog("127.0.0.1:1", patience=0.5) as orderlog:
        with pytest.raises(OrderlogError) as failed:
            await orderlog.execute(create())
    assert failed.value.code is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize("text", ["0", "12.50", "-0.0001", "-7.25", "922337203685477.5807"])
def test_money_is_exact(text):
    made = money("EUR", Decimal(text))
    assert str(amount(made)) in (text, text.removesuffix("0"))
    assert made.units * made.nanos >= 0, "both have the same sign"


def test_money_is_not_rounded():
    with pytest.raises(ValueError, match="nine decimals"):
        money("EUR", Decimal("0.0000000001"))
    assert amount(Money(currency_code="EUR", units=1, nanos=1)) == Decimal("1.000000001")


def test_ids_are_version_7_and_sort_by_time():
    made = [uuid7() for _ in range(100)]
    assert {id_.version for id_ in made} == {7}
    times = [id_.int >> 80 for id_ in made]
    assert times == sorted(times)
