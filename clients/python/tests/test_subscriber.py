"""Tests the subscriber while servers and networks fail."""

import asyncio
import contextlib
from typing import ClassVar

import pytest
from test_client import create, head, ship

from orderlog import Orderlog, SqliteStore, follow
from orderlog.subscriber import Position
from orders.v1.event_pb2 import RecordedEvent
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


def test_a_response_is_applied_only_after_the_position_that_it_follows(tmp_path):
    def response(position):
        token = f"after {position}"
        events = [RecordedEvent(position=position)]
        return SubscribeResponse(log_id="one", position=position, resume_token=token, events=events)

    store = Recorder(tmp_path / "seen.db")
    other = Recorder(tmp_path / "seen.db")
    assert store.apply(response(1), Position())
    assert not other.apply(response(1), Position())
    assert other.apply(response(2), Position("one", 1, "after 1"))
    # The event at position 1 is another one in another history.
    assert not store.apply(response(3), Position("one", 2, "after another 2"))
    assert store.position() == Position("one", 2, "after 2")
    assert store.seen() == [1, 2]


async def test_a_store_that_another_subscriber_moves_is_read_again(server, orderlog, tmp_path):
    store = Recorder(tmp_path / "seen.db")
    other = Recorder(tmp_path / "seen.db")
    async with following(server, store) as first, following(server, other) as second:
        for number in range(50):
            await orderlog.execute(create(f"o-{number}"))
        await until(lambda: store.position().position == 50)
        assert not first.done()
        assert not second.done()
    assert store.seen() == list(range(1, 51))


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
    assert store.position() == Position()
    assert store.seen() == []


async def test_a_store_may_be_async_and_ends_its_transaction_when_cancelled(server, orderlog):
    class Memory:
        place = Position()
        seen: ClassVar = []

        def position(self):
            return self.place

        async def apply(self, response, after):
            self.seen.extend(event.position for event in response.events)
            await asyncio.sleep(0.1)
            self.place = Position(response.log_id, response.position, response.resume_token)
            return True

    for number in range(3):
        await orderlog.execute(create(f"o-{number}"))
    store = Memory()
    async with following(server, store):
        await until(lambda: store.seen == [1, 2, 3])
        assert store.place.position == 0
    assert store.place.position == 3
