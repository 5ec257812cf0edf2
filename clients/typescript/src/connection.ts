/** Checks the options of a connection, and sends its token. */

import type { SecureClientSessionOptions } from "node:http2";
import { Code, ConnectError, type Interceptor } from "@connectrpc/connect";

/** A token, or a function that returns the current token for each call. */
export type Token = string | (() => string | Promise<string>);

export interface ConnectionOptions {
  /** The token of each call. Without TLS, the server must be on this machine. */
  token?: Token;
  /** The authorities to trust instead of Node's, and a client certificate, for `https://`. */
  tls?: Pick<SecureClientSessionOptions, "ca" | "cert" | "key">;
}

/** Throws if the URL has no TLS but `tls` is set, or a token would leave this machine. */
export function check(baseUrl: string, { token, tls }: ConnectionOptions): void {
  const { protocol, hostname, host } = new URL(baseUrl);
  if (protocol === "https:") return;
  if (tls) throw new TypeError(`TLS is for https://, not for ${protocol}//${host}`);
  if (token !== undefined && !LOOPBACK.test(hostname)) {
    throw new TypeError(`a token is not sent in clear to ${host}: use https://`);
  }
}

/** Matches loopback hosts. `URL` normalises each IP address to one spelling. */
const LOOPBACK = /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])$/;

/** Makes an interceptor that sends the token with each call. */
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
      // The call ends at its deadline even if the token's function does not return.
      const ended = new Promise<never>((_, reject) => {
        signal.addEventListener("abort", () => reject(signal.reason));
      });
      token = await Promise.race([asked, ended]);
    }
    token = token.trim();
    // The error about an invalid header would contain the token.
    if (!/^[ -~]*$/.test(token)) throw new TypeError("it has characters that no token has");
    return `Bearer ${token}`;
  } catch (cause) {
    throw new ConnectError(`no token: ${cause}`, Code.Unauthenticated, undefined, undefined, cause);
  }
}
