"""The error of a call, with the details that orderlog sends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from google.rpc import error_details_pb2
from google.rpc.status_pb2 import Status
from grpc import StatusCode

if TYPE_CHECKING:
    from collections.abc import Iterable

    from google.protobuf.any_pb2 import Any
    from google.protobuf.message import Message
    from grpc.aio import AioRpcError


class OrderlogError(Exception):
    """A call failed: the server rejected it, or did not reply."""

    def __init__(self, code: StatusCode, message: str, details: Iterable[Any] = ()) -> None:
        """Reads the details."""
        super().__init__(message)
        self.code = code
        self.reason = ""
        """The reason, such as `ORDER_NOT_SHIPPABLE`; empty if the error is not from orderlog."""
        self.metadata: dict[str, str] = {}
        """The values of the reason, such as `expected` and `actual`."""
        self.violations: dict[str, str] = {}
        """Each invalid field, with the rule that it breaks."""
        self.resource = ""
        """The id of the resource that does not exist, or exists already."""
        self.retry_after: float | None = None
        """The seconds to wait before a retry, if the server names them."""
        for detail in map(_unpacked, details):
            if isinstance(detail, error_details_pb2.ErrorInfo):
                self.reason = detail.reason
                self.metadata = dict(detail.metadata)
            elif isinstance(detail, error_details_pb2.BadRequest):
                self.violations = {it.field: it.description for it in detail.field_violations}
            elif isinstance(detail, error_details_pb2.ResourceInfo):
                self.resource = detail.resource_name
            elif isinstance(detail, error_details_pb2.RetryInfo):
                self.retry_after = detail.retry_delay.ToTimedelta().total_seconds()

    @classmethod
    def of_call(cls, error: AioRpcError) -> Self:
        """Makes the error of a call."""
        metadata = error.trailing_metadata() or ()
        status = next((value for key, value in metadata if key == "grpc-status-details-bin"), b"")
        return cls(error.code(), error.details() or "", Status.FromString(status).details)

    @classmethod
    def of_status(cls, status: Status) -> Self:
        """Makes the error of one command of a stream."""
        return cls(_CODES.get(status.code, StatusCode.UNKNOWN), status.message, status.details)

    @property
    def is_retryable(self) -> bool:
        """Whether a retry may succeed.

        RESOURCE_EXHAUSTED without a delay means that a message is too large.
        """
        return self.code is StatusCode.UNAVAILABLE or (
            self.code is StatusCode.RESOURCE_EXHAUSTED and self.retry_after is not None
        )

    @property
    def is_unanswered(self) -> bool:
        """Whether the call ended without a reply, so that its outcome is unknown.

        A timeout or a lost connection may cause these codes, in addition to UNAVAILABLE.
        """
        if self.reason:
            # With this reason, the server noticed the timeout first.
            return self.reason == "DEADLINE_EXCEEDED"
        return self.code in (
            StatusCode.DEADLINE_EXCEEDED,
            StatusCode.CANCELLED,
            StatusCode.INTERNAL,
            StatusCode.UNKNOWN,
        )


class HistoryError(OrderlogError):
    """The log no longer has the events that the subscriber has seen.

    The reason says how the server found out:

    - LOG_DIVERGED: the log went back, and has another event at `position`, or none.
    - POSITION_BEYOND_HEAD: the log ends before `position`, so it went back too.
    - LOG_MISMATCH: the server has another log.

    A retry cannot help: the results of the lost events must go first.
    """

    REASONS = frozenset({"LOG_DIVERGED", "POSITION_BEYOND_HEAD", "LOG_MISMATCH"})
    """The reasons that mean another history."""

    def __init__(self, code: StatusCode, message: str, details: Iterable[Any] = ()) -> None:
        """Reads the positions."""
        super().__init__(code, message, details)
        self.position = self._position("position")
        """The newest position that the subscriber has seen, if the server names it."""
        self.shared_position = self._position("shared_position")
        """The newest position with the same event in both histories, if the server knows it."""

    def _position(self, name: str) -> int | None:
        value = self.metadata.get(name)
        return None if value is None else int(value)


_CODES = {code.value[0]: code for code in StatusCode}

_KNOWN = (
    error_details_pb2.ErrorInfo,
    error_details_pb2.BadRequest,
    error_details_pb2.ResourceInfo,
    error_details_pb2.RetryInfo,
)


def _unpacked(packed: Any) -> Message | None:
    """Returns the detail, or None for one of another kind."""
    for kind in _KNOWN:
        message = kind()
        if packed.Unpack(message):
            return message
    return None
