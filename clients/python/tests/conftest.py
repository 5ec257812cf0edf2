"""Gives tests a server of their own and a client of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest_asyncio
from server import Server

from orderlog import Orderlog

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
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
