/** TLS, tokens and JWTs, against a real server that asks for them. */

import assert from "node:assert/strict";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { test } from "node:test";
import { create } from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";
import { Orderlog } from "../src/client.js";
import { OrderlogError } from "../src/errors.js";
import { GetOrderRequestSchema } from "../src/gen/orders/v1/query_service_pb.js";
import { follow, type FollowOptions } from "../src/subscriber.js";
import { head, order } from "./orders.js";
import { following, Recorder } from "./recorder.js";
import { certificate, jwt, Secured } from "./secured.js";
import { Server, until } from "./server.js";

async function refusal(call: Promise<unknown>): Promise<OrderlogError> {
  const error = await call.then(
    () => assert.fail("it was accepted"),
    (failed: unknown) => failed,
  );
  assert.ok(error instanceof OrderlogError, String(error));
  return error;
}

const now = () => Math.floor(Date.now() / 1000);

test("every kind of call shows the token", async (t) => {
  const server = await Secured.open(t);
  const token = await server.token("command", "query", "subscribe");
  const orderlog = server.client(t, { token });
  const { position } = await orderlog.execute(order("o"));
  const query = create(GetOrderRequestSchema, { orderId: "o", minPosition: position });
  assert.equal((await orderlog.ask(query)).order?.version, 1n);
  const seen: bigint[] = [];
  for await (const { events } of orderlog.events.subscribe({})) {
    seen.push(...events.map((it) => it.position));
  }
  assert.deepEqual(seen, [1n]);
});

test("who shows nothing valid is unauthenticated, and without the role denied", async (t) => {
  const server = await Secured.open(t);
  const refused = async (token?: string) => {
    const options = { token, tls: server.tls, signal: AbortSignal.timeout(30_000) };
    const { code } = await refusal(server.client(t, { token }).execute(order()));
    const ended = refusal(follow(server.url, new Recorder(":memory:"), options));
    assert.equal((await ended).code, code);
    return code;
  };
  assert.equal(await refused(), Code.Unauthenticated);
  assert.equal(await refused(""), Code.Unauthenticated);
  assert.equal(await refused("wrong"), Code.Unauthenticated);
  assert.equal(await refused(await server.token("query")), Code.PermissionDenied);
  assert.equal(await refused(jwt(now() + 600, "query")), Code.PermissionDenied);
});

test("each call asks for the token", async (t) => {
  const server = await Secured.open(t);
  const tokens = [await server.token("command"), "wrong", jwt(now() + 600, "command")];
  for (const isLate of [false, true]) {
    const left = [...tokens];
    const token = () => (isLate ? Promise.resolve(left.shift()!) : left.shift()!);
    const orderlog = server.client(t, { token });
    await orderlog.execute(order());
    assert.equal((await refusal(orderlog.execute(order()))).code, Code.Unauthenticated);
    await orderlog.execute(order());
  }
});

test("a token that cannot be had is told, and one that is none is not", async (t) => {
  const server = await Secured.open(t);
  const down = new Error("the issuer is down");
  const thrown = () => {
    throw down;
  };
  for (const token of [thrown, () => Promise.reject(down)]) {
    const error = await refusal(server.client(t, { token }).execute(order()));
    assert.equal(error.code, Code.Unauthenticated);
    assert.equal(error.message, "no token: Error: the issuer is down");
  }
  const none = await refusal(server.client(t, { token: "secret\nsecret" }).execute(order()));
  assert.equal(none.code, Code.Unauthenticated);
  assert.doesNotMatch(none.message, /secret/);
});

test("a call does not wait for a token longer than for an answer", async (t) => {
  const server = await Secured.open(t);
  const options = { token: () => new Promise<string>(() => {}), tls: server.tls };
  const orderlog = server.client(t, { ...options, answerWithinMs: 200, patienceMs: 100 });
  assert.equal((await refusal(orderlog.execute(order()))).code, Code.DeadlineExceeded);
  await follow(server.url, new Recorder(":memory:"), {
    ...options,
    signal: AbortSignal.timeout(200),
  });
});

test("a subscriber goes on when its token is replaced", async (t) => {
  const server = await Secured.open(t);
  const writer = server.client(t, { token: jwt(now() + 600, "command") });
  await writer.execute(order("a"));
  let token = await server.token("subscribe");
  const store = new Recorder(":memory:");
  const broken: OrderlogError[] = [];
  const onBroken = (error: OrderlogError) => broken.push(error);
  following(t, server.url, store, { token: () => token, tls: server.tls, onBroken });
  await until(() => store.seen().length === 1);
  server.revokeAll();
  // When the stream ends, and when the same token is shown again.
  await until(() => broken.length === 2);
  await writer.execute(order("b"));
  token = jwt(now() + 600, "query");
  await until(() => broken.at(-1)?.code === Code.PermissionDenied);
  assert.ok(broken.slice(0, -1).every((it) => it.code === Code.Unauthenticated));
  token = jwt(now() + 600, "subscribe");
  await until(() => store.seen().length === 2);
  assert.deepEqual(store.seen(), [1, 2]);
});

test("a subscriber with JWTs goes on from one to the next", async (t) => {
  const server = await Secured.open(t);
  const writer = server.client(t, { token: jwt(now() + 600, "command") });
  const store = new Recorder(":memory:");
  let asked = 0;
  const token = () => {
    asked += 1;
    // Over in two seconds: the server gives clocks 30 more.
    return jwt(now() - 28, "subscribe");
  };
  following(t, server.url, store, { token, tls: server.tls });
  for (let number = 1; asked < 4; number++) {
    await writer.execute(order(`o-${number}`));
    await until(() => store.seen().length === number);
  }
  assert.deepEqual(store.seen(), Array.from(store.seen(), (_, index) => index + 1));
});

test("a subscriber ends when the one token that it has is revoked", async (t) => {
  const server = await Secured.open(t);
  const options: FollowOptions = {
    token: await server.token("subscribe"),
    tls: server.tls,
    onCaughtUp: () => server.revokeAll(),
    signal: AbortSignal.timeout(30_000),
  };
  const ended = await refusal(follow(server.url, new Recorder(":memory:"), options));
  assert.equal(ended.code, Code.Unauthenticated);
});

test("a server of another authority is told nothing", async (t) => {
  const server = await Secured.open(t);
  const other = { ca: readFileSync(certificate(server.folder, "other").cert) };
  for (const tls of [other, undefined]) {
    const orderlog = server.client(t, { token: jwt(now() + 600, "command"), tls, patienceMs: 500 });
    const { message } = await refusal(orderlog.execute(order()));
    assert.match(message, /self-signed certificate|certificate signature/);
  }
});

test("a client may have a certificate too", async (t) => {
  const folder = (await Secured.open(t)).folder;
  const { cert, key } = certificate(folder, "client");
  const server = await Secured.open(t, "--tls-client-ca", cert);
  const token = jwt(now() + 600, "command");
  const tls = { ...server.tls, cert: readFileSync(cert), key: readFileSync(key) };
  await server.client(t, { token, tls }).execute(order());
  const without = server.client(t, { token, patienceMs: 500 });
  assert.notEqual((await refusal(without.execute(order()))).code, Code.PermissionDenied);
});

test("a token is not sent in clear to another machine", async () => {
  for (const url of [
    "http://orders.example:50051",
    "http://127.0.0.1:50051@orders.example",
    "http://127.0.0.1.orders.example",
    "http://0.0.0.0:50051",
    "http://[2001:db8::1]:50051",
  ]) {
    for (const token of ["secret", () => "secret"]) {
      const refused = (error: Error) => {
        assert.match(error.message, /a token is not sent in clear to .*: use https:/);
        assert.doesNotMatch(error.message, /secret/);
        return true;
      };
      assert.throws(() => new Orderlog(url, { token }), refused, url);
      await assert.rejects(follow(url, new Recorder(":memory:"), { token }), refused, url);
    }
  }
});

test("without TLS a token is shown on the same machine", async (t) => {
  const secured = await Secured.open(t);
  const token = await secured.token("command");
  const plain = await Server.open(t, "--tokens", `${secured.folder}/tokens`);
  assert.equal(await head(plain.client(t, { token })), 0n);
  assert.equal((await refusal(plain.client(t).execute(order()))).code, Code.Unauthenticated);
  for (const url of ["http://localhost:1", "http://[::1]:1", "http://127.1.2.3:1"]) {
    new Orderlog(url, { token }).close();
  }
});

test("authorities are for TLS", () => {
  assert.throws(() => new Orderlog("http://127.0.0.1:1", { tls: {} }), /TLS is for https:/);
});

test("a token in clear goes past the proxy of the environment", async (t) => {
  let connected = 0;
  const proxy = createServer((socket) => {
    connected += 1;
    socket.destroy();
  });
  proxy.listen(0, "127.0.0.1");
  await once(proxy, "listening");
  t.after(() => proxy.close());
  const { port } = proxy.address() as AddressInfo;
  for (const variable of ["http_proxy", "https_proxy", "grpc_proxy"]) {
    process.env[variable] = `http://127.0.0.1:${port}`;
    t.after(() => delete process.env[variable]);
  }
  // Nothing listens there.
  const orderlog = new Orderlog("http://127.0.0.1:1", { token: "secret", patienceMs: 1_000 });
  t.after(() => orderlog.close());
  assert.equal((await refusal(orderlog.execute(order()))).code, Code.Unavailable);
  assert.equal(connected, 0);
});
