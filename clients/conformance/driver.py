"""Runs the driver of a client, as the README specifies."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parent

MAX_LINE_BYTES = 16 << 20
"""Bounds a reply. A page of 500 orders takes less."""

REPLY_TIMEOUT = 60.0
"""The longest wait for a line of the driver, in seconds."""


class ClientError(Exception):
    """The client raised its error."""

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(json.dumps(error))
        self.code: str = error["code"]
        self.reason: str = error.get("reason", "")
        self.metadata: dict[str, str] = error.get("metadata", {})
        self.violations: dict[str, str] = error.get("violations", {})
        self.resource: str = error.get("resource", "")
        self.position: int | None = error.get("position")
        self.shared_position: int | None = error.get("shared_position")


class Driver:
    """A driver's process, which serves one request after the other."""

    def __init__(self, command: list[str]) -> None:
        self._command = command
        self._process: asyncio.subprocess.Process | None = None
        self.progress: list[int] = []
        """The positions that the request in progress has reported."""

    async def start(self) -> None:
        pipe = asyncio.subprocess.PIPE
        self._process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=pipe,
            stdout=pipe,
            cwd=FOLDER,
            limit=MAX_LINE_BYTES,
            start_new_session=True,
        )

    async def connect(self, target: str, **options: Any) -> None:
        await self.ask("connect", **({"target": target} | _DEFAULTS | options))

    async def follow(self, store: Path, until: int, **options: int) -> dict[str, Any]:
        """Follows the log up to a position, and returns the contents of the store."""
        options = {"silence_ms": 30_000, "apply_ms": 0} | options
        return await self.ask("follow", store=str(store), until=until, **options)

    async def ask(self, do: str, **fields: Any) -> dict[str, Any]:
        """Sends a request, and returns its reply or raises `ClientError`."""
        self.progress = []
        self._process.stdin.write(json.dumps({"do": do, **fields}).encode() + b"\n")
        await self._process.stdin.drain()
        while True:
            async with asyncio.timeout(REPLY_TIMEOUT):
                line = await self._process.stdout.readline()
            assert line, f"the driver ended during {do}"
            reply = json.loads(line)
            if "progress" in reply:
                self.progress.append(reply["progress"]["position"])
            elif "unsupported" in reply:
                pytest.skip(f"not offered: {reply['unsupported']}")
            elif "error" in reply:
                raise ClientError(reply["error"])
            else:
                return reply["ok"]

    async def kill(self) -> None:
        """Kills the process and those that it has started."""
        if self._process.returncode is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        await self._process.wait()

    async def end(self) -> None:
        """Closes the input, after which the driver ends by itself."""
        if self._process.returncode is None:
            self._process.stdin.close()
            async with asyncio.timeout(REPLY_TIMEOUT):
                assert await self._process.wait() == 0


_DEFAULTS = {"tls": False, "ca": "", "token_file": "", "answer_within_ms": 0, "patience_ms": 0}
