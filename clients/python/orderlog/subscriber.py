"""A subscriber that applies each event exactly once.

The store commits the projection and the position in one transaction. After a failure, the
subscriber resumes after that position, and the log delivers only later events.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import threading
from typing import TYPE_CHECKING, NamedTuple, Protocol

import grpc

from orderlog.backoff import pauses
from orderlog.client import Orderlog
from orderlog.errors import OrderlogError
from orders.v1.event_service_pb2 import EventFilter, SubscribeRequest, SubscribeResponse

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path

    from orderlog.connection import Token
    from orders.v1.event_pb2 import RecordedEvent

log = logging.getLogger(__name__)

HEARTBEAT = 10.0
"""The longest time between two responses of a live stream, in seconds."""


class Position(NamedTuple):
    """A position, with the id of its log."""

    log_id: str
    position: int


class Store(Protocol):
    """Stores a projection and its position."""

    def position(self) -> Position:
        """Returns the position to resume after; at first, position 0 of log ""."""

    def apply(self, response: SubscribeResponse) -> None:
        """Applies a response's events and its position in one transaction."""


async def follow(
    target: str,
    store: Store,
    *,
    token: Token | None = None,
    tls: grpc.ChannelCredentials | None = None,
    only: EventFilter | None = None,
    silence: float = 3 * HEARTBEAT,
    on_caught_up: Callable[[bool], None] = lambda _: None,
) -> None:
    """Follows the log of the server at `target` until cancelled, and reconnects after failures.

    The subscriber reconnects after `silence` seconds without a response. It calls `on_caught_up`
    with True at the head of the log, and with False when it lags or the stream ends.

    Raises an `OrderlogError` that a retry cannot fix. LOG_MISMATCH is one: the store belongs to
    another log. A rejected `token` is one too, unless `token` is a function. The subscriber then
    calls the function for each attempt, until the server accepts the token.
    """
    is_caught_up = False
    waits = pauses()
    while True:
        resume = store.position()
        request = SubscribeRequest(
            after_position=resume.position, log_id=resume.log_id, filter=only, follow=True
        )
        # Each attempt opens a new connection, because a call on a lost connection fails too.
        async with Orderlog(target, token=token, tls=tls) as orderlog:
            call = orderlog.events.Subscribe(request)
            while (response := await _next(call, silence, callable(token))) is not None:
                await _finished(asyncio.to_thread(store.apply, response))
                waits = pauses()
                if response.caught_up != is_caught_up:
                    is_caught_up = response.caught_up
                    on_caught_up(is_caught_up)
        if is_caught_up:
            is_caught_up = False
            on_caught_up(is_caught_up)
        await asyncio.sleep(next(waits))


async def _next(
    call: grpc.aio.UnaryStreamCall, silence: float, token_may_change: bool
) -> SubscribeResponse | None:
    """Returns the next response, or None if the subscriber must open another stream."""
    try:
        async with asyncio.timeout(silence):
            response = await call.read()
    except TimeoutError:
        log.warning("no word for %s s: connecting again", silence)
        return None
    except grpc.aio.AioRpcError as failed:
        error = OrderlogError(failed)
        if _may_pass(error, token_may_change):
            log.warning("the stream broke off: %s", error)
            await asyncio.sleep(error.retry_after or 0)
            return None
        raise error from failed
    if response is grpc.aio.EOF:
        log.info("the stream ended")
        return None
    return response


def _may_pass(error: OrderlogError, token_may_change: bool) -> bool:
    match error.code:
        case grpc.StatusCode.UNAUTHENTICATED | grpc.StatusCode.PERMISSION_DENIED:
            return token_may_change
        # With a reason, INTERNAL may mean that the server cannot read a newer event yet.
        case grpc.StatusCode.INTERNAL:
            return True
    return error.is_retryable or error.is_unanswered


async def _finished(work: Coroutine[None, None, None]) -> None:
    # A cancelled caller waits for the end of the transaction, even if it is cancelled repeatedly.
    task = asyncio.ensure_future(work)
    cancelled = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    task.result()
    if cancelled:
        raise cancelled


class SqliteStore:
    """A store in an SQLite file. Subclasses apply events in `project`."""

    SCHEMA = ""
    """The SQL of the tables that `project` needs, each with `CREATE TABLE IF NOT EXISTS`."""

    def __init__(self, file: Path | str) -> None:
        """Opens the file, and creates it if it is missing."""
        self._turn = threading.Lock()
        self.connection = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
        self.connection.executescript(f"""
            PRAGMA journal_mode = WAL;
            PRAGMA synchronous = FULL;
            CREATE TABLE IF NOT EXISTS progress (
                only INTEGER PRIMARY KEY CHECK (only = 1), log_id TEXT, position INTEGER
            );
            INSERT OR IGNORE INTO progress VALUES (1, '', 0);
            {self.SCHEMA}
        """)

    def close(self) -> None:
        """Closes the file."""
        with self._turn:
            self.connection.close()

    def position(self) -> Position:
        """Returns the position to resume after."""
        # The lock excludes a transaction in progress, which may roll back.
        with self._turn:
            return self._position()

    def _position(self) -> Position:
        rows = self.connection.execute("SELECT log_id, position FROM progress")
        return Position(*rows.fetchone())

    def apply(self, response: SubscribeResponse) -> None:
        """Applies a response's events and its position in one transaction."""
        with self._turn:
            self.connection.execute("BEGIN IMMEDIATE")
            try:
                self._take(response)
                self.connection.execute("COMMIT")
            finally:
                if self.connection.in_transaction:
                    self.connection.execute("ROLLBACK")

    def _take(self, response: SubscribeResponse) -> None:
        log_id, done = self._position()
        if log_id not in ("", response.log_id):
            message = f"the file is made from log {log_id}, not from {response.log_id}"
            raise ValueError(message)
        for event in response.events:
            # Another process with the same file may have applied the event already.
            if event.position > done:
                self.project(event)
        # A heartbeat also advances the position, past events that the filter skips.
        self.connection.execute(
            "UPDATE progress SET log_id = ?, position = max(position, ?)",
            (response.log_id, response.position),
        )

    def project(self, event: RecordedEvent) -> None:
        """Applies one event. `event.WhichOneof("payload")` is None for an event of unknown type."""
        raise NotImplementedError
