"""Executes many commands over one stream."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Iterable
from typing import TYPE_CHECKING, Any

import grpc

from orderlog.backoff import pauses
from orderlog.errors import OrderlogError
from orders.v1.command_service_pb2 import ExecuteCommandsRequest, ExecuteCommandsResponse

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.protobuf.message import Message

    Commands = Iterable[Message] | AsyncIterable[Message]
    Open = Callable[[], grpc.aio.StreamStreamCall]

MAX_IN_FLIGHT = 512
"""Bounds the commands without an answer. The server reads no more ahead."""

MAX_IN_FLIGHT_BYTES = 16 << 20
"""Bounds the size of the commands without an answer. One command may exceed it."""

_FIELDS = {
    field.message_type.full_name: field.name for field in ExecuteCommandsRequest.DESCRIPTOR.fields
}


class Bulk:
    """The commands that wait for their answers, in order."""

    def __init__(self, commands: Commands, make_id: Callable[[], str]) -> None:
        """Takes the commands. `make_id` makes a request id for each that has none."""
        self._commands = commands
        self._make_id = make_id
        self._pending: deque[ExecuteCommandsRequest] = deque()
        self._pending_bytes = 0
        self._sent_count = 0
        """The number of pending commands that the present stream has."""
        self._is_read = False
        self._has_room = asyncio.Event()
        self._has_more = asyncio.Event()

    async def execute(self, open_stream: Open, patience: float) -> AsyncIterator[Any]:
        """Yields the reply to each command, or its error, and opens streams until all have one."""
        reader = asyncio.create_task(self._read())
        until = time.monotonic() + patience
        waits = pauses()
        try:
            while True:
                error = OrderlogError(grpc.StatusCode.UNAVAILABLE, "the server ended the stream")
                try:
                    async with contextlib.aclosing(self._attempt(open_stream())) as results:
                        async for result in results:
                            yield result
                            until, waits = time.monotonic() + patience, pauses()
                except grpc.aio.AioRpcError as failed:
                    error = OrderlogError.of_call(failed)
                except _NotNowError as later:
                    error = later.error
                if self._is_read and not self._pending:
                    await reader
                    return
                wait = max(next(waits), error.retry_after or 0)
                may_pass = error.is_retryable or error.is_unanswered
                if not may_pass or time.monotonic() + wait > until:
                    raise error
                await asyncio.sleep(wait)
        finally:
            reader.cancel()

    async def _read(self) -> None:
        """Reads the commands as long as there is room."""
        try:
            async for command in _each(self._commands):
                request = self._request(command)
                self._pending.append(request)
                self._pending_bytes += request.ByteSize()
                self._has_more.set()
                if self._has_at_least(1):
                    # Then there is room for many, which the connection sends together.
                    while self._has_at_least(1 / 2):
                        self._has_room.clear()
                        await self._has_room.wait()
        finally:
            self._is_read = True
            self._has_more.set()

    def _request(self, command: Message) -> ExecuteCommandsRequest:
        name = command.DESCRIPTOR.full_name
        if name not in _FIELDS:
            message = f"{name} is not one of {', '.join(_FIELDS)}"
            raise TypeError(message)
        request = ExecuteCommandsRequest()
        sent = getattr(request, _FIELDS[name])
        sent.CopyFrom(command)
        sent.request_id = sent.request_id or self._make_id()
        return request

    def _has_at_least(self, part: float) -> bool:
        """Returns whether this part of all that may be in flight is."""
        is_long = len(self._pending) >= part * MAX_IN_FLIGHT
        return is_long or self._pending_bytes >= part * MAX_IN_FLIGHT_BYTES

    async def _attempt(self, call: grpc.aio.StreamStreamCall) -> AsyncIterator[Any]:
        """Sends all pending and further commands over one stream, and yields the results."""
        self._sent_count = 0
        writer = asyncio.create_task(self._write(call))
        try:
            while (answer := await call.read()) is not grpc.aio.EOF:
                result = _result(answer)
                if isinstance(result, OrderlogError) and result.is_retryable:
                    # Later commands may depend on this one, so all of them are sent once more.
                    raise _NotNowError(result)
                self._pending_bytes -= self._pending.popleft().ByteSize()
                self._sent_count -= 1
                self._has_room.set()
                yield result
        finally:
            writer.cancel()
            call.cancel()

    async def _write(self, call: grpc.aio.StreamStreamCall) -> None:
        # The reader of the answers meets the error that ends the stream.
        with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
            while True:
                while self._sent_count < len(self._pending):
                    self._sent_count += 1
                    await call.write(self._pending[self._sent_count - 1])
                if self._is_read:
                    await call.done_writing()
                    return
                self._has_more.clear()
                await self._has_more.wait()


class _NotNowError(Exception):
    """The server cannot execute a command now."""

    def __init__(self, error: OrderlogError) -> None:
        super().__init__(error)
        self.error = error


def _result(answer: ExecuteCommandsResponse) -> Any:
    kind = answer.WhichOneof("result")
    if kind is None:
        message = "the server sent a result that this version does not know"
        return OrderlogError(grpc.StatusCode.UNKNOWN, message)
    result = getattr(answer, kind)
    return OrderlogError.of_status(result) if kind == "error" else result


async def _each(commands: Commands) -> AsyncIterator[Message]:
    if isinstance(commands, AsyncIterable):
        async for command in commands:
            yield command
        return
    for command in commands:
        yield command
