"""Clients of four orderlog nodes: commands, queries and subscribers, with the times of answers."""

import asyncio
import bisect
import collections
import itertools
import json
import time
from collections.abc import Awaitable, Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.duration_pb2 import Duration

from orderlog import Orderlog, OrderlogError, SqliteStore, follow
from orderlog.client import uuid7
from orderlog.money import money
from orders.v1.command_service_pb2 import CreateOrderItem, CreateOrderRequest
from orders.v1.event_pb2 import RecordedEvent
from orders.v1.event_service_pb2 import SubscribeRequest
from orders.v1.query_service_pb2 import GetOrderRequest

WORKERS = 4
"""Clients that send commands to each command node, one command at a time."""

INTERVAL = 0.05
"""Seconds between two calls of a client. The servers share the processors with the clients."""

RETRY_INTERVAL = 0.1
"""Seconds before a failed call is sent again."""


class Times:
    """The times at which something succeeded."""

    def __init__(self) -> None:
        """Starts without a time."""
        self._times: list[float] = []

    def add(self) -> None:
        """Adds the time of now."""
        self._times.append(time.monotonic())

    def newest(self) -> float:
        """Returns the newest time, and 0 if there is none."""
        return self._times[-1] if self._times else 0

    def longest_pause(self, since: float) -> float:
        """Returns the longest time without success from `since` until now."""
        later = self._times[bisect.bisect(self._times, since) :]
        times = [since, *later, time.monotonic()]
        return max(after - before for before, after in itertools.pairwise(times))


class Subscriber(SqliteStore):
    """The subscriber in Python. A table without constraints shows repeated events."""

    SCHEMA = "CREATE TABLE IF NOT EXISTS seen (position INTEGER, event_id TEXT);"

    def __init__(self, file: Path, times: Times) -> None:
        """Opens the file."""
        super().__init__(file)
        self._times = times

    def project(self, event: RecordedEvent) -> None:
        """Notes the event, in the transaction of its position."""
        row = (event.position, event.event_id)
        self.connection.execute("INSERT INTO seen VALUES (?, ?)", row)
        self._times.add()

    def seen(self) -> list[tuple[int, str]]:
        """Returns the position and id of each event, in the order of arrival."""
        rows = self.connection.execute("SELECT position, event_id FROM seen ORDER BY rowid")
        return rows.fetchall()


class Load:
    """The clients, and the replies that they got."""

    def __init__(
        self, program: Path, folder: Path, commands: list[str], queries: list[str]
    ) -> None:
        """Takes the addresses of the command nodes and of the query nodes."""
        self._program = program
        self._commands = commands
        self._queries = queries
        self._stopping = False
        self._newest: tuple[str, int] | None = None
        self._shown: dict[str, tuple[str, int] | None] = dict.fromkeys(queries)
        self._watch_log = folder / "watch.log"
        self.acknowledged: list[tuple[str, int]] = []
        self.watched: list[tuple[int, str]] = []
        self.errors: collections.Counter[str] = collections.Counter()
        self.times: dict[str, Times] = {
            name: Times()
            for name in [
                *(f"commands {node}" for node in commands),
                *(f"queries {node}" for node in queries),
                *(f"fresh {node}" for node in queries),
                "watch",
                "python",
            ]
        }
        self.subscriber = Subscriber(folder / "subscriber.db", self.times["python"])

    async def run(self, trial: Callable[[], Awaitable[None]]) -> None:
        """Runs `trial` under load. Then each client finishes its call."""
        watching = asyncio.create_task(self._watch(self._commands[0]))
        following = asyncio.create_task(follow(self._commands[1], self.subscriber))
        subscribers = [watching, following]
        try:
            async with asyncio.TaskGroup() as clients:
                for node in self._commands:
                    for _ in range(WORKERS):
                        clients.create_task(self._send_commands(node))
                for node in self._queries:
                    clients.create_task(self._read_own_writes(node))
                    clients.create_task(self._read(node))
                await trial()
                self._stopping = True
            await self._received(max(position for _, position in self.acknowledged), subscribers)
        finally:
            for subscriber in subscribers:
                subscriber.cancel()
            await asyncio.gather(*subscribers, return_exceptions=True)

    async def succeeds(self, since: float) -> None:
        """Waits until each client has succeeded after `since`."""
        async with asyncio.timeout(60):
            while not all(times.newest() > since for times in self.times.values()):
                await asyncio.sleep(0.1)

    def longest_pauses(self, since: float) -> dict[str, float]:
        """Returns the longest pause of each kind of client since then, on the slowest node."""
        pauses: dict[str, float] = {}
        for name, times in self.times.items():
            kind = name.split(" ")[0]
            pauses[kind] = max(pauses.get(kind, 0), times.longest_pause(since))
        return pauses

    async def _send_commands(self, node: str) -> None:
        tea = CreateOrderItem(product_id="tea", quantity=1, unit_price=money("EUR", Decimal(3)))
        async with Orderlog(node) as orderlog:
            while not self._stopping:
                create = CreateOrderRequest(request_id=str(uuid7()), customer_id="ann", items=[tea])
                reply = await self._answer(orderlog.commands.CreateOrder, create, 10)
                self.times[f"commands {node}"].add()
                self.acknowledged.append((create.request_id, reply.position))
                self._newest = (reply.order_id, reply.position)
                await asyncio.sleep(INTERVAL)

    async def _read_own_writes(self, node: str) -> None:
        """Reads the newest acknowledged order, which the node may have to wait for."""
        async with Orderlog(node) as orderlog:
            while not self._stopping:
                if self._newest and self._newest != self._shown[node]:
                    order_id, position = newest = self._newest
                    query = GetOrderRequest(
                        order_id=order_id, min_position=position, max_wait=Duration(seconds=1)
                    )
                    await self._answer(orderlog.queries.GetOrder, query, 5)
                    self._shown[node] = newest
                    self.times[f"fresh {node}"].add()
                await asyncio.sleep(INTERVAL)

    async def _read(self, node: str) -> None:
        """Reads an order that the node has shown before."""
        async with Orderlog(node) as orderlog:
            while not self._stopping:
                if shown := self._shown[node]:
                    query = GetOrderRequest(order_id=shown[0])
                    await self._answer(orderlog.queries.GetOrder, query, 5)
                    self.times[f"queries {node}"].add()
                await asyncio.sleep(INTERVAL)

    async def _answer(self, call: Any, request: Any, timeout: float) -> Any:
        """Sends a request until it is answered."""
        while True:
            try:
                return await call(request, timeout=timeout)
            except grpc.aio.AioRpcError as failed:
                error = OrderlogError.of_call(failed)
                self.errors[f"{error.code.name} {error.reason}"] += 1
                is_behind = error.reason == "READ_MODEL_BEHIND"
                if not (is_behind or error.is_retryable or error.is_unanswered):
                    raise error from failed
            await asyncio.sleep(RETRY_INTERVAL)

    async def _watch(self, node: str) -> None:
        """Runs the subscriber in Rust."""
        command = [self._program, "watch", "--after", "0", "--json", "--server", f"http://{node}"]
        with self._watch_log.open("wb") as log:
            watch = await asyncio.create_subprocess_exec(
                *command, stdout=asyncio.subprocess.PIPE, stderr=log
            )
        assert watch.stdout
        try:
            async for line in watch.stdout:
                event = json.loads(line)
                self.watched.append((int(event["position"]), event["eventId"]))
                self.times["watch"].add()
            message = f"orderlog watch ended with {await watch.wait()}"
            raise RuntimeError(message)
        finally:
            if watch.returncode is None:
                watch.kill()
                await watch.wait()

    async def _received(self, position: int, subscribers: list[asyncio.Task[None]]) -> None:
        async with asyncio.timeout(60):
            while self.subscriber.position().position < position or (
                not self.watched or self.watched[-1][0] < position
            ):
                for subscriber in subscribers:
                    if subscriber.done():
                        subscriber.result()
                await asyncio.sleep(0.1)

    async def check(self) -> str:
        """Compares replies and subscribers with the log, and returns a summary.

        Raises an error if an acknowledged command is missing or repeated, or if a subscriber has
        not got each event once and in order.
        """
        log: list[RecordedEvent] = []
        async with Orderlog(self._commands[0]) as orderlog:
            async for response in orderlog.events.Subscribe(SubscribeRequest()):
                log.extend(response.events)
        stored = [(event.request_id, event.position) for event in log]
        # The clients stopped after an answer, so each command in the log was acknowledged.
        if sorted(self.acknowledged) != sorted(stored):
            lost = sorted(set(self.acknowledged) - set(stored))
            added = sorted(set(stored) - set(self.acknowledged))
            message = f"acknowledged, not in the log: {lost}; in the log only: {added}"
            raise AssertionError(message)
        if [position for _, position in stored] != list(range(1, len(log) + 1)):
            message = "the positions of the log have gaps"
            raise AssertionError(message)
        events = [(event.position, event.event_id) for event in log]
        for name, seen in [("watch", self.watched), ("python", self.subscriber.seen())]:
            if seen != events:
                wrong = [pair for pair in zip(seen, events, strict=False) if pair[0] != pair[1]]
                message = f"{name} got {len(seen)} of {len(log)} events; first wrong: {wrong[:1]}"
                raise AssertionError(message)
        errors = ", ".join(f"{count} {error}" for error, count in self.errors.most_common())
        return f"{len(log)} commands, none lost or repeated; errors sent again: {errors or 'none'}"
