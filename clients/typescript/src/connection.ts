/** How a server is reached: with TLS or without, and what is shown to it. */

import { once } from "node:events";
import type { SecureClientSessionOptions } from "node:http2";
import { Code, ConnectError, type Interceptor } from "@connectrpc/connect";

/** A token, or what returns the one to show now, which every call asks. */
export type Token = string | (() => string | Promise<string>);

export interface ConnectionOptions {
  /** Is shown with each call; without TLS only to a server on this machine. */
  token?: Token;
  /** Authorities, if not those that Node knows, and a certificate to show, for `https://`. */
  tls?: Pick<SecureClientSessionOptions, "ca" | "cert" | "key">;
}

/** Throws when what is said of a connection would not be safe. */
export function check(baseUrl: string, { token, tls }: ConnectionOptions): void {
  const { protocol, hostname, host } = new URL(baseUrl);
  if (protocol === "https:") return;
  if (tls) throw new TypeError(`TLS is for https://, not for ${protocol}//${host}`);
  if (token !== undefined && !LOOPBACK.test(hostname)) {
    throw new TypeError(`a token is not sent in clear to ${host}: use https://`);
  }
}

/** As a URL has them: of IP addresses there is one spelling. */
const LOOPBACK = /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])$/;

/** Shows the token with each call. */
export function showing(token: Token): Interceptor {
  return (next) => async (request) => {
    request.header.set("authorization", await authorization(token, request.signal));
    return next(request);
  };
}

async function authorization(token: Token, signal: AbortSignal): Promise<string> {
  try {
    if (typeof token === "function") {
      const asked = token();
      // The call ends in time also when this does not.
      const ended = once(signal, "abort").then(() => Promise.reject(signal.reason));
      token = await Promise.race([asked, ended]);
    }
    token = token.trim();
    // What a header cannot hold would be told in the error.
    if (!/^[ -~]*$/.test(token)) throw new TypeError("it has characters that no token has");
    return `Bearer ${token}`;
  } catch (cause) {
    throw new ConnectError(`no token: ${cause}`, Code.Unauthenticated, undefined, undefined, cause);
  }
}
