"""Connects to a server, with or without TLS, and sends a token."""

from __future__ import annotations

import asyncio
import inspect
import ipaddress
import threading
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

import grpc

from orders.v1 import (
    command_service_pb2_grpc,
    event_service_pb2_grpc,
    projection_service_pb2_grpc,
    query_service_pb2_grpc,
)

if TYPE_CHECKING:
    from grpc.aio import ClientCallDetails

Token = str | Callable[[], str | Awaitable[str]]
"""A token, or a function that returns the current token for each call."""

_OPTIONS = (
    # Pings detect a lost server while a call waits for it, even if the client sends nothing more.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.max_pings_without_data", 0),
    # By default, all channels of a process share one connection, and fail together.
    ("grpc.use_local_subchannel_pool", 1),
    # A short backoff finds a restarted server soon.
    ("grpc.max_reconnect_backoff_ms", 1_000),
)

# A proxy of the environment could read a token that is not encrypted.
_OPTIONS_IN_CLEAR = (*_OPTIONS, ("grpc.enable_http_proxy", 0))


class Connections:
    """The connections to a server: one for each event loop, in which grpc keeps a channel."""

    def __init__(
        self, target: str, token: Token | None, tls: grpc.ChannelCredentials | None
    ) -> None:
        """Checks the arguments: `ADDRESS:PORT`, or with TLS `https://NAME:PORT`."""
        is_url = target.startswith(("http://", "https://"))
        url = urlsplit(target if is_url else f"//{target}")
        self._address = url.netloc if is_url else target
        self._is_secure = url.scheme == "https"
        self._token = token
        self._tls = tls
        self._of_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, Stubs] = WeakKeyDictionary()
        self._turn = threading.Lock()
        if self._is_secure:
            return
        if tls:
            message = f"TLS is for https://, not for {target}"
            raise ValueError(message)
        if token is not None and not _is_loopback(url.hostname):
            message = f"a token is not sent in clear to {target}: use https://"
            raise ValueError(message)

    def current(self) -> Stubs:
        """Returns the stubs of the running loop. The first call on them connects."""
        loop = asyncio.get_running_loop()
        with self._turn:
            if loop not in self._of_loop:
                self._of_loop[loop] = Stubs(self._connect())
            return self._of_loop[loop]

    async def close(self) -> None:
        """Closes the connection of the running loop."""
        with self._turn:
            stubs = self._of_loop.pop(asyncio.get_running_loop(), None)
        if stubs:
            await stubs.channel.close()

    def _connect(self) -> grpc.aio.Channel:
        token = self._token
        interceptors = [kind(token) for kind in _KINDS] if token is not None else None
        if self._is_secure:
            tls = self._tls or grpc.ssl_channel_credentials()
            return grpc.aio.secure_channel(self._address, tls, _OPTIONS, interceptors=interceptors)
        options = _OPTIONS_IN_CLEAR
        return grpc.aio.insecure_channel(self._address, options, interceptors=interceptors)


class Stubs:
    """The stubs of all services on one channel."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        """Makes the stubs."""
        self.channel = channel
        self.commands = command_service_pb2_grpc.CommandServiceStub(channel)
        self.events = event_service_pb2_grpc.EventServiceStub(channel)
        self.projections = projection_service_pb2_grpc.ProjectionServiceStub(channel)
        self.queries = query_service_pb2_grpc.QueryServiceStub(channel)


def _is_loopback(host: str | None) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False


class _Bearer:
    def __init__(self, token: Token) -> None:
        self._token = token

    async def intercept(self, call: Any, details: ClientCallDetails, request: Any) -> Any:
        metadata = grpc.aio.Metadata(*(details.metadata or ()))
        metadata["authorization"] = await self._authorization(details.timeout)
        return await call(details._replace(metadata=metadata), request)

    async def _authorization(self, timeout: float | None) -> str:
        try:
            token = self._token
            if callable(token):
                # The call's own timeout starts only after the token is there.
                async with asyncio.timeout(timeout):
                    token = token()
                    token = await token if inspect.isawaitable(token) else token
            token = token.strip()
            # gRPC's error about an invalid header would contain the token.
            if not (token.isascii() and token.isprintable()):
                message = "it has characters that no token has"
                raise ValueError(message)
        except Exception as error:
            code = grpc.StatusCode.UNAUTHENTICATED
            nothing = grpc.aio.Metadata()
            why = f"no token: {error!r}"
            raise grpc.aio.AioRpcError(code, nothing, nothing, why) from error
        return f"Bearer {token}"


# A channel uses an interceptor for one kind of call only, so each kind needs its own class.
class _UnaryUnary(_Bearer, grpc.aio.UnaryUnaryClientInterceptor):
    intercept_unary_unary = _Bearer.intercept


class _UnaryStream(_Bearer, grpc.aio.UnaryStreamClientInterceptor):
    intercept_unary_stream = _Bearer.intercept


class _StreamUnary(_Bearer, grpc.aio.StreamUnaryClientInterceptor):
    intercept_stream_unary = _Bearer.intercept


class _StreamStream(_Bearer, grpc.aio.StreamStreamClientInterceptor):
    intercept_stream_stream = _Bearer.intercept


_KINDS = (_UnaryUnary, _UnaryStream, _StreamUnary, _StreamStream)
