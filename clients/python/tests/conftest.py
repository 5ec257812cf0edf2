"""Gives tests a server of their own and a client of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
import pytest_asyncio
from server import Server

from orderlog import Orderlog

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path


@pytest_asyncio.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    folder = tmp_path / "data"
    folder.mkdir()
    server = Server(folder)
    await server.open()
    yield server
    await server.close()


@pytest_asyncio.fixture
async def orderlog(server: Server) -> AsyncIterator[Orderlog]:
    async with Orderlog(server.target) as orderlog:
        yield orderlog


@pytest_asyncio.fixture
async def serve() -> AsyncIterator[Callable[[Callable[..., None], Any], Awaitable[str]]]:
    """Starts a fake server, and returns its address."""
    servers = []

    async def serve(add: Callable[..., None], service: Any) -> str:
        server = grpc.aio.server()
        servers.append(server)
        add(service, server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        return f"127.0.0.1:{port}"

    yield serve
    for server in servers:
        await server.stop(None)
