/** The token of this tab, and its permissions on the server. */

import { Store } from "./store.js";

export type Role = "command" | "query" | "subscribe" | "operate";
type Service = "Command" | "Event" | "Query" | "Projection";

export type Session =
  | { state: "starting" }
  /** The server does not answer. The session asks again until it does. */
  | { state: "unreachable" }
  /** The server needs a token. `isRefused`: it does not take the present one. */
  | { state: "signed-out"; isRefused: boolean }
  | { state: "signed-in"; hasToken: boolean; roles: Role[]; services: string[] };

const KEY = "orderlog-token";
const RETRY_MS = 2_000;

export const session = new Store<Session>({ state: "starting" });
let retry: ReturnType<typeof setTimeout> | undefined;

/** Returns the token. Only this tab has it, until the tab closes. */
export function token(): string {
  return sessionStorage.getItem(KEY) ?? "";
}

export function authorization(): Record<string, string> {
  return token() ? { authorization: `Bearer ${token()}` } : {};
}

/** Asks the server for the permissions of the present token. */
export async function start(): Promise<void> {
  clearTimeout(retry);
  try {
    const answer = await fetch("/access.json", { headers: authorization() });
    if (answer.status === 401) return signOut(token() !== "");
    if (!answer.ok) throw new Error(answer.statusText);
    const { credentials, roles, services } = await answer.json();
    session.set({ state: "signed-in", hasToken: credentials, roles, services });
  } catch {
    if (session.get().state !== "signed-in") session.set({ state: "unreachable" });
    retry = setTimeout(start, RETRY_MS);
  }
}

export async function signIn(given: string): Promise<void> {
  sessionStorage.setItem(KEY, given.trim());
  await start();
}

export function signOut(isRefused = false): void {
  sessionStorage.removeItem(KEY);
  session.set({ state: "signed-out", isRefused });
}

/** Returns whether the token has one of the roles, and the node serves the service. */
export function can(of: Session, service: Service, ...roles: Role[]): boolean {
  return (
    of.state === "signed-in" &&
    of.services.includes(`orders.v1.${service}Service`) &&
    roles.some((role) => of.roles.includes(role))
  );
}
