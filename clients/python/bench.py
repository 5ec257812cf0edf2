"""Measures the client against the stub that gRPC generates: `python bench.py [ADDRESS:PORT]`.

Both take turns in each round, so that a busy machine slows both. Each line has the medians of the
rates, and of the ratios of the rounds.
"""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from decimal import Decimal
from statistics import median

import grpc

from orderlog import Orderlog, follow
from orderlog.client import uuid7
from orderlog.money import money
from orderlog.subscriber import Position
from orders.v1.command_service_pb2 import (
    CreateOrderItem,
    CreateOrderRequest,
    ExecuteCommandsRequest,
)
from orders.v1.command_service_pb2_grpc import CommandServiceStub
from orders.v1.event_service_pb2 import GetHeadRequest, SubscribeRequest, SubscribeResponse
from orders.v1.event_service_pb2_grpc import EventServiceStub

ROUNDS = 7
SECONDS = 2.0
STREAMED = 2000
MIN_EVENTS = 60_000

Rate = Callable[[], Awaitable[float]]

TEA = CreateOrderItem(product_id="tea", quantity=2, unit_price=money("EUR", Decimal("12.50")))


def order(request_id: str = "") -> CreateOrderRequest:
    """Makes a command."""
    return CreateOrderRequest(request_id=request_id, customer_id="ann", items=[TEA])


async def in_flight(count: int, execute: Callable[[], Awaitable[object]]) -> float:
    """Returns the calls a second of several callers."""
    started = time.perf_counter()
    done = 0

    async def call() -> None:
        nonlocal done
        while time.perf_counter() - started < SECONDS:
            await execute()
            done += 1

    await asyncio.gather(*(call() for _ in range(count)))
    return done / (time.perf_counter() - started)


async def seconds(stream: AsyncIterator[object]) -> float:
    """Returns the time that a stream takes."""
    started = time.perf_counter()
    async for _ in stream:
        pass
    return time.perf_counter() - started


class Sink:
    """A store that keeps nothing, and tells when it is at a position."""

    def __init__(self, until: int) -> None:
        """Is at the beginning."""
        self.place = Position()
        self._until = until
        self.done = asyncio.Event()

    def position(self) -> Position:
        """Returns the place."""
        return self.place

    async def apply(self, response: SubscribeResponse, _after: Position) -> bool:
        """Takes the place of the response."""
        self.place = Position(response.log_id, response.position, response.resume_token)
        if response.position >= self._until:
            self.done.set()
        return True


async def followed(target: str, head: int) -> float:
    """Returns the events a second with which the subscriber catches up."""
    started = time.perf_counter()
    sink = Sink(head)
    following = asyncio.create_task(follow(target, sink))
    await sink.done.wait()
    elapsed = time.perf_counter() - started
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
    return head / elapsed


async def compare(name: str, client: Rate, stub: Rate) -> None:
    """Prints the rates of both."""
    rates = [(await client(), await stub()) for _ in range(ROUNDS)]
    of_client, of_stub = (median(rate) for rate in zip(*rates, strict=True))
    ratio = median(ours / theirs for ours, theirs in rates)
    print(f"| {name} | {of_client:,.0f} | {of_stub:,.0f} | {ratio:.2f} |", flush=True)


async def main(target: str) -> None:
    """Measures all."""
    async with Orderlog(target) as orderlog, grpc.aio.insecure_channel(target) as channel:
        commands, events = CommandServiceStub(channel), EventServiceStub(channel)
        print("| a second | client | stub | ratio |\n|---|---|---|---|")
        for count in (1, 64):
            await compare(
                f"commands, {count} in flight",
                lambda count=count: in_flight(count, lambda: orderlog.execute(order())),
                lambda count=count: in_flight(
                    count, lambda: commands.CreateOrder(order(str(uuid7())), timeout=10)
                ),
            )

        def requests() -> Iterator[ExecuteCommandsRequest]:
            for _ in range(STREAMED):
                yield ExecuteCommandsRequest(create_order=order(str(uuid7())))

        async def client_streams() -> float:
            return STREAMED / await seconds(orderlog.execute_all(order() for _ in range(STREAMED)))

        async def stub_streams() -> float:
            return STREAMED / await seconds(commands.ExecuteCommands(requests()))

        await compare("commands on one stream", client_streams, stub_streams)
        head = (await events.GetHead(GetHeadRequest())).position
        while head < MIN_EVENTS:
            await client_streams()
            head = (await events.GetHead(GetHeadRequest())).position

        async def subscribed() -> float:
            started = time.perf_counter()
            # A connection of its own, as the subscriber has.
            async with grpc.aio.insecure_channel(target) as own:
                call = EventServiceStub(own).Subscribe(SubscribeRequest(follow=True))
                while (await call.read()).position < head:
                    pass
                return head / (time.perf_counter() - started)

        await compare("events, catching up", lambda: followed(target, head), subscribed)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:50051"))
