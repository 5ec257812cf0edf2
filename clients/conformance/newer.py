"""A server of a newer version: its replies have fields, values and types that no client knows."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import grpc
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2

from orders.v1.event_pb2 import OrderCancelled, RecordedEvent
from orders.v1.event_service_pb2 import SubscribeRequest, SubscribeResponse
from orders.v1.order_pb2 import Order
from orders.v1.query_service_pb2 import GetOrderResponse

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

UNKNOWN_FIELD = b"\xc2\x3e\x03new"
"""Field 1000, a text."""

UNKNOWN_VALUE = 99
"""A value that no enum of the contract has."""


async def get_order(_request: bytes, _context: Any) -> bytes:
    order = Order(order_id="o", version=7)
    order.MergeFromString(Order(status=UNKNOWN_VALUE).SerializeToString() + UNKNOWN_FIELD)
    return GetOrderResponse(order=order).SerializeToString() + UNKNOWN_FIELD


async def create_order(_request: bytes, context: Any) -> None:
    info, unknown = any_pb2.Any(), any_pb2.Any(type_url="type.googleapis.com/orders.v1.NewDetail")
    info.Pack(error_details_pb2.ErrorInfo(reason="NEW_REASON", domain="orders.v1"))
    code = grpc.StatusCode.FAILED_PRECONDITION
    status = status_pb2.Status(code=code.value[0], message="new", details=[unknown, info])
    context.set_trailing_metadata([("grpc-status-details-bin", status.SerializeToString())])
    await context.abort(code, "new")


async def subscribe(request: bytes, _context: Any) -> AsyncIterator[bytes]:
    """Streams an event of an unknown type and aggregate, then one of a known type."""
    known = RecordedEvent(position=2, aggregate_id="o", order_cancelled=OrderCancelled())
    unknown = RecordedEvent(position=1, aggregate_id="o")
    unknown.MergeFromString(
        RecordedEvent(aggregate_type=UNKNOWN_VALUE).SerializeToString() + UNKNOWN_FIELD
    )
    if not SubscribeRequest.FromString(request).resume_token:
        place = {"position": 2, "head_position": 2, "log_id": "log", "resume_token": "2"}
        response = SubscribeResponse(events=[unknown, known], caught_up=True, **place)
        yield response.SerializeToString() + UNKNOWN_FIELD


@contextlib.asynccontextmanager
async def newer_server() -> AsyncIterator[str]:
    """Starts the server, and gives its address."""
    unary, stream = grpc.unary_unary_rpc_method_handler, grpc.unary_stream_rpc_method_handler
    services = {
        "CommandService": {"CreateOrder": unary(create_order)},
        "EventService": {"Subscribe": stream(subscribe)},
        "QueryService": {"GetOrder": unary(get_order)},
    }
    server = grpc.aio.server()
    server.add_generic_rpc_handlers(
        [
            grpc.method_handlers_generic_handler(f"orders.v1.{name}", it)
            for name, it in services.items()
        ]
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(None)
