/** The console's views in a real browser: text, keyboard, roles, streams and accessibility. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { test } from "node:test";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { RegisterCustomerRequestSchema } from "../src/gen/orders/v1/command_service_pb.js";
import { OrderStatus } from "../src/gen/orders/v1/order_pb.js";
import {
  SearchOrdersRequestSchema,
  SearchOrdersResponseSchema,
} from "../src/gen/orders/v1/query_service_pb.js";
import { openBrowser, openPage } from "./browser.js";
import { row, setUp, skip, state } from "./console.js";
import { head, order, shipping } from "./orders.js";
import { Secured } from "./secured.js";
import { until } from "./server.js";

/** The rules of axe: WCAG 2.2 at the levels A and AA, and more. */
const RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];

test("markup in names, addresses and ids shows as text", skip, async (t) => {
  const { gate, browser, orderlog } = await setUp(t);
  const markup = '<img src=x onerror="document.title=1"><b>bold</b>';
  await orderlog.execute(
    create(RegisterCustomerRequestSchema, { customerId: "ann", name: markup }),
  );
  await orderlog.execute(order("o-1"));
  const shipped = shipping("o-1");
  shipped.shippingAddress = markup;
  shipped.trackingNumber = "<script>document.title=1</script>";
  await orderlog.execute(shipped);
  const page = await openPage(t, browser, `${gate.url}/orders?q=bold`);
  await row(page, "<b>bold</b>").waitFor();
  await page.goto(`${gate.url}/orders/o-1`);
  await page.locator(".facts").getByText(markup).first().waitFor();
  await page.locator(".timeline").getByText("<script>", { exact: false }).waitFor();
  await page.goto(`${gate.url}/orders/%3Cimg%20src=x%20onerror=alert(1)%3E`);
  await page.getByRole("alert").waitFor();
  assert.equal(await page.locator("main img, main b, main script").count(), 0);
  assert.doesNotMatch(await page.title(), /1/);
});

test("Korean text is found and shown, and the address bar holds the search", skip, async (t) => {
  const { gate, browser, orderlog } = await setUp(t);
  const name = "김서연";
  await orderlog.execute(create(RegisterCustomerRequestSchema, { customerId: "ann", name }));
  await orderlog.execute(order("o-1"));
  await orderlog.execute(order("o-2", "bob"));
  const page = await openPage(t, browser, gate.url, { locale: "ko-KR" });
  assert.equal(await page.locator("html").getAttribute("lang"), "ko");
  await page.getByRole("heading", { name: "주문" }).waitFor();
  await row(page, "bob").waitFor();
  await page.getByLabel("주문 검색").pressSequentially("김서");
  await row(page, "bob").waitFor({ state: "detached" });
  await row(page, "o-1").locator("mark", { hasText: "김서" }).waitFor();
  assert.equal(new URL(page.url()).searchParams.get("q"), "김서");
  await page.reload();
  await row(page, "o-1").waitFor();
  assert.equal(await row(page, "bob").count(), 0);
});

test("the list marks the places that the server found", skip, async (t) => {
  const { gate, browser, orderlog } = await setUp(t);
  for (const [customerId, name] of [
    ["ann", "🎉 Groß & Söhne"],
    ["bob", "Bob"],
  ]) {
    await orderlog.execute(create(RegisterCustomerRequestSchema, { customerId, name }));
  }
  await orderlog.execute(order("0190a5b2-7c1e-7000-8000-abcdef012345"));
  await orderlog.execute(order("o-2", "bob"));
  const shipped = shipping("o-2");
  shipped.shippingAddress = "12 Harbour Street, Mu\u0308nster";
  await orderlog.execute(shipped);
  const page = await openPage(t, browser, `${gate.url}/orders`);
  for (const [query, found, marks] of [
    ["gross sohne", "Groß", "Groß|Söhne"],
    ["0190a5b27c1e70008000abcdef012345", "Groß", "0190|cdef012345"],
    ["harbor munst", "Bob", "Harbour|Mu\u0308nst"],
  ] as const) {
    await page.getByLabel("Search orders").fill(query);
    await row(page, found).locator("mark").first().waitFor();
    await until(async () => {
      const texts = await page.locator(".window mark").allTextContents();
      return texts.join("|") === marks;
    });
  }
});

test("the keyboard alone searches, opens and ships an order", skip, async (t) => {
  const { gate, browser, orderlog } = await setUp(t);
  await orderlog.execute(order("o-1"));
  await orderlog.execute(order("o-2"));
  const page = await openPage(t, browser, gate.url);
  await row(page, "o-1").waitFor();
  await page.keyboard.press("/");
  await page.keyboard.type("o-2");
  await row(page, "o-1").waitFor({ state: "detached" });
  await row(page, "o-2").waitFor();
  await page.keyboard.press("Tab");
  await page.locator("main").press("j");
  await page.locator(".row a:focus").waitFor();
  await page.keyboard.press("Enter");
  const open = page.getByRole("button", { name: "Ship", exact: true });
  await open.focus();
  await page.keyboard.press("Enter");
  await page.getByLabel("Shipping address").and(page.locator(":focus")).waitFor();
  await page.keyboard.type("1 Harbour Street");
  await page.keyboard.press("Tab");
  await page.keyboard.type("T-1");
  await page.keyboard.press("Enter");
  await state(page).getByText("Shipped").waitFor();
  await until(async () => (await head(orderlog)) === 3n);
});

test("a token is asked for, stays in the tab, and limits what is offered", skip, async (t) => {
  const secured = await Secured.open(t);
  const reader = await secured.token("query");
  const writer = await secured.token("query", "command", "subscribe", "operate");
  const browser = await openBrowser(t);
  const page = await openPage(t, browser, secured.url, { ignoreHTTPSErrors: true });
  await page.getByLabel("Token").fill("wrong");
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByText("The server does not take this token.").waitFor();
  await page.getByLabel("Token").fill(reader);
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByText("No orders yet").waitFor();
  await page.locator(".live[data-connection=live]").waitFor();
  assert.equal(await page.getByRole("button", { name: "New order" }).count(), 0);
  assert.equal(await page.getByRole("link", { name: "Events" }).count(), 0);
  await page.getByRole("link", { name: "Operations" }).click();
  await page.getByText("need the role operate", { exact: false }).waitFor();
  assert.ok(!page.url().includes(reader));
  const stored = String(await page.evaluate("JSON.stringify(localStorage)"));
  assert.ok(!stored.includes(reader));
  await page.reload();
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.getByLabel("Token").fill(writer);
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByRole("link", { name: "Events" }).waitFor();
  const fresh = await openPage(t, browser, secured.url, { ignoreHTTPSErrors: true });
  await fresh.getByLabel("Token").waitFor();
  secured.revokeAll();
  await page.getByText("The server does not take this token.").waitFor();
});

test("events are followed, paused and read from a position", skip, async (t) => {
  const { gate, browser, orderlog } = await setUp(t);
  await orderlog.execute(order("o-1"));
  const page = await openPage(t, browser, `${gate.url}/events`);
  await page.locator(".events").getByText("o-1").waitFor();
  const second = await page.context().newPage();
  await second.goto(`${gate.url}/events`);
  await second.locator(".events").getByText("o-1").waitFor();
  assert.equal(await second.getByText("another history", { exact: false }).count(), 0);
  await orderlog.execute(order("o-2"));
  await second.locator(".events").getByText("o-2").waitFor();
  await page.locator(".events").getByText("o-2").waitFor();
  await page.getByRole("button", { name: "Pause" }).click();
  await orderlog.execute(order("o-3"));
  await page.getByText("1 new events while paused").waitFor();
  assert.equal(await page.locator(".events").getByText("o-3").count(), 0);
  await page.getByRole("button", { name: "Resume" }).click();
  await page.locator(".events").getByText("o-3").waitFor();
  await page.getByPlaceholder("Position").fill("1");
  await page.getByRole("button", { name: "Jump to position" }).click();
  await page.locator(".events").getByText("o-1").waitFor();
  await page.getByRole("button", { name: "Event 1 as JSON" }).click();
  await page.locator("pre", { hasText: '"orderCreated"' }).waitFor();
});

test("an operator rebuilds and verifies with progress", skip, async (t) => {
  const { gate, browser, orderlog } = await setUp(t);
  await orderlog.execute(order("o-1"));
  const page = await openPage(t, browser, `${gate.url}/operations`);
  await page.getByRole("button", { name: "Verify" }).click();
  await page.getByText("Everything agrees with the log.").waitFor();
  await page.getByRole("button", { name: "Rebuild" }).click();
  await page.getByText("search 2: Done").waitFor();
  await page.locator("tr", { hasText: "documents" }).getByText("2", { exact: true }).waitFor();
});

test("six tabs share their streams", skip, async (t) => {
  const { gate, browser, orderlog } = await setUp(t);
  await orderlog.execute(order("o-1"));
  const first = await openPage(t, browser, gate.url);
  await row(first, "o-1").waitFor();
  const tabs = [first];
  for (let tab = 1; tab < 6; tab++) {
    const page = await first.context().newPage();
    await page.goto(gate.url);
    await row(page, "o-1").waitFor();
    tabs.push(page);
  }
  await orderlog.execute(order("o-2"));
  for (const page of tabs) await row(page, "o-2").waitFor();
  assert.equal(gate.calls.get("WatchOrders"), 1);
});

test("a long list scrolls to its end and keeps few orders", skip, async (t) => {
  const { gate, browser, orderlog } = await setUp(t);
  for (let made = 0; made < 1_400; made += 50) {
    const batch = Array.from({ length: 50 }, () => order());
    await Promise.all(batch.map((it) => orderlog.execute(it)));
  }
  const page = await openPage(t, browser, gate.url);
  await page.getByText("1,400 orders").waitFor();
  const rows = page.locator(".rows");
  await until(async () => {
    await rows.evaluate((it) => it.scrollTo(0, it.scrollHeight));
    return page.locator('[aria-rowindex="1401"]').isVisible();
  });
  await page.getByText("End of the list").waitFor();
  assert.ok((await page.locator(".window .row").count()) < 100);
  await rows.evaluate((it) => it.scrollTo(0, 0));
  await page.locator('[aria-rowindex="2"] a').waitFor();
});

test("a list of a million orders scrolls in bounded memory", skip, async (t) => {
  const { gate, browser } = await setUp(t);
  const page = await openPage(t, browser, "about:blank");
  let answered = 0;
  await page.route("**/SearchOrders", async (route) => {
    const asked = fromBinary(SearchOrdersRequestSchema, route.request().postDataBuffer()!.subarray(5));
    const start = Number(asked.pageToken);
    answered = Math.max(answered, start + asked.pageSize);
    const contentType = "application/grpc-web+proto";
    await route.fulfill({ contentType, body: answerOf(start, asked.pageSize) });
  });
  await page.goto(gate.url);
  await page.getByText("1,000,000 orders").waitFor();
  const rows = page.locator(".rows");
  while (answered < SCROLLED) {
    const height = await rows.evaluate((it) => {
      it.scrollTo(0, it.scrollHeight);
      return it.scrollHeight;
    });
    await until(async () => (await rows.evaluate((it) => it.scrollHeight)) > height);
  }
  assert.ok((await page.locator(".window .row").count()) < 100);
  const devtools = await page.context().newCDPSession(page);
  await devtools.send("HeapProfiler.collectGarbage");
  const { usedSize } = await devtools.send("Runtime.getHeapUsage");
  assert.ok(usedSize < 150 * MEGABYTE, `${usedSize} bytes`);
  await rows.evaluate((it) => it.scrollTo(0, 0));
  await row(page, "o-0-").waitFor();
});

/** The orders that a test scrolls past. All of them would take more than the heap may. */
const SCROLLED = 30_000;

const MEGABYTE = 1024 * 1024;

/** Returns the answer of gRPC-Web with a page of a million orders. */
function answerOf(start: number, length: number): Buffer {
  const unitPrice = { currencyCode: "EUR", units: 12n };
  const orders = Array.from({ length }, (_, index) => ({
    orderId: `o-${start + index}-`,
    customerId: `customer-${start + index}`,
    customerName: `Ann Müller ${start + index}`,
    status: OrderStatus.SHIPPED,
    items: Array.from({ length: 40 }, (_, item) => ({
      productId: `product-${start + index}-${item}`,
      productName: `Green Tea ${start + index} ${item}`,
      quantity: 1,
      unitPrice,
    })),
    totalAmount: unitPrice,
    shippingAddress: `${start + index} Harbour Street, Münster`,
    itemCount: 40,
    version: 1n,
    position: 1n,
  }));
  const nextPageToken = String(start + length);
  const answer = create(SearchOrdersResponseSchema, { orders, nextPageToken, totalSize: 1_000_000n });
  const trailers = Buffer.from("grpc-status: 0\r\n");
  return Buffer.concat([
    frame(0, toBinary(SearchOrdersResponseSchema, answer)),
    frame(0x80, trailers),
  ]);
}

function frame(flags: number, content: Uint8Array): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt8(flags);
  head.writeUInt32BE(content.length, 1);
  return Buffer.concat([head, content]);
}

test("axe finds nothing in any view, in either theme", skip, async (t) => {
  const { gate, browser, orderlog } = await setUp(t);
  await orderlog.execute(order("o-1"));
  await orderlog.execute(shipping("o-1"));
  await orderlog.execute(order("o-2"));
  const file = createRequire(import.meta.url).resolve("axe-core/axe.min.js");
  const axe = readFileSync(file, "utf8");
  const views = {
    "/orders?q=o": ".row.head",
    "/orders?q=nothing-like-it": ".empty",
    "/orders/o-1": ".timeline li",
    "/orders/o-2": "button.primary",
    "/orders/none": ".empty",
    "/new": "form",
    "/customers": "td",
    "/customers/ann": ".figures",
    "/products/tea": ".figures",
    "/overview": ".chart",
    "/events?from=1": ".events td",
    "/operations": "progress, section h2",
  };
  const problems: string[] = [];
  for (const colorScheme of ["light", "dark"] as const) {
    const page = await openPage(t, browser, gate.url, { colorScheme });
    for (const [path, shown] of Object.entries(views)) {
      await page.goto(gate.url + path);
      await page.locator(shown).first().waitFor();
      await page.evaluate(axe);
      const found = await page.evaluate(`axe.run({ runOnly: ${JSON.stringify(RULES)} })`);
      const { violations } = found as { violations: { id: string; nodes: { html: string }[] }[] };
      for (const { id, nodes } of violations) {
        problems.push(`${colorScheme} ${path} ${id}: ${nodes[0]?.html}`);
      }
    }
  }
  assert.deepEqual(problems, []);
});
