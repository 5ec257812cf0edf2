"""The client for commands and queries."""

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
        """Prepares a connection, which the first call opens, with TLS for `https://NAME:PORT`.

        Each call sends `token`, or the value that it returns if it is a function, so that a token
        can be renewed. Without TLS, `target` must then be on this machine.
        `grpc.ssl_channel_credentials` makes `tls` from authorities and a client certificate.

        The client retries a call for `patience` seconds. Each attempt has a timeout of
        `answer_within` seconds, plus the seconds of the request's `max_wait`.
        """
        self._channel = connect(target, token, tls)
        self._patience = patience
        self._answer_within = answer_within
        self.commands = command_service_pb2_grpc.CommandServiceStub(self._channel)
        self.events = event_service_pb2_grpc.EventServiceStub(self._channel)
        self.queries = query_service_pb2_grpc.QueryServiceStub(self._channel)

    async def __aenter__(self) -> Self:
        """Returns the client itself."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Closes the connection."""
        await self._channel.close()

    async def execute(self, command: Message) -> Any:
        """Sends a command, retries it until the server replies, and returns the reply.

        The client adds a request id if the command has none, so that retries take effect once.
        A query with the reply's `position` as `min_position` sees the command's events.
        """
        sent = type(command)()
        sent.CopyFrom(command)
        sent.request_id = command.request_id or str(uuid7())
        method = _method(command_service_pb2.DESCRIPTOR.services_by_name["CommandService"], sent)
        return await self._again(getattr(self.commands, method), sent)

    async def ask(self, query: Message) -> Any:
        """Sends a query, retries it until the server replies, and returns the reply."""
        method = _method(query_service_pb2.DESCRIPTOR.services_by_name["QueryService"], query)
        return await self._again(getattr(self.queries, method), query)

    async def search(self, search: query_service_pb2.SearchOrdersRequest) -> AsyncIterator[Order]:
        """Yields the orders that match, page by page."""
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
    """Returns the seconds that the server may wait for its read model: 5 without `max_wait`."""
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
    """Makes an id that sorts by time, because random ids make the log slower."""
    milliseconds = time.time_ns() // 1_000_000
    value = milliseconds << 80 | int.from_bytes(os.urandom(10))
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return uuid.UUID(int=value)
