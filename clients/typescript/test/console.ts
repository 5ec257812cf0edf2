/** What the tests of the console share: a server, a proxy in front of it, and the page's parts. */

import type { TestContext } from "node:test";
import type { Browser, Locator, Page } from "playwright-core";
import type { Orderlog } from "../src/client.js";
import { isMissing, openBrowser } from "./browser.js";
import { Gate } from "./gate.js";
import { Server } from "./server.js";

export const skip = { skip: isMissing };

export interface Setup {
  server: Server;
  orderlog: Orderlog;
  gate: Gate;
  browser: Browser;
}

export async function setUp(t: TestContext): Promise<Setup> {
  const server = await Server.open(t);
  const gate = await Gate.open(t, server.url);
  return { server, orderlog: server.client(t), gate, browser: await openBrowser(t) };
}

/** A promise, and the function that resolves it. */
export function signal(): [Promise<void>, () => void] {
  let resolve = () => {};
  const promise = new Promise<void>((done) => (resolve = done));
  return [promise, resolve];
}

export async function fillOrder(page: Page, customer: string): Promise<void> {
  await page.getByLabel("Customer id").fill(customer);
  await page.getByLabel("Product id").fill("tea");
  await page.getByLabel("Unit price").fill("12.50");
}

export async function ship(page: Page, address: string): Promise<void> {
  await page.getByRole("button", { name: "Ship", exact: true }).click();
  await page.getByLabel("Shipping address").fill(address);
  await page.getByLabel("Tracking number").fill("T-1");
  await page.getByRole("button", { name: "Ship order" }).click();
}

/** The mark of a command that is not confirmed. */
export function pendingMark(page: Page): Locator {
  return page.locator(".pending-mark");
}

/** The state that the view of an order shows. */
export function state(page: Page): Locator {
  return page.locator(".order .bar .status");
}

export function row(page: Page, text: string): Locator {
  return page.locator(".window .row", { hasText: text });
}
