"""A subscriber that applies each event exactly once.

The store commits the projection and the resume token in one transaction. After a failure, the
subscriber resumes with that token, and the log delivers only later events. If the log no longer has
the event that the token names, the subscriber ends with a `HistoryError`.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import logging
import sqlite3
import threading
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeVar

import grpc

from orderlog.backoff import pauses
from orderlog.client import Orderlog
from orderlog.streams import SILENCE, responses
from orders.v1.event_service_pb2 import EventFilter, SubscribeRequest, SubscribeResponse

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterator
    from pathlib import Path

    from orderlog.connection import Token
    from orders.v1.event_pb2 import RecordedEvent

log = logging.getLogger(__name__)

T = TypeVar("T")


class Position(NamedTuple):
    """A place in the log: the store has every event up to it."""

    log_id: str = ""
    position: int = 0
    resume_token: str = ""
    """Names the position and its event. Empty at first, after `SqliteStore.rewind`, and in a store
    that an earlier version of this client wrote."""


class Store(Protocol):
    """Stores a projection and its position."""

    def position(self) -> Position:
        """Returns the position to resume after; at first, `Position()`."""

    def apply(self, response: SubscribeResponse, after: Position) -> bool | Awaitable[bool]:
        """Applies the events after a position, and stores the new position, in one transaction.

        Returns False and changes nothing if the store is no longer at `after`: another subscriber
        has moved it. The subscriber calls it in a thread, unless it is `async`.
        """


async def follow(
    target: str,
    store: Store,
    *,
    token: Token | None = None,
    tls: grpc.ChannelCredentials | None = None,
    only: EventFilter | None = None,
    silence: float = SILENCE,
    on_caught_up: Callable[[bool], None] = lambda _: None,
) -> None:
    """Follows the log of the server at `target` until cancelled, and reconnects after failures.

    The subscriber reconnects after `silence` seconds without a response. It calls `on_caught_up`
    with True at the head of the log, and with False when it lags or the stream ends.

    Raises a `HistoryError` if the log no longer has the events of the store: undo them, for example
    with `SqliteStore.rewind`, and follow again.

    Raises an `OrderlogError` that a retry cannot fix. A rejected `token` is one, unless `token` is
    a function. The subscriber then calls the function for each attempt, until the server accepts
    the token.
    """
    is_async = inspect.iscoroutinefunction(store.apply)
    apply = store.apply if is_async else functools.partial(asyncio.to_thread, store.apply)
    is_caught_up = False
    waits = pauses()
    while True:
        position = store.position()
        request = SubscribeRequest(filter=only, follow=True, **_resume(position))
        # Each attempt opens a new connection, because a call on a lost connection fails too.
        async with Orderlog(target, token=token, tls=tls) as orderlog:
            call = orderlog.events.Subscribe(request)
            async for response in responses(call, silence, callable(token)):
                if not await _finished(apply(response, position)):
                    log.warning("another subscriber has moved the store: connecting again")
                    break
                position = _position(response)
                waits = pauses()
                if response.caught_up != is_caught_up:
                    is_caught_up = response.caught_up
                    on_caught_up(is_caught_up)
        if is_caught_up:
            is_caught_up = False
            on_caught_up(is_caught_up)
        await asyncio.sleep(next(waits))


def _resume(position: Position) -> dict[str, str | int]:
    if position.resume_token:
        return {"resume_token": position.resume_token}
    return {"after_position": position.position, "log_id": position.log_id}


def _position(response: SubscribeResponse) -> Position:
    return Position(response.log_id, response.position, response.resume_token)


async def _finished(work: Coroutine[None, None, T]) -> T:
    # A cancelled caller waits for the end of the transaction, even if it is cancelled repeatedly.
    task = asyncio.ensure_future(work)
    cancelled = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    result = task.result()
    if cancelled:
        raise cancelled
    return result


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
                only INTEGER PRIMARY KEY CHECK (only = 1),
                log_id TEXT, position INTEGER, resume_token TEXT NOT NULL DEFAULT ''
            );
            {self.SCHEMA}
        """)
        with self._transaction():
            columns = self.connection.execute("PRAGMA table_info(progress)").fetchall()
            if "resume_token" not in [name for _, name, *_ in columns]:
                # An earlier version of this client made the file.
                self.connection.execute(
                    "ALTER TABLE progress ADD COLUMN resume_token TEXT NOT NULL DEFAULT ''"
                )
            self.connection.execute("INSERT OR IGNORE INTO progress VALUES (1, '', 0, '')")

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
        rows = self.connection.execute("SELECT log_id, position, resume_token FROM progress")
        return Position(*rows.fetchone())

    def apply(self, response: SubscribeResponse, after: Position) -> bool:
        """Applies the events after a position, and stores the new position, in one transaction.

        Returns False and changes nothing if the store is no longer at `after`.
        """
        with self._transaction():
            if self._position() != after:
                return False
            for event in response.events:
                self.project(event)
            # A heartbeat also advances the position, past events that the filter skips.
            self._move(_position(response))
            return True

    def rewind(self, position: int, undo: Callable[[], object]) -> None:
        """Goes back to a position after a `HistoryError`, in one transaction.

        `undo` removes the results of the events after `position` from the tables: all of them for
        position 0, after which the store takes any log.
        """
        with self._transaction():
            undo()
            log_id = self._position().log_id if position else ""
            self._move(Position(log_id, position))

    def _move(self, position: Position) -> None:
        self.connection.execute(
            "UPDATE progress SET log_id = ?, position = ?, resume_token = ?", position
        )

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._turn:
            self.connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self.connection.execute("COMMIT")
            finally:
                if self.connection.in_transaction:
                    self.connection.execute("ROLLBACK")

    def project(self, event: RecordedEvent) -> None:
        """Applies one event. `event.WhichOneof("payload")` is None for an event of unknown type."""
        raise NotImplementedError
