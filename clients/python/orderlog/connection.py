"""Makes channels, with or without TLS, that send a token."""

from __future__ import annotations

import asyncio
import inspect
import ipaddress
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import grpc

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


def connect(
    target: str, token: Token | None, tls: grpc.ChannelCredentials | None
) -> grpc.aio.Channel:
    """Makes a channel to `ADDRESS:PORT`, or with TLS to `https://NAME:PORT`."""
    is_url = target.startswith(("http://", "https://"))
    url = urlsplit(target if is_url else f"//{target}")
    address = url.netloc if is_url else target
    interceptors = [kind(token) for kind in _KINDS] if token is not None else None
    if url.scheme == "https":
        credentials = tls or grpc.ssl_channel_credentials()
        return grpc.aio.secure_channel(address, credentials, _OPTIONS, interceptors=interceptors)
    if tls:
        message = f"TLS is for https://, not for {target}"
        raise ValueError(message)
    if token is not None and not _is_loopback(url.hostname):
        message = f"a token is not sent in clear to {target}: use https://"
        raise ValueError(message)
    return grpc.aio.insecure_channel(address, _OPTIONS_IN_CLEAR, interceptors=interceptors)


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
