"""Tests the subscriber while servers and networks fail."""

import asyncio
import contextlib

import pytest
from test_client import create, head, ship

from orderlog import Orderlog, OrderlogError, SqliteStore, follow
from orderlog.subscriber import Position
from orders.v1.event_service_pb2 import EventFilter, SubscribeResponse


class Recorder(SqliteStore):
    """Records every position. A repeated event violates the primary key."""

    SCHEMA = "CREATE TABLE IF NOT EXISTS seen (position INTEGER PRIMARY KEY);"

    def project(self, event):
        self.connection.execute("INSERT INTO seen VALUES (?)", (event.position,))

    def seen(self):
        return [position for (position,) in self.connection.execute("SELECT position FROM seen")]


async def until(is_so):
    async with asyncio.timeout(60):
        while not is_so():
            await asyncio.sleep(0.005)


@contextlib.asynccontextmanager
async def following(server, store, **options):
    task = asyncio.create_task(follow(server.target, store, **options))
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_no_event_is_lost_or_repeated_when_the_server_is_killed_in_the_midst(
    server, orderlog, tmp_path
):
    store = Recorder(tmp_path / "seen.db")

    async def write():
        for number in range(300):
            await orderlog.execute(create(f"o-{number}"))
            if number in (100, 200):
                server.kill()
                await asyncio.to_thread(server.start)

    async with following(server, store):
        writing = asyncio.create_task(write())
        await until(lambda: len(store.seen()) > 20)
    # A second subscriber resumes with the same file while the writer continues.
    store.close()
    store = Recorder(tmp_path / "seen.db")
    async with following(server, store):
        await writing
        await until(lambda: store.position().position == 300)
    assert store.seen() == list(range(1, 301))


async def test_it_is_told_when_the_head_is_reached_and_when_the_connection_is_gone(
    server, orderlog, tmp_path
):
    await orderlog.execute(create("o"))
    told = []
    store = Recorder(tmp_path / "seen.db")
    async with following(server, store, on_caught_up=told.append):
        await until(lambda: told == [True])
        server.cut()
        await until(lambda: told == [True, False, True])


async def test_silence_is_a_lost_connection(server, orderlog, tmp_path):
    await orderlog.execute(create("a"))
    store = Recorder(tmp_path / "seen.db")
    async with following(server, store, silence=0.5):
        await until(lambda: store.seen() == [1])
        server.hold_answers()
        async with Orderlog(server.target) as other:
            await other.execute(create("b"))
        await until(lambda: store.seen() == [1, 2])


async def test_a_filter_moves_on_with_what_it_skips(server, orderlog, tmp_path):
    for number in range(5):
        await orderlog.execute(create(f"o-{number}"))
    await orderlog.execute(ship("o-3"))
    store = Recorder(tmp_path / "seen.db")
    only = EventFilter(event_types=["OrderShipped"], customer_ids=["ann"])
    async with following(server, store, only=only):
        await until(lambda: store.position().position == 6)
        assert store.seen() == [6]
    store = Recorder(tmp_path / "others.db")
    only = EventFilter(customer_ids=["bob"])
    async with following(server, store, only=only):
        await until(lambda: store.position().position == 6)
        assert store.seen() == []


async def test_another_log_is_refused(server, orderlog, tmp_path):
    await orderlog.execute(create("o"))
    store = Recorder(tmp_path / "seen.db")
    store.apply(SubscribeResponse(log_id="another", position=1))
    async with asyncio.timeout(60):
        with pytest.raises(OrderlogError) as refused:
            await follow(server.target, store)
    assert refused.value.reason == "LOG_MISMATCH"
    with pytest.raises(ValueError, match="made from log another"):
        store.apply(SubscribeResponse(log_id="a third", position=2))
    store.apply(SubscribeResponse(log_id="another", position=0))
    assert store.position() == Position("another", 1), "a position never goes back"


async def test_what_cannot_be_projected_is_not_counted_as_done(server, orderlog, tmp_path):
    class Broken(Recorder):
        def project(self, event):
            super().project(event)
            if event.position == 2:
                # The subscriber must not treat this error as its own silence timeout.
                raise TimeoutError

    for number in range(3):
        await orderlog.execute(create(f"o-{number}"))
    assert await head(orderlog) == 3
    store = Broken(tmp_path / "seen.db")
    with pytest.raises(TimeoutError):
        await follow(server.target, store)
    assert store.position() == Position("", 0)
    assert store.seen() == []
