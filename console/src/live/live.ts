/** The page's end of the streams. */

import type { SubscribeResponse } from "../client/gen/orders/v1/event_service_pb.js";
import type { Order } from "../client/gen/orders/v1/order_pb.js";
import { type Session, can, session, signOut, start, token } from "../session.js";
import { Store } from "../store.js";
import { type Port, serve } from "./hub.js";
import type { Notice, Request, Topic } from "./protocol.js";

/** Whether the page sees changes as they happen. `offline`: the browser has no network. */
export type Connection = "connecting" | "live" | "broken" | "offline";

export const connection = new Store<Connection>("connecting");

/** The position up to which the read model is known to be. */
export const position = new Store(0n);

type Changed = (orders: Order[]) => void;
type Tailed = (message: SubscribeResponse | "gap") => void;

const changed = new Set<Changed>();
const tailed = new Set<Tailed>();
let port: MessagePort | undefined;
let isOrdersOpen = false;
/** Whether orders may have changed since the last message. */
let hasGap = false;

/** Calls `listener` with the orders of each change; with none of them if any may have changed. */
export function onChange(listener: Changed): () => void {
  changed.add(listener);
  return () => changed.delete(listener);
}

/** Calls `listener` with each message of the log's tail, or "gap" if some are missing. */
export function onTail(listener: Tailed): () => void {
  tailed.add(listener);
  if (tailed.size === 1) open("events");
  return () => {
    tailed.delete(listener);
    if (tailed.size === 0) send({ kind: "close", topic: "events" });
  };
}

/** Tells the listeners about an order that this page has read. */
export function announce(orders: Order[]): void {
  for (const listener of changed) listener(orders);
}

function send(request: Request): void {
  port?.postMessage(request);
}

function open(topic: Topic): void {
  send({ kind: "open", topic, token: token() });
}

function connect(): MessagePort {
  if (typeof SharedWorker === "function") {
    const worker = new SharedWorker(new URL("./worker.ts", import.meta.url), {
      type: "module",
      name: "orderlog",
    });
    worker.port.start();
    return worker.port;
  }
  const { port1, port2 } = new MessageChannel();
  serve(port2 as unknown as Port);
  return port1;
}

function receive({ data }: MessageEvent<Notice>): void {
  if (data.kind === "refused") return signOut(true);
  if (data.topic === "events") {
    if (data.kind === "message") for (const listener of tailed) listener(data.message);
    if (data.kind === "gap") for (const listener of tailed) listener("gap");
    return;
  }
  switch (data.kind) {
    case "broken":
      // The node may have other services and roles when it is back.
      void start();
      return connection.set(navigator.onLine ? "broken" : "offline");
    case "gap":
      hasGap = true;
      return;
    case "message":
      connection.set("live");
      if (data.message.asOfPosition > position.get()) position.set(data.message.asOfPosition);
      // The page may have read an older state than that at which the stream begins.
      if (hasGap) announce([]);
      hasGap = false;
      if (data.message.orders.length > 0) announce(data.message.orders);
  }
}

function follow(now: Session): void {
  const wanted = can(now, "Query", "query");
  if (now.state === "unreachable") connection.set(navigator.onLine ? "broken" : "offline");
  if (now.state === "signed-out" && isOrdersOpen) send({ kind: "close", topic: "orders" });
  if (wanted && !isOrdersOpen) open("orders");
  if (now.state === "signed-in" || now.state === "signed-out") isOrdersOpen = wanted;
}

/** Opens the streams of this page, as soon as its session allows. */
export function run(): void {
  port = connect();
  port.onmessage = receive;
  session.subscribe(() => follow(session.get()));
  addEventListener("offline", () => connection.set("offline"));
  addEventListener("online", () => {
    if (connection.get() === "offline") connection.set("broken");
    void start();
  });
  addEventListener("pagehide", () => send({ kind: "leave" }));
  addEventListener("pageshow", ({ persisted }) => {
    if (!persisted) return;
    isOrdersOpen = false;
    follow(session.get());
    if (tailed.size > 0) open("events");
  });
}
