"""A real server that can be killed, behind a network that can be cut."""

from __future__ import annotations

import asyncio
import os
import subprocess
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest_asyncio

from orderlog import Orderlog

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ROOT = Path(__file__).parents[3]
PROGRAM = Path(os.environ.get("ORDERLOG", ROOT / "target" / "debug" / "orderlog"))


class Server:
    """orderlog on a data folder of its own, at one address across restarts."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: subprocess.Popen[str] | None = None
        self._port = 0
        self._listener: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self._answers = asyncio.Event()

    async def open(self) -> None:
        self._answers.set()
        self._listener = await asyncio.start_server(self._forward, "127.0.0.1", 0)
        await asyncio.to_thread(self.start)

    @property
    def target(self) -> str:
        host, port = self._listener.sockets[0].getsockname()
        return f"{host}:{port}"

    def start(self) -> None:
        arguments = ["serve", "--listen", "127.0.0.1:0", "--data-dir", str(self._folder)]
        environment = {k: v for k, v in os.environ.items() if not k.startswith("ORDERLOG")}
        self._process = subprocess.Popen(
            [PROGRAM, *arguments],
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
            cwd=self._folder,
        )
        told = []
        for line in self._process.stderr:
            told.append(line)
            if "serving address=" in line:
                self._port = int(line.split("serving address=")[1].split()[0].rsplit(":", 1)[1])
                break
        else:
            raise AssertionError("".join(told))
        threading.Thread(target=self._process.stderr.read, daemon=True).start()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def hold_answers(self) -> None:
        """Let no answer through any more on the connections there are, without closing them."""
        self._answers.clear()
        self._answers = asyncio.Event()
        self._answers.set()

    def cut(self) -> None:
        for connection in self._connections:
            connection.cancel()

    async def close(self) -> None:
        self.cut()
        self._listener.close()
        await asyncio.to_thread(self.kill)

    async def _forward(self, client: asyncio.StreamReader, answers: asyncio.StreamWriter) -> None:
        this = asyncio.current_task()
        self._connections.add(this)
        try:
            replies, server = await asyncio.open_connection("127.0.0.1", self._port)
            ways = (
                asyncio.create_task(_pump(client, server, None)),
                asyncio.create_task(_pump(replies, answers, self._answers)),
            )
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                server.transport.abort()
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            answers.transport.abort()
            self._connections.discard(this)


async def _pump(
    source: asyncio.StreamReader, to: asyncio.StreamWriter, may: asyncio.Event | None
) -> None:
    while data := await source.read(65536):
        if may:
            await may.wait()
        to.write(data)
        await to.drain()


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
