/** A real server that can be killed, behind a network that can be cut. */

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import {
  type AddressInfo,
  connect,
  createServer,
  type Server as Listener,
  type Socket,
} from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import type { TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Orderlog, type Options } from "../src/client.js";

export const PROGRAM = process.env.ORDERLOG ?? resolve("../../target/debug/orderlog");

/** orderlog on a data folder of its own, at one address across restarts. */
export class Server {
  readonly folder = mkdtempSync(join(tmpdir(), "orderlog-"));
  readonly #arguments: string[];
  readonly #listener: Listener;
  readonly #connections = new Map<Socket, Socket>();
  #process?: ChildProcess;
  #port = 0;

  private constructor(more: string[]) {
    this.#arguments = ["serve", "--listen", "127.0.0.1:0", "--data-dir", this.folder, ...more];
    this.#listener = createServer((client) => this.#forward(client));
  }

  /** Starts one that lives as long as the test. */
  static async open(test: TestContext, ...more: string[]): Promise<Server> {
    const server = new Server(more);
    test.after(() => server.#close());
    server.#listener.listen(0, "127.0.0.1");
    await once(server.#listener, "listening");
    await server.start();
    return server;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#listener.address() as AddressInfo).port}`;
  }

  /** A client that lives as long as the test. */
  client(test: TestContext, options?: Options): Orderlog {
    const orderlog = new Orderlog(this.url, options);
    test.after(() => orderlog.close());
    return orderlog;
  }

  async start(): Promise<void> {
    const env = Object.fromEntries(
      Object.entries(process.env).filter(([name]) => !name.startsWith("ORDERLOG")),
    );
    const stdio: ["ignore", "ignore", "pipe"] = ["ignore", "ignore", "pipe"];
    const child = spawn(PROGRAM, this.#arguments, { env, stdio, cwd: this.folder });
    this.#process = child;
    const told: string[] = [];
    this.#port = await new Promise<number>((found, failed) => {
      child.once("error", failed);
      child.once("exit", () => failed(new Error(`it ended:\n${told.join("\n")}`)));
      // Read on afterwards, so that the pipe never fills.
      createInterface(child.stderr).on("line", (line) => {
        const port = /serving address=\S+:(\d+)/.exec(line)?.[1];
        if (port) found(Number(port));
        if (told.length < 100) told.push(line);
      });
    });
  }

  async kill(): Promise<void> {
    const child = this.#process;
    if (!child?.pid || child.exitCode !== null || child.signalCode !== null) return;
    child.kill("SIGKILL");
    await once(child, "exit");
  }

  /** Copies the log while the server is killed, and returns the folder of the copy. */
  saveLog(): string {
    const saved = join(this.folder, "saved");
    mkdirSync(saved);
    copyLog(this.folder, saved);
    return saved;
  }

  /** Replaces the log by a saved one while the server is killed. */
  putBackLog(saved: string): void {
    for (const file of logFiles(this.folder)) rmSync(join(this.folder, file));
    copyLog(saved, this.folder);
  }

  /** Lets no answer through any more on the connections there are, without closing them. */
  holdAnswers(): void {
    for (const [client, server] of this.#connections) {
      server.unpipe(client);
      server.pause();
    }
  }

  cut(): void {
    for (const [client, server] of this.#connections) {
      client.destroy();
      server.destroy();
    }
  }

  #forward(client: Socket): void {
    const server = connect(this.#port, "127.0.0.1");
    this.#connections.set(client, server);
    client.pipe(server).pipe(client);
    for (const socket of [client, server]) {
      socket.on("error", () => {});
      socket.on("close", () => {
        client.destroy();
        server.destroy();
        this.#connections.delete(client);
      });
    }
  }

  async #close(): Promise<void> {
    this.cut();
    this.#listener.close();
    await this.kill();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** Makes a folder that exists as long as the test. */
export function folder(test: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), "orderlog-"));
  test.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

function logFiles(folder: string): string[] {
  return readdirSync(folder).filter((file) => file.startsWith("events.db"));
}

function copyLog(from: string, to: string): void {
  for (const file of logFiles(from)) copyFileSync(join(from, file), join(to, file));
}

/** Waits until it is so. */
export async function until(isSo: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = performance.now() + 60_000;
  while (!(await isSo())) {
    if (performance.now() > deadline) throw new Error(`not so in time: ${isSo}`);
    await sleep(5);
  }
}
