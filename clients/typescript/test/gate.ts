/** An HTTP proxy in front of a server, which delays, cuts or loses the answers of one method. */

import { once } from "node:events";
import {
  createServer,
  type IncomingMessage,
  request as send,
  type Server,
  type ServerResponse,
} from "node:http";
import type { AddressInfo } from "node:net";
import type { TestContext } from "node:test";

/**
 * `cut`: the server does not get the call. `lose`: it does, and the browser gets no answer. A promise
 * delays the answer until it resolves.
 */
export type Fault = "cut" | "lose" | Promise<void>;

export class Gate {
  readonly #listener: Server;
  readonly #target: string;
  readonly #faults = new Map<string, Fault[]>();
  /** The number of calls of each method. */
  readonly calls = new Map<string, number>();

  private constructor(target: string) {
    this.#target = target;
    this.#listener = createServer((request, response) => {
      this.#forward(request, response).catch(() => response.destroy());
    });
  }

  /** Opens one that lives as long as the test. */
  static async open(test: TestContext, target: string): Promise<Gate> {
    const gate = new Gate(target);
    gate.#listener.listen(0, "127.0.0.1");
    await once(gate.#listener, "listening");
    test.after(() => {
      gate.#listener.close();
      gate.#listener.closeAllConnections();
    });
    return gate;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#listener.address() as AddressInfo).port}`;
  }

  /** Applies the faults to the next calls of a method, one each. */
  next(method: string, ...faults: Fault[]): void {
    this.#faults.set(method, faults);
  }

  async #forward(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const method = request.url?.split("/").pop() ?? "";
    this.calls.set(method, (this.calls.get(method) ?? 0) + 1);
    const fault = request.method === "POST" ? this.#faults.get(method)?.shift() : undefined;
    if (fault === "cut") return void response.destroy();
    const target = new URL(request.url ?? "/", this.#target);
    const sent = send(target, { method: request.method, headers: request.headers });
    request.pipe(sent);
    response.on("close", () => sent.destroy());
    const [answer] = (await once(sent, "response")) as [IncomingMessage];
    answer.on("error", () => response.destroy());
    answer.on("aborted", () => response.destroy());
    if (fault === "lose") {
      answer.resume();
      await once(answer, "end");
      return void response.destroy();
    }
    await fault;
    response.writeHead(answer.statusCode ?? 502, answer.headers);
    answer.pipe(response);
  }
}
