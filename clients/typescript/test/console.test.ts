/**
 * The console's commands in a real browser, in front of a real server that is cut, killed and
 * restarted.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { fromBinary } from "@bufbuild/protobuf";
import { GetOrderRequestSchema } from "../src/gen/orders/v1/query_service_pb.js";
import { openPage } from "./browser.js";
import { fillOrder, pendingMark, row, setUp, ship, signal, skip, state } from "./console.js";
import { head, order, shipping } from "./orders.js";
import { until } from "./server.js";

test("an order shows at once as pending, and is confirmed by a read", skip, async (t) => {
  const { gate, browser, orderlog } = await setUp(t);
  const page = await openPage(t, browser, gate.url);
  await page.getByRole("button", { name: "New order" }).click();
  await fillOrder(page, "ann");
  const [answered, answer] = signal();
  gate.next("CreateOrder", answered);
  await page.getByRole("button", { name: "Create order" }).click();
  await state(page).getByText("Created").waitFor();
  assert.equal(await pendingMark(page).count(), 1);
  await page.locator("tfoot").getByText("12.50 EUR").waitFor();
  // The list shows it as pending, too.
  await page.getByRole("link", { name: "Orders", exact: true }).first().click();
  await page.locator(".row", { hasText: "ann" }).first().waitFor();
  await pendingMark(page).first().waitFor();
  answer();
  await pendingMark(page).first().waitFor({ state: "detached" });
  await row(page, "ann").waitFor();
  assert.equal(await head(orderlog), 1n);
});

test("a lost answer and its retry make one order", skip, async (t) => {
  const { gate, browser, orderlog } = await setUp(t);
  const page = await openPage(t, browser, `${gate.url}/new`);
  await fillOrder(page, "ann");
  gate.next("CreateOrder", "lose", "cut", "lose");
  await page.getByRole("button", { name: "Create order" }).click();
  await page.getByText("No answer yet, trying again").waitFor();
  await pendingMark(page).first().waitFor({ state: "detached" });
  await page.getByText("Version 1", { exact: false }).first().waitFor();
  assert.equal(gate.calls.get("CreateOrder"), 4);
  assert.equal(await head(orderlog), 1n);
});

test("a refused order rolls back with the reasons at its fields", skip, async (t) => {
  const { gate, browser, orderlog } = await setUp(t);
  const page = await openPage(t, browser, `${gate.url}/new`);
  await fillOrder(page, "no good");
  await page.getByRole("button", { name: "Create order" }).click();
  const customer = page.getByLabel("Customer id");
  await until(async () => (await customer.getAttribute("aria-invalid")) === "true");
  const described = (await customer.getAttribute("aria-describedby")) ?? "";
  const error = described.split(" ").find((id) => id.endsWith("-error"));
  assert.match(await page.locator(`[id="${error}"]`).innerText(), /A-Za-z0-9/);
  assert.equal(await page.getByLabel("Unit price").inputValue(), "12.50");
  assert.equal(await head(orderlog), 0n);
  await customer.fill("ann");
  await page.getByRole("button", { name: "Create order" }).click();
  await state(page).getByText("Created").waitFor();
  await pendingMark(page).first().waitFor({ state: "detached" });
  assert.equal(await head(orderlog), 1n);
});

test("a command on an older version offers the newer state", skip, async (t) => {
  const { gate, browser, orderlog } = await setUp(t);
  await orderlog.execute(order("o-1"));
  const page = await openPage(t, browser, `${gate.url}/orders/o-1`);
  await page.getByRole("button", { name: "Cancel order" }).click();
  await page.getByLabel("Reason").fill("a mistake");
  // This page does not hear of the change: its stream is not open yet, or slow.
  const [sent, send] = signal();
  await page.route("**/CancelOrder", async (route) => {
    await sent;
    await route.continue();
  });
  // The read model may not have the change yet, so the page has to wait for its position.
  const waitedFor: bigint[] = [];
  page.on("request", (request) => {
    const body = request.url().endsWith("/GetOrder") && request.postDataBuffer()?.subarray(5);
    if (body) waitedFor.push(fromBinary(GetOrderRequestSchema, body).minPosition);
  });
  await page.getByRole("button", { name: "Cancel order" }).click();
  await state(page).getByText("Cancelled").waitFor();
  await orderlog.execute(shipping("o-1"));
  send();
  await page.getByText("It is now at version 2: Shipped.", { exact: false }).waitFor();
  assert.ok(waitedFor.includes(2n));
  await state(page).getByText("Shipped").waitFor();
  await page.getByRole("button", { name: "Continue with the newer state" }).click();
  await page.getByRole("button", { name: "Mark as delivered" }).click();
  await state(page).getByText("Delivered").waitFor();
  await until(async () => (await head(orderlog)) === 3n);
});

test("two browsers see each other's changes, and a rename in every list", skip, async (t) => {
  const { gate, browser, orderlog } = await setUp(t);
  await orderlog.execute(order("o-1"));
  const one = await openPage(t, browser, gate.url);
  const other = await openPage(t, browser, `${gate.url}/orders/o-1`);
  await row(one, "o-1").getByText("Created").waitFor();
  await ship(other, "1 Harbour Street");
  await row(one, "o-1").getByText("Shipped").waitFor();
  await one.goto(`${gate.url}/customers/ann`);
  await one.getByRole("button", { name: "Give a name" }).click();
  await one.getByLabel("Name").fill("Ann Müller");
  await one.getByRole("button", { name: "Save name" }).click();
  await other.getByRole("link", { name: "Ann Müller" }).waitFor();
  await one.getByRole("heading", { name: "Ann Müller" }).waitFor();
  await until(async () => (await pendingMark(one).count()) === 0);
});

test("after a restart of the server the list is right again by itself", skip, async (t) => {
  const { server, gate, browser, orderlog } = await setUp(t);
  await orderlog.execute(order("o-1"));
  const page = await openPage(t, browser, gate.url);
  await row(page, "o-1").waitFor();
  await server.kill();
  await page.locator(".note.offline").waitFor();
  await row(page, "o-1").waitFor();
  await server.start();
  await orderlog.execute(order("o-2"));
  await row(page, "o-2").waitFor();
  await page.locator(".live[data-connection=live]").waitFor();
  assert.equal(await page.locator(".note.offline").count(), 0);
});

test("offline, nothing is sent and nothing is lost", skip, async (t) => {
  const { gate, browser, orderlog } = await setUp(t);
  await orderlog.execute(order("o-1"));
  const page = await openPage(t, browser, `${gate.url}/orders/o-1`);
  await page.getByRole("button", { name: "Ship", exact: true }).waitFor();
  await page.context().setOffline(true);
  await page.locator(".note.offline", { hasText: "no network" }).waitFor();
  await ship(page, "1 Harbour Street");
  await page.getByText("Not sent: there is no connection.", { exact: false }).waitFor();
  await state(page).getByText("Created").waitFor();
  assert.equal(await page.getByLabel("Shipping address").inputValue(), "1 Harbour Street");
  assert.equal(gate.calls.get("ShipOrder"), undefined);
  await page.context().setOffline(false);
  await page.locator(".live[data-connection=live]").waitFor();
  await page.getByRole("button", { name: "Try again" }).click();
  await state(page).getByText("Shipped").waitFor();
  await until(async () => (await head(orderlog)) === 2n);
});
