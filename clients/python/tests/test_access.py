"""Tests TLS and tokens against a real server that requires both."""

import asyncio
import contextlib

import grpc
import pytest
import pytest_asyncio
from grpc import StatusCode
from server import Server, certificate, secured
from test_client import create, head
from test_subscriber import Recorder, following, until

from orderlog import Orderlog, OrderlogError, follow
from orders.v1.command_service_pb2 import ExecuteCommandsRequest
from orders.v1.event_service_pb2 import GetHeadRequest, SubscribeRequest
from orders.v1.query_service_pb2 import GetOrderRequest


@pytest_asyncio.fixture
async def server(tmp_path):
    async with secured(tmp_path) as server:
        yield server


def connect(server, token=None, **options):
    return Orderlog(server.target, token=token, tls=server.tls, **options)


async def counts(server, token):
    """Waits until the server accepts the token."""
    async with connect(server, token) as orderlog, asyncio.timeout(60):
        while True:
            with contextlib.suppress(grpc.aio.AioRpcError):
                return await head(orderlog)
            await asyncio.sleep(0.05)


async def refusal(call):
    with pytest.raises(OrderlogError) as refused:
        await call
    return refused.value.code


async def test_every_kind_of_call_shows_the_token(server):
    token = server.token("command", "query", "subscribe")
    await counts(server, token)
    async with connect(server, token) as orderlog:
        made = await orderlog.execute(create("o"))
        asked = await orderlog.ask(GetOrderRequest(order_id="o", min_position=made.position))
        assert asked.order.version == 1
        stream = orderlog.events.Subscribe(SubscribeRequest())
        assert [event.position for event in (await stream.read()).events] == [1]
        commands = orderlog.commands.ExecuteCommands()
        await commands.write(ExecuteCommandsRequest(create_order=create("p")))
        await commands.done_writing()
        assert (await commands.read()).create_order.position == 2


async def test_who_shows_nothing_valid_is_unauthenticated_and_without_the_role_denied(server):
    token = server.token("query")
    await counts(server, token)
    for wrong in (None, "", "wrong"):
        async with connect(server, wrong) as orderlog:
            assert await refusal(orderlog.execute(create())) is StatusCode.UNAUTHENTICATED
            assert await refusal(follow_as(server, wrong)) is StatusCode.UNAUTHENTICATED
    async with connect(server, token) as orderlog:
        assert await refusal(orderlog.execute(create())) is StatusCode.PERMISSION_DENIED
        assert await refusal(follow_as(server, token)) is StatusCode.PERMISSION_DENIED


async def follow_as(server, token):
    async with asyncio.timeout(30):
        await follow(server.target, Recorder(":memory:"), token=token, tls=server.tls)


async def test_each_call_asks_for_the_token(server):
    tokens = [server.token("command"), "wrong", server.token("command")]
    await counts(server, tokens[-1])

    async def soon():
        await asyncio.sleep(0)
        return tokens.pop(0)

    for ask in (soon, lambda: tokens.pop(0)):
        tokens[3:] = tokens[:3]
        async with connect(server, ask) as orderlog:
            await orderlog.execute(create())
            assert await refusal(orderlog.execute(create())) is StatusCode.UNAUTHENTICATED
            await orderlog.execute(create())


async def test_a_token_that_cannot_be_had_is_told_and_one_that_is_none_is_not(server):
    async def late():
        await asyncio.sleep(3600)

    def broken():
        raise OSError("the issuer is down")

    for ask, why in (
        (broken, "no token: OSError('the issuer is down')"),
        (late, "no token: TimeoutError()"),
        (
            lambda: "secret\nsecret",
            "no token: ValueError('it has characters that no token has')",
        ),
    ):
        async with connect(server, ask, answer_within=0.5) as orderlog:
            with pytest.raises(OrderlogError) as refused:
                await orderlog.execute(create())
        assert (refused.value.code, str(refused.value)) == (StatusCode.UNAUTHENTICATED, why)


async def test_a_subscriber_goes_on_when_its_token_is_replaced(server, tmp_path):
    await server_takes(server, "a")
    token = server.token("subscribe")
    await counts(server, token)
    asked = []

    def current():
        asked.append(token)
        return token

    store = Recorder(tmp_path / "seen.db")
    async with following(server, store, token=current, tls=server.tls):
        await until(lambda: store.seen() == [1])
        server.revoke_all()
        # The subscriber retries with the revoked token, then with a token that lacks the role.
        await until(lambda: len(asked) == 2)
        await server_takes(server, "b")
        other = server.token("query")
        await counts(server, other)
        token = other
        await until(lambda: asked[-1] == token)
        token = server.token("subscribe")
        await until(lambda: store.seen() == [1, 2])


async def server_takes(server, order_id):
    token = server.token("command")
    await counts(server, token)
    async with connect(server, token) as orderlog:
        await orderlog.execute(create(order_id))


async def test_a_subscriber_ends_when_the_one_token_it_has_is_revoked(server, tmp_path):
    token = server.token("subscribe")
    await counts(server, token)
    caught_up = asyncio.Event()
    options = {"token": token, "tls": server.tls, "on_caught_up": lambda _: caught_up.set()}
    async with following(server, Recorder(tmp_path / "seen.db"), **options) as ended:
        await caught_up.wait()
        server.revoke_all()
        assert await refusal(ended) is StatusCode.UNAUTHENTICATED


async def test_a_server_of_another_authority_is_told_nothing(server, tmp_path):
    other = grpc.ssl_channel_credentials(certificate(tmp_path / "other")[0].read_bytes())
    for tls in (other, None):
        orderlog = Orderlog(server.target, token=server.token("command"), tls=tls, patience=0.5)
        async with orderlog:
            assert await refusal(orderlog.execute(create())) is StatusCode.UNAVAILABLE


async def test_a_client_may_have_a_certificate_too(tmp_path):
    cert, key = certificate(tmp_path / "client")
    async with secured(tmp_path / "data", "--tls-client-ca", cert) as server:
        token = server.token("command")
        ca = server.certificate.read_bytes()
        tls = grpc.ssl_channel_credentials(ca, key.read_bytes(), cert.read_bytes())
        async with Orderlog(server.target, token=token, tls=tls) as orderlog, asyncio.timeout(60):
            while True:
                with contextlib.suppress(OrderlogError):
                    await orderlog.execute(create())
                    break
        async with connect(server, token, patience=0.5) as orderlog:
            assert await refusal(orderlog.execute(create())) is StatusCode.UNAVAILABLE


@pytest.mark.parametrize(
    "target",
    [
        "orders.example:50051",
        "http://orders.example:50051",
        "http://127.0.0.1:50051@orders.example",
        "127.0.0.1.orders.example:50051",
        "dns://127.0.0.1/orders.example:50051",
        "0.0.0.0:50051",
        "[2001:db8::1]:50051",
    ],
)
async def test_a_token_is_not_sent_in_clear_to_another_machine(target):
    for token in ("secret", lambda: "secret"):
        with pytest.raises(ValueError, match="a token is not sent in clear to") as refused:
            Orderlog(target, token=token)
        assert "secret" not in str(refused.value)
        with pytest.raises(ValueError, match="a token is not sent in clear to"):
            await follow(target, Recorder(":memory:"), token=token)


async def test_without_tls_a_token_is_shown_on_the_same_machine(server, tmp_path):
    token = server.token("command")
    plain = Server(tmp_path / "plain", "--tokens", tmp_path / "tokens")
    (tmp_path / "plain").mkdir()
    await plain.open()
    try:
        for target in (plain.target, f"http://{plain.target}"):
            async with Orderlog(target, token=token) as orderlog:
                assert await orderlog.events.GetHead(GetHeadRequest())
            async with Orderlog(target) as orderlog:
                assert await refusal(orderlog.execute(create())) is StatusCode.UNAUTHENTICATED
    finally:
        await plain.close()
    for target in ("localhost:1", "[::1]:1", "http://[::1]:1", "127.1.2.3:1"):
        async with Orderlog(target, token=token):
            pass


async def test_authorities_are_for_tls():
    with pytest.raises(ValueError, match="TLS is for https://"):
        Orderlog("127.0.0.1:50051", tls=grpc.ssl_channel_credentials())


async def test_a_token_in_clear_goes_past_the_proxy_of_the_environment(monkeypatch):
    connected = []
    proxy = await asyncio.start_server(lambda reader, writer: connected.append(reader), "127.0.0.1")
    address = f"http://127.0.0.1:{proxy.sockets[0].getsockname()[1]}"
    for variable in ("http_proxy", "https_proxy", "grpc_proxy"):
        monkeypatch.setenv(variable, address)
    # Nothing listens there.
    async with proxy, Orderlog("127.0.0.1:1", token="secret", patience=1) as orderlog:
        assert await refusal(orderlog.execute(create())) is StatusCode.UNAVAILABLE
    assert not connected
