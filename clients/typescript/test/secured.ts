/** A real server with TLS, for who has a token or a JWT. */

import { execFileSync } from "node:child_process";
import { generateKeyPairSync, sign } from "node:crypto";
import { mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import type { Options } from "../src/client.js";
import { Orderlog } from "../src/client.js";
import type { ConnectionOptions } from "../src/connection.js";
import { head } from "./orders.js";
import { PROGRAM, Server, until } from "./server.js";

const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
const issued = { iss: "https://login.example", aud: "orderlog" };

/** A JWT that is over at this time, in seconds since 1970. */
export function jwt(exp: number, ...roles: string[]): string {
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const signed = `${part({ alg: "ES256" })}.${part({ ...issued, exp, roles })}`;
  const key = { key: privateKey, dsaEncoding: "ieee-p1363" } as const;
  return `${signed}.${sign("sha256", Buffer.from(signed), key).toString("base64url")}`;
}

/** A certificate of this machine, which is its own authority, and its key. */
export function certificate(folder: string, name: string) {
  const [cert, key] = [join(folder, `${name}.crt`), join(folder, `${name}.key`)];
  const command = "req -x509 -nodes -newkey ec -pkeyopt ec_paramgen_curve:prime256v1";
  const of = ["-subj", "/CN=orderlog", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"];
  // As an authority, it could not be a client's certificate too.
  const extensions = [...of, "-addext", "basicConstraints=critical,CA:FALSE"];
  const files = ["-keyout", key, "-out", cert];
  execFileSync("openssl", [...command.split(" "), ...extensions, ...files], { stdio: "ignore" });
  return { cert, key };
}

export class Secured {
  private constructor(
    readonly folder: string,
    readonly plain: Server,
    readonly tls: ConnectionOptions["tls"],
  ) {}

  /** Starts one that lives as long as the test. */
  static async open(test: TestContext, ...more: string[]): Promise<Secured> {
    const folder = mkdtempSync(join(tmpdir(), "orderlog-"));
    test.after(() => rmSync(folder, { recursive: true, force: true }));
    const { cert, key } = certificate(folder, "server");
    const [tokens, keys] = [join(folder, "tokens"), join(folder, "keys")];
    writeFileSync(tokens, "");
    writeFileSync(keys, JSON.stringify({ keys: [publicKey.export({ format: "jwk" })] }));
    const tls = ["--tls-cert", cert, "--tls-key", key, "--tokens", tokens];
    const jwts = ["--jwt-keys", keys, "--jwt-issuer", issued.iss, "--jwt-audience", issued.aud];
    const server = await Server.open(test, ...tls, ...jwts, ...more);
    return new Secured(folder, server, { ca: readFileSync(cert) });
  }

  get url(): string {
    return this.plain.url.replace("http", "https");
  }

  /** A client that lives as long as the test. */
  client(test: TestContext, options: Options): Orderlog {
    const orderlog = new Orderlog(this.url, { tls: this.tls, ...options });
    test.after(() => orderlog.close());
    return orderlog;
  }

  /** Makes a token, and waits until it counts. */
  async token(...roles: string[]): Promise<string> {
    const named = roles.flatMap((role) => ["--role", role]);
    const command = ["token", "new", ...named, "--tokens", join(this.folder, "tokens")];
    const token = execFileSync(PROGRAM, command, { encoding: "utf8" });
    using orderlog = new Orderlog(this.url, { token, tls: this.tls });
    await until(() => head(orderlog).then(() => true, () => false));
    return token;
  }

  revokeAll(): void {
    const tokens = join(this.folder, "tokens");
    writeFileSync(`${tokens}.new`, "");
    renameSync(`${tokens}.new`, tokens);
  }
}
