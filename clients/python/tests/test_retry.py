"""Tests retries against a fake server with scripted failures."""

import pytest
from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status
from grpc import StatusCode

from orderlog import Orderlog, OrderlogError
from orders.v1.command_service_pb2 import CreateOrderRequest, CreateOrderResponse
from orders.v1.command_service_pb2_grpc import (
    CommandServiceServicer,
    add_CommandServiceServicer_to_server,
)


class Fake(CommandServiceServicer):
    def __init__(self, failures):
        self.failures = failures
        self.ids = []

    async def CreateOrder(self, request, context):  # noqa: N802
        self.ids.append(request.request_id)
        if self.failures:
            code, *details = self.failures.pop(0)
            packed = []
            for detail in details:
                packed.append(Any())
                packed[-1].Pack(detail)
            status = Status(code=code.value[0], details=packed).SerializeToString()
            context.set_trailing_metadata([("grpc-status-details-bin", status)])
            await context.abort(code, "as told")
        return CreateOrderResponse(order_id="o")


def failure(reason):
    """Returns the status of a command that the server cannot execute yet."""
    details = []
    for detail in (ErrorInfo(reason=reason), RetryInfo(retry_delay=Duration(nanos=1000))):
        details.append(Any())
        details[-1].Pack(detail)
    return Status(code=StatusCode.RESOURCE_EXHAUSTED.value[0], details=details)


@pytest.fixture
def attempts(serve):
    """Returns the request ids that arrive, and the error of the call if it fails."""

    async def attempts(*failures):
        fake = Fake(list(failures))
        target = await serve(add_CommandServiceServicer_to_server, fake)
        try:
            async with Orderlog(target) as orderlog:
                await orderlog.execute(CreateOrderRequest())
        except OrderlogError as error:
            return fake.ids, error
        return fake.ids, None

    return attempts


async def test_an_outage_is_waited_for_with_the_same_request_id(attempts):
    soon = RetryInfo(retry_delay=Duration(nanos=1000))
    ids, error = await attempts(
        (StatusCode.UNAVAILABLE,),
        (StatusCode.UNAVAILABLE, ErrorInfo(reason="STORE_UNAVAILABLE"), soon),
        (StatusCode.RESOURCE_EXHAUSTED, ErrorInfo(reason="OVERLOADED"), soon),
        (StatusCode.DEADLINE_EXCEEDED,),
        # The server notices the end of the attempt before the client.
        (StatusCode.DEADLINE_EXCEEDED, ErrorInfo(reason="DEADLINE_EXCEEDED")),
        # A connection that breaks during a reply may end with these codes.
        (StatusCode.INTERNAL,),
        (StatusCode.CANCELLED,),
    )
    assert error is None
    assert len(ids) == 8
    assert len(set(ids)) == 1
    assert ids[0]


async def test_it_is_not_tried_again_before_the_server_said(attempts):
    ids, error = await attempts(
        (StatusCode.UNAVAILABLE, RetryInfo(retry_delay=Duration(seconds=3600)))
    )
    assert len(ids) == 1
    assert error.retry_after == 3600


@pytest.mark.parametrize(
    ("code", "details"),
    [
        (StatusCode.INVALID_ARGUMENT, [ErrorInfo(reason="INVALID_FIELD")]),
        (StatusCode.ABORTED, [ErrorInfo(reason="VERSION_MISMATCH")]),
        (StatusCode.DEADLINE_EXCEEDED, [ErrorInfo(reason="READ_MODEL_BEHIND")]),
        (StatusCode.RESOURCE_EXHAUSTED, []),
        (StatusCode.INTERNAL, [ErrorInfo(reason="INTERNAL")]),
    ],
)
async def test_what_stays_wrong_is_not_tried_again(attempts, code, details):
    ids, error = await attempts((code, *details))
    assert len(ids) == 1
    assert error.code is code
