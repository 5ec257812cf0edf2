"""Tests the subscriber when the log does not have the events that the store has."""

import asyncio
import contextlib
import sqlite3

import grpc
import pytest
from google.protobuf.any_pb2 import Any
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status
from test_client import create
from test_subscriber import Recorder, following, until

from orderlog import HistoryError, SqliteStore, follow
from orderlog.subscriber import Position
from orders.v1.event_pb2 import RecordedEvent
from orders.v1.event_service_pb2 import SubscribeResponse
from orders.v1.event_service_pb2_grpc import (
    EventServiceServicer,
    add_EventServiceServicer_to_server,
)


class Orders(SqliteStore):
    """Records the order of each event."""

    SCHEMA = "CREATE TABLE IF NOT EXISTS seen (position INTEGER PRIMARY KEY, order_id TEXT);"

    def project(self, event):
        row = (event.position, event.aggregate_id)
        self.connection.execute("INSERT INTO seen VALUES (?, ?)", row)

    def undo_after(self, position):
        self.connection.execute("DELETE FROM seen WHERE position > ?", (position,))

    def seen(self):
        rows = self.connection.execute("SELECT order_id FROM seen ORDER BY position")
        return [order_id for (order_id,) in rows]


async def lost(target, store):
    """Follows until the log proves to be of another history, and returns the error."""
    async with asyncio.timeout(60):
        with pytest.raises(HistoryError) as error:
            await follow(target, store)
    return error.value


async def test_g12_subscriber_stops_at_a_log_that_lost_its_events_and_starts_over(
    server, orderlog, tmp_path
):
    kept = ["kept-0", "kept-1"]
    for order in kept:
        await orderlog.execute(create(order))
    server.kill()
    server.save_log(tmp_path / "saved")
    await asyncio.to_thread(server.start)
    command = create("lost")
    command.request_id = "lost"
    assert (await orderlog.execute(command)).position == 3
    store = Orders(tmp_path / "seen.db")
    async with following(server, store):
        await until(lambda: store.seen() == [*kept, "lost"])
    server.kill()
    server.put_back_log(tmp_path / "saved")
    await asyncio.to_thread(server.start)
    # The log grows past the position of the subscriber.
    other = ["other-0", "other-1"]
    for order in other:
        await orderlog.execute(create(order))

    error = await lost(server.target, store)
    assert (error.reason, error.position, error.shared_position) == ("LOG_DIVERGED", 3, None)
    assert store.seen() == [*kept, "lost"]
    store.rewind(0, lambda: store.undo_after(0))
    assert store.position() == Position()
    async with following(server, store):
        await until(lambda: store.seen() == [*kept, *other])
        # The log lost the request id too, so the command takes effect again.
        assert (await orderlog.execute(command)).position == 5
        await until(lambda: store.seen() == [*kept, *other, "lost"])


async def test_another_log_is_refused(server, orderlog, tmp_path):
    await orderlog.execute(create("o"))
    store = Recorder(tmp_path / "seen.db")
    assert store.apply(SubscribeResponse(log_id="another", position=1), Position())
    error = await lost(server.target, store)
    assert error.reason == "LOG_MISMATCH"
    assert error.metadata["expected"] == "another"
    assert (error.position, error.shared_position) == (None, None)


def file_of_an_earlier_version(file, log_id, position):
    with contextlib.closing(sqlite3.connect(file)) as connection, connection:
        connection.executescript("""
            CREATE TABLE progress (
                only INTEGER PRIMARY KEY CHECK (only = 1), log_id TEXT, position INTEGER
            );
        """)
        connection.execute("INSERT INTO progress VALUES (1, ?, ?)", (log_id, position))


async def test_a_store_of_an_earlier_version_resumes_and_gets_a_token(server, orderlog, tmp_path):
    for number in range(3):
        await orderlog.execute(create(f"o-{number}"))
    store = Recorder(tmp_path / "seen.db")
    async with following(server, store):
        await until(lambda: store.position().position == 3)
    newest = store.position()

    file_of_an_earlier_version(tmp_path / "earlier.db", newest.log_id, 1)
    store = Recorder(tmp_path / "earlier.db")
    assert store.position() == Position(newest.log_id, 1, "")
    async with following(server, store):
        await until(lambda: store.position() == newest)
    assert store.seen() == [2, 3]

    file_of_an_earlier_version(tmp_path / "beyond.db", newest.log_id, 4)
    error = await lost(server.target, Recorder(tmp_path / "beyond.db"))
    assert (error.reason, error.position) == ("POSITION_BEYOND_HEAD", 4)
    file_of_an_earlier_version(tmp_path / "another.db", "another", 1)
    error = await lost(server.target, Recorder(tmp_path / "another.db"))
    assert error.reason == "LOG_MISMATCH"


class Fake(EventServiceServicer):
    """Goes back to position 5 after it has delivered position 10."""

    def __init__(self):
        self.requests = []

    async def Subscribe(self, request, context):  # noqa: N802
        self.requests.append((request.resume_token, request.after_position, request.log_id))
        if len(self.requests) == 1:
            yield response(*range(1, 11))
            info = ErrorInfo(
                reason="LOG_DIVERGED", metadata={"position": "10", "shared_position": "5"}
            )
            packed = Any()
            packed.Pack(info)
            code = grpc.StatusCode.FAILED_PRECONDITION
            status = Status(code=code.value[0], details=[packed]).SerializeToString()
            context.set_trailing_metadata([("grpc-status-details-bin", status)])
            await context.abort(code, "the log went back")
        if len(self.requests) == 2:
            yield response(6)


@contextlib.asynccontextmanager
async def serving(fake):
    server = grpc.aio.server()
    add_EventServiceServicer_to_server(fake, server)
    fake.target = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    try:
        yield fake
    finally:
        await server.stop(None)


def response(*positions):
    events = [RecordedEvent(position=position) for position in positions]
    last = positions[-1]
    return SubscribeResponse(
        events=events, position=last, log_id="log", resume_token=f"after {last}"
    )


async def test_g12_subscriber_goes_on_after_the_shared_position(tmp_path):
    store = Recorder(tmp_path / "seen.db")
    async with serving(Fake()) as fake:
        error = await lost(fake.target, store)
        assert (error.position, error.shared_position) == (10, 5)
        assert fake.requests == [("", 0, "")], "it is not retried"
        store.rewind(
            error.shared_position,
            lambda: store.connection.execute("DELETE FROM seen WHERE position > 5"),
        )
        async with following(fake, store):
            await until(lambda: len(fake.requests) >= 3)
    assert fake.requests[1:3] == [("", 5, "log"), ("after 6", 0, "")]
    assert store.seen() == [1, 2, 3, 4, 5, 6]


def test_a_rewind_whose_undoing_fails_changes_nothing(tmp_path):
    store = Recorder(tmp_path / "seen.db")
    store.apply(response(1, 2), Position())

    def undo():
        store.connection.execute("DELETE FROM seen")
        raise TimeoutError

    with pytest.raises(TimeoutError):
        store.rewind(0, undo)
    assert store.seen() == [1, 2]
    assert store.position() == Position("log", 2, "after 2")
