"""Shows the Python client to the conformance suite: see `../conformance/README.md`."""

import asyncio
import contextlib
import json
import sys
import time
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.json_format import MessageToDict, ParseDict

from orderlog import Orderlog, OrderlogError, SqliteStore, follow
from orders.v1.command_service_pb2 import (
    CreateOrderRequest,
    ExecuteCommandsRequest,
    ShipOrderRequest,
)
from orders.v1.event_pb2 import RecordedEvent
from orders.v1.event_service_pb2 import SubscribeResponse
from orders.v1.query_service_pb2 import GetOrderRequest, SearchOrdersRequest, WatchOrdersRequest


def say(line: dict[str, Any]) -> None:
    """Writes a line to the suite."""
    print(json.dumps(line), flush=True)


class Seen(SqliteStore):
    """Records every position. A repeated event violates the primary key."""

    SCHEMA = "CREATE TABLE IF NOT EXISTS seen (position INTEGER PRIMARY KEY);"

    def __init__(self, file: str, until: int = 0, seconds: float = 0) -> None:
        super().__init__(file)
        self._loop = asyncio.get_running_loop()
        self._until = until
        self._seconds = seconds
        self.reached = asyncio.Event()
        self._check()

    def project(self, event: RecordedEvent) -> None:
        self.connection.execute("INSERT INTO seen VALUES (?)", (event.position,))

    def apply(self, response: SubscribeResponse, after: Any) -> bool:
        time.sleep(self._seconds)
        is_applied = super().apply(response, after)
        say({"progress": {"position": self.position().position}})
        self._check()
        return is_applied

    def _check(self) -> None:
        if self.position().position >= self._until:
            self._loop.call_soon_threadsafe(self.reached.set)

    def seen(self) -> list[int]:
        rows = self.connection.execute("SELECT position FROM seen ORDER BY position")
        return [position for (position,) in rows]


class Driver:
    """Serves the requests of the suite."""

    async def connect(self, it: dict[str, Any]) -> dict[str, Any]:
        self._access = {}
        if it["token_file"]:
            self._access["token"] = Path(it["token_file"]).read_text
        if it["tls"]:
            self._access["tls"] = grpc.ssl_channel_credentials(Path(it["ca"]).read_bytes())
        self._target = ("https://" if it["tls"] else "") + it["target"]
        times = {"answer_within": it["answer_within_ms"], "patience": it["patience_ms"]}
        times = {name: ms / 1000 for name, ms in times.items() if ms}
        self._orderlog = Orderlog(self._target, **self._access, **times)
        return {}

    async def create_order(self, it: dict[str, Any]) -> dict[str, Any]:
        return await self._execute(CreateOrderRequest(), it)

    async def ship_order(self, it: dict[str, Any]) -> dict[str, Any]:
        return await self._execute(ShipOrderRequest(), it)

    async def _execute(self, command: Any, it: dict[str, Any]) -> dict[str, Any]:
        return MessageToDict(await self._orderlog.execute(ParseDict(it["request"], command)))

    async def get_order(self, it: dict[str, Any]) -> dict[str, Any]:
        return MessageToDict(await self._orderlog.ask(ParseDict(it["request"], GetOrderRequest())))

    async def search(self, it: dict[str, Any]) -> dict[str, Any]:
        search = self._orderlog.search(ParseDict(it["request"], SearchOrdersRequest()))
        return {"order_ids": [order.order_id async for order in search]}

    async def execute_commands(self, it: dict[str, Any]) -> dict[str, Any]:
        requests = [ParseDict(request, ExecuteCommandsRequest()) for request in it["requests"]]
        commands = (getattr(request, request.WhichOneof("command")) for request in requests)
        results = self._orderlog.execute_all(commands)
        return {"results": [described(result) async for result in results]}

    async def follow(self, it: dict[str, Any]) -> dict[str, Any]:
        store = Seen(it["store"], it["until"], it["apply_ms"] / 1000)
        silence = {"silence": it["silence_ms"] / 1000} if it["silence_ms"] else {}
        following = asyncio.create_task(follow(self._target, store, **self._access, **silence))
        reached = asyncio.create_task(store.reached.wait())
        await asyncio.wait([following, reached], return_when="FIRST_COMPLETED")
        if following.done():
            following.result()
        following.cancel()
        await asyncio.wait([following])
        return {"seen": store.seen(), "position": store.position().position}

    async def rewind(self, it: dict[str, Any]) -> dict[str, Any]:
        store, after = Seen(it["store"]), (it["position"],)
        undo = "DELETE FROM seen WHERE position > ?"
        store.rewind(it["position"], lambda: store.connection.execute(undo, after))
        store.close()
        return {}

    async def watch_orders(self, it: dict[str, Any]) -> dict[str, Any]:
        versions, left = {}, set()
        request = ParseDict(it["request"], WatchOrdersRequest())
        async with contextlib.aclosing(self._orderlog.watch(request)) as responses:
            async for response in responses:
                versions |= {order.order_id: order.version for order in response.orders}
                left |= set(response.left_order_ids)
                position = response.as_of_position
                say({"progress": {"position": position}})
                if response.caught_up and position >= it["until"]:
                    break
        return {"versions": versions, "left": sorted(left), "position": position}


def described(result: Any) -> dict[str, Any]:
    """Returns a reply, or the parts of an error."""
    if not isinstance(result, OrderlogError):
        return {"ok": MessageToDict(result)}
    names = ("reason", "metadata", "violations", "resource", "position", "shared_position")
    parts = {name: getattr(result, name, None) for name in names}
    return {"error": {"code": result.code.name, **parts}}


async def main() -> None:
    """Serves one request after the other."""
    driver = Driver()
    while line := await asyncio.to_thread(sys.stdin.readline):
        request = json.loads(line)
        try:
            say({"ok": await getattr(driver, request["do"])(request)})
        except OrderlogError as error:
            say(described(error))


asyncio.run(main())
