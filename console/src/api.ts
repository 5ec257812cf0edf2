/** The services of the node that serves this page. */

import { create } from "@bufbuild/protobuf";
import { DurationSchema } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, createClient, type Interceptor } from "@connectrpc/connect";
import { createGrpcWebTransport } from "@connectrpc/connect-web";
import { pauses } from "./client/backoff.js";
import { OrderlogError } from "./client/errors.js";
import { CommandService } from "./client/gen/orders/v1/command_service_pb.js";
import { EventService } from "./client/gen/orders/v1/event_service_pb.js";
import { ProjectionService } from "./client/gen/orders/v1/projection_service_pb.js";
import { QueryService } from "./client/gen/orders/v1/query_service_pb.js";
import { authorization, signOut } from "./session.js";

/** The time for one answer, besides the time that the server may wait for its read model. */
export const ANSWER_MS = 10_000;

/** The time that a query may wait for a position. */
export const WAIT = create(DurationSchema, { seconds: 5n });

const showing: Interceptor = (next) => async (request) => {
  for (const [name, value] of Object.entries(authorization())) request.header.set(name, value);
  try {
    return await next(request);
  } catch (failed) {
    if (ConnectError.from(failed).code === Code.Unauthenticated) signOut(true);
    throw failed;
  }
};

const transport = createGrpcWebTransport({
  baseUrl: location.origin,
  interceptors: [showing],
});

export const commands = createClient(CommandService, transport);
export const events = createClient(EventService, transport);
export const projections = createClient(ProjectionService, transport);
export const queries = createClient(QueryService, transport);

/** Returns the error of a call with its details. */
export function errorOf(failed: unknown): OrderlogError {
  return failed instanceof OrderlogError ? failed : new OrderlogError(ConnectError.from(failed));
}

/** Returns whether a later attempt of a query or a repeated command may succeed. */
export function mayPass(error: OrderlogError): boolean {
  return error.isRetryable || error.isUnanswered || error.reason === "READ_MODEL_BEHIND";
}

/** Returns whether no server answered. */
export function isLost(error: OrderlogError): boolean {
  return error.isUnanswered || (error.code === Code.Unavailable && !error.reason);
}

/** Calls until the server answers or `signal` aborts. */
export async function persist<T>(
  call: () => Promise<T>,
  signal: AbortSignal,
  onFailed: (error: OrderlogError) => void = () => {},
): Promise<T> {
  const pause = pauses();
  for (;;) {
    try {
      return await call();
    } catch (failed) {
      const error = errorOf(failed);
      if (signal.aborted || !mayPass(error)) throw error;
      onFailed(error);
      await sleep(Math.max(pause(), error.retryAfterMs ?? 0), signal);
    }
  }
}

/** Waits, or until `signal` aborts. */
export function sleep(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((done) => {
    const timer = setTimeout(done, ms);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      done();
    });
  });
}
