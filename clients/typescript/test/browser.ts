/** A real Chromium for tests, and pages in it. */

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import type { TestContext } from "node:test";
import { type Browser, type BrowserContextOptions, chromium, type Page } from "playwright-core";

const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";
const ARGUMENTS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

/** Whether tests are skipped, because there is no browser. */
export const isMissing = !existsSync(CHROMIUM) && process.env.REQUIRE_CHROMIUM !== "1";
if (isMissing) console.warn(`SKIPPED: no browser at ${CHROMIUM}; CHROMIUM names another`);

/** Starts a browser that lives as long as the test. */
export async function openBrowser(t: TestContext): Promise<Browser> {
  const browser = await chromium.launch({ executablePath: CHROMIUM, args: ARGUMENTS });
  t.after(() => browser.close());
  return browser;
}

/** Opens a page as somebody else would have it, which must not throw errors. */
export async function openPage(
  t: TestContext,
  browser: Browser,
  url: string,
  options: BrowserContextOptions = {},
): Promise<Page> {
  const context = await browser.newContext({ locale: "en-US", ...options });
  context.setDefaultTimeout(30_000);
  const page = await context.newPage();
  const failures: string[] = [];
  page.on("pageerror", (error) => failures.push(error.message));
  page.on("console", (line) => {
    if (line.text().includes("Content Security Policy")) failures.push(line.text());
  });
  t.after(async () => {
    await context.close();
    assert.deepEqual(failures, []);
  });
  await page.goto(url);
  return page;
}
