/** A server that ends an idle connection, as each does when it stops. */

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type ServerHttp2Session } from "node:http2";
import type { AddressInfo } from "node:net";
import { test } from "node:test";
import { setImmediate as tick } from "node:timers/promises";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import { Orderlog } from "../src/client.js";
import { CommandService } from "../src/gen/orders/v1/command_service_pb.js";
import { order } from "./orders.js";

test("a connection that the server ends while it is idle does not end the process", async (t) => {
  const routes = connectNodeAdapter({
    routes: (router) => router.service(CommandService, { createOrder: () => ({}) }),
  });
  const sessions: ServerHttp2Session[] = [];
  const server = createServer(routes).listen(0, "127.0.0.1");
  server.on("session", (session) => sessions.push(session));
  await once(server, "listening");
  t.after(() => server.close());
  const { port } = server.address() as AddressInfo;
  for (let round = 0; round < 3; round++) {
    const clients = Array.from({ length: 40 }, () => new Orderlog(`http://127.0.0.1:${port}`));
    await Promise.all(clients.map((client) => client.execute(order())));
    await tick();
    for (const session of sessions.splice(0)) session.goaway();
    // One of them is closed after the frame and before the end of its socket.
    for (const client of clients) {
      client.close();
      await tick();
    }
  }
  assert.equal(sessions.length, 0);
});
