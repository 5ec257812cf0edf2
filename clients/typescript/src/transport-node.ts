/** Connects to a server from Node, by gRPC. */

import type { ClientHttp2Session, ClientHttp2Stream } from "node:http2";
import type { Interceptor, Transport } from "@connectrpc/connect";
import { createGrpcTransport, Http2SessionManager } from "@connectrpc/connect-node";
import type { ConnectionOptions } from "./connection.js";

/** A transport, which `close` ends with its calls. */
export interface Connection {
  transport: Transport;
  close(): void;
}

/** Prepares a connection, which the first call opens. */
export function open(
  baseUrl: string,
  { tls, keepAliveMs }: ConnectionOptions & { keepAliveMs: number },
  interceptors: Interceptor[],
): Connection {
  const pings = { pingIntervalMs: keepAliveMs, pingTimeoutMs: keepAliveMs / 2 };
  const sessionManager = new Sessions(baseUrl, pings, tls);
  const transport = createGrpcTransport({ baseUrl, sessionManager, interceptors });
  return { transport, close: () => sessionManager.abort() };
}

/**
 * Listens to the errors of sessions that the manager has left. Without a listener, the error after
 * a GOAWAY on an idle connection ends the process (connect-es issue 1768).
 */
class Sessions extends Http2SessionManager {
  readonly #known = new WeakSet<ClientHttp2Session>();

  override async request(
    ...call: Parameters<Http2SessionManager["request"]>
  ): Promise<ClientHttp2Stream> {
    const stream = await super.request(...call);
    const session = stream.session as ClientHttp2Session | undefined;
    if (session && !this.#known.has(session)) {
      this.#known.add(session);
      session.on("error", () => {});
    }
    return stream;
  }
}
