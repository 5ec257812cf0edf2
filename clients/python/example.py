"""A shop and its warehouse: `python example.py [ADDRESS:PORT]`.

The shop creates three orders, ships one and cancels one. The warehouse subscribes to the log, and
keeps the orders to pack in `warehouse.db`.
"""

import asyncio
import sys
from decimal import Decimal

from google.protobuf.duration_pb2 import Duration

from orderlog import HistoryError, Orderlog, OrderlogError, SqliteStore, follow
from orderlog.money import amount, money
from orders.v1.command_service_pb2 import (
    CancelOrderRequest,
    CreateOrderItem,
    CreateOrderRequest,
    RegisterCustomerRequest,
    ShipOrderRequest,
)
from orders.v1.event_pb2 import RecordedEvent
from orders.v1.query_service_pb2 import GetOrderRequest, SearchOrdersRequest


class Warehouse(SqliteStore):
    """A projection of the orders to pack."""

    SCHEMA = "CREATE TABLE IF NOT EXISTS to_pack (order_id TEXT PRIMARY KEY, pieces INTEGER);"

    def project(self, event: RecordedEvent) -> None:
        """Adds a created order, and removes a shipped or cancelled one."""
        match event.WhichOneof("payload"):
            case "order_created":
                pieces = sum(item.quantity for item in event.order_created.items)
                order = (event.aggregate_id, pieces)
                self.connection.execute("INSERT INTO to_pack VALUES (?, ?)", order)
            case "order_shipped" | "order_cancelled":
                order = (event.aggregate_id,)
                self.connection.execute("DELETE FROM to_pack WHERE order_id = ?", order)

    async def follow(self, target: str) -> None:
        """Follows the log, and starts over if it no longer has the events of the warehouse."""
        try:
            await follow(target, self)
        except HistoryError as error:
            print(f"starting over: {error}")
            self.rewind(0, lambda: self.connection.execute("DELETE FROM to_pack"))
            await follow(target, self)


async def shop(orderlog: Orderlog) -> int:
    """Sells tea, and returns the position of the last event."""
    await orderlog.execute(RegisterCustomerRequest(customer_id="ann", name="Ann Müller"))
    tea = CreateOrderItem(product_id="tea", quantity=2, unit_price=money("EUR", Decimal("12.50")))
    order = CreateOrderRequest(customer_id="ann", items=[tea])
    first, second, third = [await orderlog.execute(order) for _ in range(3)]
    await orderlog.execute(
        ShipOrderRequest(
            order_id=first.order_id,
            shipping_address="1 Harbour Street, Münster",
            tracking_number="T-4711",
        )
    )
    cancelled = await orderlog.execute(
        CancelOrderRequest(order_id=second.order_id, reason="changed my mind")
    )
    try:
        await orderlog.execute(CancelOrderRequest(order_id=first.order_id, reason="too late"))
    except OrderlogError as refused:
        print(f"refused: {refused.reason} ({refused})")

    # With min_position, the server answers once the read model has projected the cancellation.
    latest = GetOrderRequest(
        order_id=third.order_id, min_position=cancelled.position, max_wait=Duration(seconds=10)
    )
    found = (await orderlog.ask(latest)).order
    print(f"{found.customer_name} ordered for {amount(found.total_amount)} EUR")
    of_ann = SearchOrdersRequest(customer_ids=["ann"], page_size=2, order_by="created_at")
    print(f"{len([order async for order in orderlog.search(of_ann)])} orders of ann")
    return cancelled.position


async def main(target: str) -> None:
    """Runs the shop, and the warehouse until it has projected the events of the shop."""
    warehouse = Warehouse("warehouse.db")
    async with Orderlog(target) as orderlog:
        following = asyncio.create_task(warehouse.follow(target))
        position = await shop(orderlog)
        while warehouse.position().position < position and not following.done():
            await asyncio.sleep(0.05)
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
    for order_id, pieces in warehouse.connection.execute("SELECT * FROM to_pack"):
        print(f"to pack: {order_id}, {pieces} pieces")
    warehouse.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:50051"))
