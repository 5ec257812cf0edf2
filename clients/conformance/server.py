"""Starts real servers that tests kill, behind a proxy that tests cut."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import subprocess
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import jwt
from cryptography.hazmat.primitives.asymmetric import ec

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ROOT = Path(__file__).resolve().parents[2]
ISSUER = "https://login.example"
PROGRAM = Path(os.environ.get("ORDERLOG", ROOT / "target" / "debug" / "orderlog"))


class Server:
    """An orderlog server with its own data folder, at one address across restarts."""

    def __init__(self, folder: Path, *more: str) -> None:
        self._folder = folder
        self._more = more
        self._process: subprocess.Popen[str] | None = None
        self._port = 0
        self._listener: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self.connection_count = 0
        """The number of connections that the proxy has accepted."""
        self._answers = asyncio.Event()

    async def open(self) -> None:
        self._answers.set()
        self._listener = await asyncio.start_server(self._forward, "127.0.0.1", 0)
        await asyncio.to_thread(self.start)

    @property
    def target(self) -> str:
        host, port = self._listener.sockets[0].getsockname()
        return f"{host}:{port}"

    @property
    def direct(self) -> str:
        """The address of the server itself, which changes with each start."""
        return f"127.0.0.1:{self._port}"

    def channel(self) -> grpc.aio.Channel:
        """Makes a channel to the server itself, past the proxy."""
        return grpc.aio.insecure_channel(self.direct)

    @property
    def credential(self) -> tuple[tuple[str, str], ...]:
        """The metadata of calls on `channel`."""
        return ()

    def start(self) -> None:
        arguments = ["serve", "--listen", "127.0.0.1:0", "--data-dir", str(self._folder)]
        arguments += self._more
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

    def save_log(self, to: Path) -> None:
        """Copies the log while the server is killed."""
        to.mkdir()
        for file in self._folder.glob("events.db*"):
            shutil.copy(file, to)

    def put_back_log(self, saved: Path) -> None:
        """Replaces the log by a saved one while the server is killed."""
        for file in self._folder.glob("events.db*"):
            file.unlink()
        for file in saved.iterdir():
            shutil.copy(file, self._folder)

    def hold_answers(self) -> None:
        """Stops all replies on the open connections, without closing them."""
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
        self.connection_count += 1
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


class Secured(Server):
    """A server with TLS that requires a token."""

    def __init__(self, folder: Path, *more: str) -> None:
        self._tokens = folder / "tokens"
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.certificate, self.key = certificate(folder / "server")
        tls = ("--tls-cert", self.certificate, "--tls-key", self.key)
        self.token("operate")
        keys = folder / "keys"
        public = jwt.algorithms.ECAlgorithm.to_jwk(self._key.public_key())
        keys.write_text(json.dumps({"keys": [json.loads(public)]}))
        jwts = ("--jwt-keys", keys, "--jwt-issuer", ISSUER, "--jwt-audience", "orderlog")
        super().__init__(folder, *tls, "--tokens", self._tokens, *jwts, *more)

    def channel(self) -> grpc.aio.Channel:
        return grpc.aio.secure_channel(self.direct, self.tls)

    @property
    def credential(self) -> tuple[tuple[str, str], ...]:
        return (("authorization", f"Bearer {self.jwt(time.time() + 600)}"),)

    def jwt(self, expires: float) -> str:
        """Makes a JWT for commands, queries and streams that expires at a Unix time."""
        roles = ["command", "query", "subscribe"]
        claims = {"iss": ISSUER, "aud": "orderlog", "exp": int(expires), "roles": roles}
        return jwt.encode(claims, self._key, "ES256")

    @property
    def target(self) -> str:
        return f"https://{super().target}"

    @property
    def tls(self) -> grpc.ChannelCredentials:
        return grpc.ssl_channel_credentials(self.certificate.read_bytes())

    def token(self, *roles: str) -> str:
        """Makes a token. A running server accepts it within seconds."""
        named = [argument for role in roles for argument in ("--role", role)]
        command = [PROGRAM, "token", "new", *named, "--tokens", self._tokens]
        return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout

    def revoke_all(self) -> None:
        beside = self._tokens.with_suffix(".new")
        beside.write_text("")
        beside.rename(self._tokens)


def certificate(folder: Path) -> tuple[Path, Path]:
    """Makes a self-signed certificate of this machine, and its key."""
    folder.mkdir(parents=True)
    cert, key = folder / "cert.pem", folder / "key.pem"
    command = "openssl req -x509 -nodes -newkey ec -pkeyopt ec_paramgen_curve:prime256v1"
    of = ("-subj", "/CN=orderlog", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1")
    # An authority's certificate could not also be a client certificate.
    extensions = (*of, "-addext", "basicConstraints=critical,CA:FALSE")
    files = ("-keyout", key, "-out", cert)
    subprocess.run([*command.split(), *extensions, *files], check=True, stderr=subprocess.DEVNULL)
    return cert, key


@contextlib.asynccontextmanager
async def secured(folder: Path, *more: str) -> AsyncIterator[Secured]:
    server = Secured(folder, *more)
    await server.open()
    try:
        yield server
    finally:
        await server.close()
