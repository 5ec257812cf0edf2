/** The example, as the README runs it. */

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { resolve } from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";
import { folder, Server } from "./server.js";

const run = promisify(execFile);

test("g12 warehouse starts over when the log went back", async (t) => {
  const server = await Server.open(t);
  await server.kill();
  const saved = server.saveLog();
  await server.start();
  const cwd = folder(t);
  const example = async () => {
    const { stdout } = await run(process.execPath, [resolve("dist/examples/warehouse.js"), server.url], {
      cwd,
    });
    return stdout;
  };
  const count = (told: string) => told.split("to pack: ").length - 1;
  for (const number of [1, 2]) {
    const told = await example();
    assert.match(told, /Ann Müller ordered for 25 EUR/);
    assert.doesNotMatch(told, /starting over/);
    assert.equal(count(told), number, "it goes on where it was");
  }
  await server.kill();
  server.putBackLog(saved);
  await server.start();
  const told = await example();
  assert.match(told, /starting over: the log went back/);
  assert.equal(count(told), 1);
});
