"""The client for commands, queries and operators' calls."""

from __future__ import annotations

import asyncio
import os
import time
import uuid
from typing import TYPE_CHECKING, Any, Self

import grpc

from orderlog.backoff import pauses
from orderlog.bulk import Bulk
from orderlog.connection import Connections
from orderlog.errors import OrderlogError
from orderlog.streams import SILENCE, responses
from orders.v1 import (
    command_service_pb2,
    event_service_pb2,
    projection_service_pb2,
    query_service_pb2,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from google.protobuf.message import Message

    from orderlog.bulk import Commands
    from orderlog.connection import Token
    from orders.v1.command_service_pb2_grpc import CommandServiceStub
    from orders.v1.event_service_pb2_grpc import EventServiceStub
    from orders.v1.order_pb2 import Order
    from orders.v1.projection_service_pb2_grpc import ProjectionServiceStub
    from orders.v1.query_service_pb2_grpc import QueryServiceStub


class Orderlog:
    """A connection to orderlog: `async with Orderlog("127.0.0.1:50051") as orderlog`.

    It may be made without an event loop, and used from several: each gets a connection of its own.
    """

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
        self._connect = lambda: Connections(target, token, tls)
        self._connections = self._connect()
        self._token_may_change = callable(token)
        self._patience = patience
        self._answer_within = answer_within

    async def __aenter__(self) -> Self:
        """Returns the client itself."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Closes the connection."""
        await self.close()

    async def close(self) -> None:
        """Closes the connection of the running loop. A later call opens another."""
        await self._connections.close()

    @property
    def commands(self) -> CommandServiceStub:
        """The stub of the commands, as gRPC has it."""
        return self._connections.current().commands

    @property
    def events(self) -> EventServiceStub:
        """The stub of the log, as gRPC has it."""
        return self._connections.current().events

    @property
    def projections(self) -> ProjectionServiceStub:
        """The stub of the operators' calls, as gRPC has it."""
        return self._connections.current().projections

    @property
    def queries(self) -> QueryServiceStub:
        """The stub of the queries, as gRPC has it."""
        return self._connections.current().queries

    async def execute(self, command: Message) -> Any:
        """Sends a command, retries it until the server replies, and returns the reply.

        The client adds a request id if the command has none, so that retries take effect once.
        A query with the reply's `position` as `min_position` sees the command's events.
        """
        method = _method(_COMMANDS, command)
        sent = type(command)()
        sent.CopyFrom(command)
        sent.request_id = command.request_id or _request_id()
        return await self._again(method, sent)

    def execute_all(self, commands: Commands) -> AsyncIterator[Any]:
        """Yields the reply to each command, or its `OrderlogError`, in order.

        The commands share one stream with many in flight, and take effect in order. After a break,
        the client sends those without an answer once more, with the same request ids. Raises an
        `OrderlogError` if none is answered for the client's `patience`.
        """
        bulk = Bulk(commands, _request_id)
        return bulk.execute(lambda: self.commands.ExecuteCommands(), self._patience)

    async def ask(self, query: Message) -> Any:
        """Sends a query, retries it until the server replies, and returns the reply.

        A query is a request of the services for queries, events and projections with one reply.
        """
        return await self._again(_method(_QUERIES, query), query)

    async def pages(self, query: Message) -> AsyncIterator[Any]:
        """Yields the replies to a query, page by page."""
        page = type(query)()
        page.CopyFrom(query)
        while True:
            found = await self.ask(page)
            yield found
            if not found.next_page_token:
                return
            page.page_token = found.next_page_token

    async def search(self, search: query_service_pb2.SearchOrdersRequest) -> AsyncIterator[Order]:
        """Yields the orders that match, page by page."""
        async for page in self.pages(search):
            for order in page.orders:
                yield order

    async def progress(self, request: Message) -> AsyncIterator[Any]:
        """Yields the progress of a rebuild or a verification, until it is done.

        The client does not retry the call. Leaving a rebuild cancels it.
        """
        service, name = _method(_PROGRESS, request)
        call = getattr(getattr(self._connections.current(), service), name)(request)
        try:
            async for response in call:
                yield response
        except grpc.aio.AioRpcError as failed:
            raise OrderlogError.of_call(failed) from failed
        finally:
            call.cancel()

    async def watch(
        self,
        request: query_service_pb2.WatchOrdersRequest,
        *,
        silence: float = SILENCE,
        on_restart: Callable[[], None] = lambda: None,
    ) -> AsyncIterator[query_service_pb2.WatchOrdersResponse]:
        """Yields the orders that match now, then each change to them, until it is left.

        The client watches once more after a break, and after `silence` seconds without a response.
        It then calls `on_restart`: forget the orders, because the next responses list all that
        match.
        """
        waits = pauses()
        while True:
            # Each attempt opens a new connection, because a call on a lost connection fails too.
            connections = self._connect()
            try:
                call = connections.current().queries.WatchOrders(request)
                async for response in responses(call, silence, self._token_may_change):
                    yield response
                    waits = pauses()
            finally:
                await connections.close()
            on_restart()
            await asyncio.sleep(next(waits))

    async def _again(self, method: tuple[str, str], request: Message) -> Any:
        service, name = method
        call = getattr(getattr(self._connections.current(), service), name)
        until = time.monotonic() + self._patience
        timeout = self._answer_within + _waits(request)
        for pause in pauses():
            try:
                return await call(request, timeout=timeout)
            except grpc.aio.AioRpcError as failed:
                error = OrderlogError.of_call(failed)
                wait = max(pause, error.retry_after or 0)
                is_over = time.monotonic() + wait > until
                if is_over or not (error.is_retryable or error.is_unanswered):
                    raise error from failed
            await asyncio.sleep(wait)
        raise AssertionError


def _requests(*services: tuple[str, Any], streaming: bool = False) -> dict[str, tuple[str, str]]:
    """Maps each request to the stub and the method that takes it."""
    return {
        method.input_type.full_name: (stub, method.name)
        for stub, module in services
        for service in module.DESCRIPTOR.services_by_name.values()
        for method in service.methods
        if method.server_streaming == streaming and not method.client_streaming
    }


_COMMANDS = _requests(("commands", command_service_pb2))
_OPERATORS = (("events", event_service_pb2), ("projections", projection_service_pb2))
_QUERIES = _requests(("queries", query_service_pb2), *_OPERATORS)
_PROGRESS = _requests(*_OPERATORS, streaming=True)
del _PROGRESS["orders.v1.SubscribeRequest"]


def _request_id() -> str:
    return str(uuid7())


def _waits(request: Message) -> float:
    """Returns the seconds that the server may wait for its read model: 5 without `max_wait`."""
    if "max_wait" not in request.DESCRIPTOR.fields_by_name:
        return 0
    return request.max_wait.ToTimedelta().total_seconds() if request.HasField("max_wait") else 5


def _method(methods: dict[str, tuple[str, str]], request: Message) -> tuple[str, str]:
    name = request.DESCRIPTOR.full_name
    if name not in methods:
        message = f"{name} is not one of {', '.join(methods)}"
        raise TypeError(message)
    return methods[name]


def uuid7() -> uuid.UUID:
    """Makes an id that sorts by time, because random ids make the log slower."""
    milliseconds = time.time_ns() // 1_000_000
    value = milliseconds << 80 | int.from_bytes(os.urandom(10))
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return uuid.UUID(int=value)
