"""A subscriber that loses no event and repeats none.

What it makes of events and how far it is are kept in one transaction. After any break it goes on
from there, and the log delivers exactly what comes behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
from typing import TYPE_CHECKING, NamedTuple, Protocol

import grpc

from orderlog.backoff import pauses
from orderlog.client import Orderlog
from orderlog.errors import OrderlogError
from orders.v1.event_service_pb2 import EventFilter, SubscribeRequest, SubscribeResponse

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

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
    only: EventFilter | None = None,
    silence: float = 3 * HEARTBEAT,
    on_caught_up: Callable[[bool], None] = lambda _: None,
) -> None:
    """Follow the log of the server at `target` until cancelled, whatever breaks in between.

    After `silence` seconds without a word the connection is taken for lost. `on_caught_up` is told
    when the head of the log is reached, and when it is no longer. Raises an `OrderlogError` that
    trying again does not help against, such as LOG_MISMATCH: the log is another one than the store
    was made from.
    """
    is_caught_up = False
    waits = pauses()
    while True:
        resume = store.position()
        request = SubscribeRequest(
            after_position=resume.position, log_id=resume.log_id, filter=only, follow=True
        )
        try:
            # A connection of its own each time: another call on one that is lost is lost too.
            async with Orderlog(target) as orderlog:
                call = orderlog.events.Subscribe(request)
                while True:
                    async with asyncio.timeout(silence):
                        response = await call.read()
                    if response is grpc.aio.EOF:
                        break
                    await _finished(asyncio.to_thread(store.apply, response))
                    waits = pauses()
                    if response.caught_up != is_caught_up:
                        is_caught_up = response.caught_up
                        on_caught_up(is_caught_up)
            log.info("the stream ended")
        except TimeoutError:
            log.warning("no word for %s s: connecting again", silence)
        except grpc.aio.AioRpcError as failed:
            error = OrderlogError(failed)
            if not error.is_retryable and failed.code() not in _BROKEN:
                raise error from failed
            log.warning("the stream broke off: %s", failed.details())
        if is_caught_up:
            is_caught_up = False
            on_caught_up(is_caught_up)
        await asyncio.sleep(next(waits))


_BROKEN = (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.CANCELLED)
"""How a connection that is cut in the midst of a message may look."""


async def _finished(work: object) -> None:
    # A transaction is not left half-way: who is cancelled waits for it.
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise


class SqliteStore:
    """A store in an SQLite file: say in `project` what becomes of an event."""

    SCHEMA = ""
    """The tables that `project` needs, each `CREATE TABLE IF NOT EXISTS`."""

    def __init__(self, file: Path | str) -> None:
        """Open the file, or make it."""
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
        self.connection.close()

    def position(self) -> Position:
        """Where to go on."""
        rows = self.connection.execute("SELECT log_id, position FROM progress")
        return Position(*rows.fetchone())

    def apply(self, response: SubscribeResponse) -> None:
        """Take a response's events and its position, both or nothing."""
        with self._transaction():
            _, done = self.position()
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

    @contextlib.contextmanager
    def _transaction(self):
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self.connection.execute("ROLLBACK")
            raise
        self.connection.execute("COMMIT")
