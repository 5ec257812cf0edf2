"""The client without `await`: the same calls, for programs without an event loop."""

from __future__ import annotations

import asyncio
import threading
from itertools import islice
from typing import TYPE_CHECKING, Any, Self

from orderlog import bulk, client

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine, Iterable, Iterator

    from google.protobuf.message import Message

    from orders.v1.order_pb2 import Order
    from orders.v1.query_service_pb2 import SearchOrdersRequest, WatchOrdersRequest

_END = object()


class Orderlog:
    """A connection to orderlog: `with Orderlog("127.0.0.1:50051") as orderlog`.

    A thread of its own runs the calls, and any thread may make them.
    """

    def __init__(self, target: str, **options: Any) -> None:
        """Takes the arguments of `orderlog.Orderlog`."""
        self._client = client.Orderlog(target, **options)
        self._loop = asyncio.new_event_loop()
        run = self._loop.run_forever
        self._thread = threading.Thread(target=run, name="orderlog", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        """Returns the client itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Closes the connection, and ends the thread."""
        self._wait(self._client.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def execute(self, command: Message) -> Any:
        """Sends a command, retries it until the server replies, and returns the reply."""
        return self._wait(self._client.execute(command))

    def execute_all(self, commands: Iterable[Message]) -> Iterator[Any]:
        """Yields the reply to each command, or its `OrderlogError`, in order.

        Reads the commands in the calling thread, and sends as many at once as may be in flight.
        """
        left = iter(commands)
        while part := list(islice(left, bulk.MAX_IN_FLIGHT)):
            yield from self._each(self._client.execute_all(part))

    def ask(self, query: Message) -> Any:
        """Sends a query, retries it until the server replies, and returns the reply."""
        return self._wait(self._client.ask(query))

    def pages(self, query: Message) -> Iterator[Any]:
        """Yields the replies to a query, page by page."""
        return self._each(self._client.pages(query))

    def search(self, search: SearchOrdersRequest) -> Iterator[Order]:
        """Yields the orders that match, page by page."""
        return self._each(self._client.search(search))

    def progress(self, request: Message) -> Iterator[Any]:
        """Yields the progress of an operator's call, until it is done."""
        return self._each(self._client.progress(request))

    def watch(self, request: WatchOrdersRequest, **options: Any) -> Iterator[Any]:
        """Yields the orders that match, then each change to them, as `orderlog.Orderlog.watch`."""
        return self._each(self._client.watch(request, **options))

    def _wait(self, call: Coroutine[Any, Any, Any]) -> Any:
        future = asyncio.run_coroutine_threadsafe(call, self._loop)
        try:
            return future.result()
        finally:
            # Ctrl-C ends the call too.
            future.cancel()

    def _each(self, items: AsyncIterator[Any]) -> Iterator[Any]:
        try:
            while (item := self._wait(_next(items))) is not _END:
                yield item
        finally:
            self._wait(_close(items))


async def _next(items: AsyncIterator[Any]) -> Any:
    return await anext(items, _END)


async def _close(items: AsyncIterator[Any]) -> None:
    await items.aclose()
