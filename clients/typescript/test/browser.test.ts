/** The client in a real browser, over gRPC-Web. */

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { test, type TestContext } from "node:test";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import type { Page as Tab } from "playwright-core";
import { isMissing, openBrowser } from "./browser.js";
import { head, order, shipping } from "./orders.js";
import type { Page } from "./page.js";
import { Server, until } from "./server.js";

/** Serves a page with the client in it, and returns its origin. */
async function serve(t: TestContext, script: string): Promise<string> {
  const server = createServer((request, response) => {
    const isScript = request.url === "/page.js";
    response.setHeader("content-type", isScript ? "text/javascript" : "text/html");
    response.end(isScript ? script : '<!doctype html><script src="/page.js"></script>');
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => server.close());
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

// In the page, where `page` is a global.
declare const page: Page;

function createOrder(tab: Tab, url: string, orderId: string, customerId = "ann") {
  const args = [url, orderId, customerId] as const;
  return tab.evaluate((given) => page.createOrder(...given), args);
}

test("a page of an allowed origin calls, and no other", { skip: isMissing }, async (t) => {
  const entry = fileURLToPath(new URL("page.js", import.meta.url));
  const bundle = await build({ entryPoints: [entry], bundle: true, write: false });
  const script = bundle.outputFiles[0]!.text;
  const origin = await serve(t, script);
  const foreignOrigin = await serve(t, script);
  const server = await Server.open(t, "--cors-origins", origin);
  const orderlog = server.client(t);
  const browser = await openBrowser(t);
  const tab = await browser.newPage();
  await tab.goto(origin);

  await t.test("a call", async () => {
    assert.deepEqual(await createOrder(tab, server.url, "a"), { position: "1" });
  });

  await t.test("an error with its details", async () => {
    const answer = await createOrder(tab, server.url, "no good", "");
    assert.equal(answer.reason, "INVALID_FIELD");
    assert.deepEqual(Object.keys(answer.violations ?? {}).sort(), ["customer_id", "order_id"]);
  });

  await t.test("a stream", async () => {
    const received = () => tab.evaluate(() => page.received);
    await tab.evaluate((url) => void page.subscribe(url), server.url);
    await until(async () => (await received()).length === 1);
    await orderlog.execute(order("b"));
    await until(async () => (await received()).length === 2);
    server.cut();
    await orderlog.execute(order("c"));
    await until(async () => (await received()).length === 3);
    assert.deepEqual(await received(), ["a", "b", "c"]);
  });

  await t.test("orders as they change", async () => {
    const watched = () => tab.evaluate(() => page.watched);
    await tab.evaluate((url) => void page.watch(url), server.url);
    await until(async () => (await watched()).length === 3);
    await orderlog.execute(shipping("a"));
    await until(async () => (await watched()).length === 4);
    assert.deepEqual(await watched(), ["a", "b", "c", "a"]);
  });

  await t.test("a page of another origin", async () => {
    const foreign = await browser.newPage();
    await foreign.goto(foreignOrigin);
    const answer = await createOrder(foreign, server.url, "d");
    assert.equal(answer.position, undefined);
    assert.equal(answer.reason, "", "it is the browser that lets no answer through");
    assert.equal(await head(orderlog), 4n);
  });
});
