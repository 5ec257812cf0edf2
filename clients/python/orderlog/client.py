"""Commands and queries."""

from __future__ import annotations

import asyncio
import os
import time
import uuid
from typing import TYPE_CHECKING, Any, Self

import grpc

from orderlog.backoff import pauses
from orderlog.connection import connect
from orderlog.errors import OrderlogError
from orders.v1 import (
    command_service_pb2,
    command_service_pb2_grpc,
    event_service_pb2_grpc,
    query_service_pb2,
    query_service_pb2_grpc,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from google.protobuf.message import Message

    from orderlog.connection import Token
    from orders.v1.order_pb2 import Order


class Orderlog:
    """A connection to orderlog: `async with Orderlog("127.0.0.1:50051") as orderlog`."""

    def __init__(
        self,
        target: str,
        *,
        token: Token | None = None,
        tls: grpc.ChannelCredentials | None = None,
        patience: float = 30.0,
        answer_within: float = 10.0,
    ) -> None:
        """Connect as soon as something is called, to `https://NAME:PORT` with TLS.

        `token` is shown with each call: itself, or what it returns then, so that it can be renewed.
        Without TLS it is only for a server on this machine. `tls` is what
        `grpc.ssl_channel_credentials` makes of authorities, and of a certificate to show.

        A call is tried again for `patience` seconds, and given `answer_within` seconds each time,
        besides those that the server is asked to wait for its read model.
        """
        self._channel = connect(target, token, tls)
        self._patience = patience
        self._answer_within = answer_within
        self.commands = command_service_pb2_grpc.CommandServiceStub(self._channel)
        self.events = event_service_pb2_grpc.EventServiceStub(self._channel)
        self.queries = query_service_pb2_grpc.QueryServiceStub(self._channel)

    async def __aenter__(self) -> Self:
        """Nothing is to be done yet."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the connection."""
        await self._channel.close()

    async def execute(self, command: Message) -> Any:
        """Send a command until it is answered, and return its reply.

        It has a request id, made here unless it has one, so that it takes effect once however
        often it is sent. Its `position` is what a query needs to see it: `min_position`.
        """
        sent = type(command)()
        sent.CopyFrom(command)
        sent.request_id = command.request_id or str(uuid7())
        method = _method(command_service_pb2.DESCRIPTOR.services_by_name["CommandService"], sent)
        return await self._again(getattr(self.commands, method), sent)

    async def ask(self, query: Message) -> Any:
        """Ask a query until it is answered, and return the answer."""
        method = _method(query_service_pb2.DESCRIPTOR.services_by_name["QueryService"], query)
        return await self._again(getattr(self.queries, method), query)

    async def search(self, search: query_service_pb2.SearchOrdersRequest) -> AsyncIterator[Order]:
        """Find orders, page after page."""
        page = query_service_pb2.SearchOrdersRequest()
        page.CopyFrom(search)
        while True:
            found = await self.ask(page)
            for order in found.orders:
                yield order
            if not found.next_page_token:
                return
            page.page_token = found.next_page_token

    async def _again(self, call: Any, request: Message) -> Any:
        until = time.monotonic() + self._patience
        timeout = self._answer_within + _waits(request)
        for pause in pauses():
            try:
                return await call(request, timeout=timeout)
            except grpc.aio.AioRpcError as failed:
                error = OrderlogError(failed)
                wait = max(pause, error.retry_after or 0)
                is_over = time.monotonic() + wait > until
                if is_over or not (error.is_retryable or error.is_unanswered):
                    raise error from failed
            await asyncio.sleep(wait)
        raise AssertionError


def _waits(request: Message) -> float:
    """Seconds that the server may wait until its read model is as far as asked."""
    if "max_wait" not in request.DESCRIPTOR.fields_by_name:
        return 0
    return request.max_wait.ToTimedelta().total_seconds() if request.HasField("max_wait") else 5


def _method(service: Any, request: Message) -> str:
    for method in service.methods:
        is_unary = not (method.client_streaming or method.server_streaming)
        if method.input_type is request.DESCRIPTOR and is_unary:
            return method.name
    message = f"{request.DESCRIPTOR.name} is no request of {service.name}"
    raise TypeError(message)


def uuid7() -> uuid.UUID:
    """Make an id that sorts by time: random ones make the log slower."""
    milliseconds = time.time_ns() // 1_000_000
    value = milliseconds << 80 | int.from_bytes(os.urandom(10))
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return uuid.UUID(int=value)
