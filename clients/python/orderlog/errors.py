"""What an error says beside its code."""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.rpc import error_details_pb2, status_pb2
from grpc import StatusCode

if TYPE_CHECKING:
    from grpc.aio import AioRpcError


class OrderlogError(Exception):
    """A call that was refused, or that nobody answered."""

    def __init__(self, error: AioRpcError) -> None:
        """Read the error's details."""
        super().__init__(error.details())
        self.code: StatusCode = error.code()
        self.reason = ""
        """Such as `ORDER_NOT_SHIPPABLE`; empty if it was not orderlog that answered."""
        self.metadata: dict[str, str] = {}
        """What belongs to the reason, such as `expected` and `actual`."""
        self.violations: dict[str, str] = {}
        """Each wrong field, and the rule it breaks."""
        self.resource = ""
        """The id of what does not exist, or exists already."""
        self.retry_after: float | None = None
        """Seconds after which the same call may succeed."""
        for detail in _details(error):
            if isinstance(detail, error_details_pb2.ErrorInfo):
                self.reason = detail.reason
                self.metadata = dict(detail.metadata)
            elif isinstance(detail, error_details_pb2.BadRequest):
                self.violations = {it.field: it.description for it in detail.field_violations}
            elif isinstance(detail, error_details_pb2.ResourceInfo):
                self.resource = detail.resource_name
            elif isinstance(detail, error_details_pb2.RetryInfo):
                self.retry_after = detail.retry_delay.ToTimedelta().total_seconds()

    @property
    def is_retryable(self) -> bool:
        """Whether the same call may succeed later.

        Without a time to try again after, RESOURCE_EXHAUSTED is a message that is too large.
        """
        return self.code is StatusCode.UNAVAILABLE or (
            self.code is StatusCode.RESOURCE_EXHAUSTED and self.retry_after is not None
        )

    @property
    def is_unanswered(self) -> bool:
        """Whether time ran out, or the connection, before an answer: the outcome is not known.

        Besides UNAVAILABLE, a connection that is cut in the midst of a message may look like these.
        """
        return not self.reason and self.code in (
            StatusCode.DEADLINE_EXCEEDED,
            StatusCode.CANCELLED,
            StatusCode.INTERNAL,
            StatusCode.UNKNOWN,
        )


_KNOWN = (
    error_details_pb2.ErrorInfo,
    error_details_pb2.BadRequest,
    error_details_pb2.ResourceInfo,
    error_details_pb2.RetryInfo,
)


def _details(error: AioRpcError) -> list[object]:
    found: list[object] = []
    for key, value in error.trailing_metadata() or ():
        if key != "grpc-status-details-bin":
            continue
        for packed in status_pb2.Status.FromString(value).details:
            for kind in _KNOWN:
                message = kind()
                if packed.Unpack(message):
                    found.append(message)
    return found
