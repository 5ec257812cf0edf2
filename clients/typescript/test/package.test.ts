/** Packs the client, and installs it into a project elsewhere, which runs the order board. */

import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { copyFileSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { test } from "node:test";
import { promisify } from "node:util";
import { build } from "esbuild";
import { folder, Server } from "./server.js";

const run = promisify(execFile);

const manifest = JSON.parse(readFileSync("package.json", "utf8"));

const PROJECT = { private: true, type: "module" };
const COMPILE = ["--module", "nodenext", "--target", "es2022", "--strict"];
const PAGE = 'import { Orderlog } from "orderlog-client"; new Orderlog(location.origin);';

test("a project elsewhere installs the client and runs the order board", async (t) => {
  const cwd = folder(t);
  // `npm test` has built it.
  const pack = ["pack", "--ignore-scripts", "--silent", "--pack-destination", cwd];
  const tarball = (await run("npm", pack)).stdout.trim();
  writeFileSync(join(cwd, "package.json"), JSON.stringify(PROJECT));
  const others = ["@types/better-sqlite3", "@types/node"];
  const versions = others.map((name) => `${name}@${manifest.devDependencies[name]}`);
  const install = ["install", "--prefer-offline", "--no-audit", "--no-fund"];
  await run("npm", [...install, `./${tarball}`, ...versions], { cwd });
  // Installing it would compile SQLite once more where no binary can be downloaded.
  symlinkSync(resolve("node_modules/better-sqlite3"), join(cwd, "node_modules/better-sqlite3"));
  copyFileSync("examples/board.ts", join(cwd, "board.ts"));
  await run(process.execPath, [resolve("node_modules/typescript/bin/tsc"), ...COMPILE, "board.ts"], {
    cwd,
  });

  const server = await Server.open(t);
  for (const _ of [1, 2]) {
    const board = spawn(process.execPath, ["board.js", server.url], {
      cwd,
      stdio: ["ignore", "pipe", "inherit"],
    });
    t.after(() => board.kill("SIGKILL"));
    const lines: string[] = [];
    for await (const line of createInterface(board.stdout)) {
      if (lines.push(line) === 2) break;
    }
    board.kill("SIGINT");
    const [code] = await once(board, "exit");
    const [created, shipped] = lines;
    assert.match(created!, / created: 25 EUR$/);
    assert.equal(shipped, created!.replace("created: 25 EUR", "shipped: T-4711"));
    assert.equal(code, 0);
  }

  // Fails on a module of Node.
  await build({ stdin: { contents: PAGE, resolveDir: cwd }, bundle: true, write: false });
});

test("the version is the contract's", () => {
  const contract = readFileSync("../../Cargo.toml", "utf8");
  const value = (name: string) => new RegExp(`^${name} = "(.*)"$`, "m").exec(contract)?.[1];
  assert.deepEqual([manifest.version, manifest.license], [value("version"), value("license")]);
});
