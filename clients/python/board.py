"""An order board: `python board.py [ADDRESS:PORT]`, until Ctrl-C.

Creates and ships an order, and prints what happens to all orders. `board.db` keeps the place in the
log, so that the next start prints only what has happened since.
"""

import asyncio
import contextlib
import sys
from decimal import Decimal

from orderlog import Orderlog, SqliteStore, follow
from orderlog.money import amount, money
from orders.v1.command_service_pb2 import CreateOrderItem, CreateOrderRequest, ShipOrderRequest
from orders.v1.event_pb2 import RecordedEvent


class Board(SqliteStore):
    """Prints each event once."""

    def project(self, event: RecordedEvent) -> None:
        """Prints the event."""
        order = f"order {event.aggregate_id}"
        match event.WhichOneof("payload"):
            case "order_created":
                total = event.order_created.total_amount
                print(f"{order} created: {amount(total)} {total.currency_code}", flush=True)
            case "order_shipped":
                print(f"{order} shipped: {event.order_shipped.tracking_number}", flush=True)
            case "order_delivered" | "order_cancelled" as change:
                print(f"{order} {change.removeprefix('order_')}", flush=True)


async def main(target: str) -> None:
    """Sells tea, then follows the log."""
    tea = CreateOrderItem(product_id="tea", quantity=2, unit_price=money("EUR", Decimal("12.50")))
    async with Orderlog(target) as orderlog:
        made = await orderlog.execute(CreateOrderRequest(customer_id="ann", items=[tea]))
        parcel = {"shipping_address": "1 Harbour Street, Münster", "tracking_number": "T-4711"}
        await orderlog.execute(ShipOrderRequest(order_id=made.order_id, **parcel))
    await follow(target, Board("board.db"))


with contextlib.suppress(KeyboardInterrupt):
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:50051"))
