"""Reads the streams that a client follows until it is cancelled."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import grpc

from orderlog.errors import HistoryError, OrderlogError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

log = logging.getLogger(__name__)

SILENCE = 30.0
"""The seconds without a response after which a stream is lost: three times the longest time between
two responses of a live stream."""


async def responses(
    call: grpc.aio.UnaryStreamCall, silence: float, token_may_change: bool
) -> AsyncIterator[Any]:
    """Yields the responses, until the client must open another stream.

    The time between two responses in which the client works does not count as silence. Raises an
    `OrderlogError` that another stream cannot fix.
    """
    while True:
        try:
            async with asyncio.timeout(silence):
                response = await call.read()
        except TimeoutError:
            log.warning("no word for %s s: connecting again", silence)
            return
        except grpc.aio.AioRpcError as failed:
            error = OrderlogError.of_call(failed)
            if error.reason in HistoryError.REASONS:
                raise HistoryError.of_call(failed) from failed
            if not _may_pass(error, token_may_change):
                raise error from failed
            log.warning("the stream broke off: %s", error)
            await asyncio.sleep(error.retry_after or 0)
            return
        if response is grpc.aio.EOF:
            log.info("the stream ended")
            return
        yield response


def _may_pass(error: OrderlogError, token_may_change: bool) -> bool:
    match error.code:
        case grpc.StatusCode.UNAUTHENTICATED | grpc.StatusCode.PERMISSION_DENIED:
            return token_may_change
        # With a reason, INTERNAL may mean that the server cannot read a newer event yet.
        case grpc.StatusCode.INTERNAL:
            return True
    return error.is_retryable or error.is_unanswered
