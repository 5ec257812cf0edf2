/** Connects to a server from a page, by gRPC-Web. The package maps `#transport` to this file there. */

import type { Interceptor } from "@connectrpc/connect";
import { createGrpcWebTransport } from "@connectrpc/connect-web";
import type { ConnectionOptions } from "./connection.js";
import type { Connection } from "./transport-node.js";

/** Prepares a connection. The browser opens it, and trusts its own authorities. */
export function open(
  baseUrl: string,
  { tls }: ConnectionOptions,
  interceptors: Interceptor[],
): Connection {
  if (tls) throw new TypeError("a page has the authorities of its browser");
  const closing = new AbortController();
  const transport = createGrpcWebTransport({
    baseUrl,
    interceptors,
    fetch(input, init) {
      const signals = [closing.signal, ...(init?.signal ? [init.signal] : [])];
      return fetch(input, { ...init, signal: AbortSignal.any(signals) });
    },
  });
  return { transport, close: () => closing.abort() };
}
