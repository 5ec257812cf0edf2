"""A subscriber that loses no event and repeats none.

What it makes of events and how far it is are kept in one transaction. After any break it goes on
from there, and the log delivers exactly what comes behind.
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
"""Seconds after which a stream says at the latest that it is still there."""


class Position(NamedTuple):
    """A place in a log."""

    log_id: str
    position: int


class Store(Protocol):
    """Keeps what is made of events, and how far that is."""

    def position(self) -> Position:
        """Where to go on; position 0 of log "" in the beginning."""

    def apply(self, response: SubscribeResponse) -> None:
        """Take a response's events and its position, both or nothing."""


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
    """Follow the log of the server at `target` until cancelled, whatever breaks in between.

    After `silence` seconds without a word the connection is taken for lost. `on_caught_up` is told
    when the head of the log is reached, and when it is no longer. Raises an `OrderlogError` that
    trying again does not help against, such as LOG_MISMATCH: the log is another one than the store
    was made from. A `token` that is refused is final too, unless it is a function: that is asked
    again each time, until it returns one that is not.
    """
    is_caught_up = False
    waits = pauses()
    while True:
        resume = store.position()
        request = SubscribeRequest(
            after_position=resume.position, log_id=resume.log_id, filter=only, follow=True
        )
        # A connection of its own each time: another call on one that is lost is lost too.
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
    """What comes next, or None if another stream has to be tried."""
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
        # With a reason, it is what the server says of an event that it cannot read yet.
        case grpc.StatusCode.INTERNAL:
            return True
    return error.is_retryable or error.is_unanswered


async def _finished(work: Coroutine[None, None, None]) -> None:
    # A transaction is not left half-way: who is cancelled waits for it, however often.
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
    """A store in an SQLite file: say in `project` what becomes of an event."""

    SCHEMA = ""
    """The tables that `project` needs, each `CREATE TABLE IF NOT EXISTS`."""

    def __init__(self, file: Path | str) -> None:
        """Open the file, or make it."""
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
        """Close the file."""
        with self._turn:
            self.connection.close()

    def position(self) -> Position:
        """Where to go on."""
        # Not in the midst of a transaction, which may be rolled back.
        with self._turn:
            return self._position()

    def _position(self) -> Position:
        rows = self.connection.execute("SELECT log_id, position FROM progress")
        return Position(*rows.fetchone())

    def apply(self, response: SubscribeResponse) -> None:
        """Take a response's events and its position, both or nothing."""
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
            # Another process with the same file may have been here first.
            if event.position > done:
                self.project(event)
        # A heartbeat moves on too, where a filter skips much.
        self.connection.execute(
            "UPDATE progress SET log_id = ?, position = max(position, ?)",
            (response.log_id, response.position),
        )

    def project(self, event: RecordedEvent) -> None:
        """Take one event. `event.WhichOneof("payload")` is None for one that is newer than this."""
        raise NotImplementedError
