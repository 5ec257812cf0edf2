/** What is tried again, and what is not: against a server that fails as it is told. */

import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { create } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { Orderlog } from "../src/client.js";
import { OrderlogError } from "../src/errors.js";
import { ErrorInfoSchema, RetryInfoSchema } from "../src/gen/google/rpc/error_details_pb.js";
import {
  CommandService,
  CreateOrderRequestSchema,
} from "../src/gen/orders/v1/command_service_pb.js";
import { fake } from "./fake.js";

function failure(code: Code, reason = "", retryAfterSeconds?: bigint): ConnectError {
  const error = new ConnectError("as told", code);
  if (reason) error.details.push({ desc: ErrorInfoSchema, value: { reason } });
  if (retryAfterSeconds !== undefined) {
    const value = { retryDelay: { seconds: retryAfterSeconds } };
    error.details.push({ desc: RetryInfoSchema, value });
  }
  return error;
}

/** The request ids that arrive, and the error if there is one. */
async function attempts(t: TestContext, ...failures: ConnectError[]) {
  const ids: string[] = [];
  const url = await fake(t, (router) =>
    router.service(CommandService, {
      createOrder({ requestId }) {
        ids.push(requestId);
        const next = failures.shift();
        if (next) throw next;
        return {};
      },
    }),
  );
  using orderlog = new Orderlog(url);
  const error = await orderlog.execute(create(CreateOrderRequestSchema)).then(
    () => undefined,
    (failed: unknown) => failed as OrderlogError,
  );
  return { ids, error };
}

test("an outage is waited for with the same request id", async (t) => {
  const { ids, error } = await attempts(
    t,
    failure(Code.Unavailable),
    failure(Code.Unavailable, "STORE_UNAVAILABLE", 0n),
    failure(Code.ResourceExhausted, "OVERLOADED", 0n),
    failure(Code.DeadlineExceeded),
    // The server notices the end of the attempt before the client.
    failure(Code.DeadlineExceeded, "DEADLINE_EXCEEDED"),
  );
  assert.equal(error, undefined);
  assert.equal(ids.length, 6);
  assert.equal(new Set(ids).size, 1);
  assert.ok(ids[0]);
});

test("it is not tried again before the server said", async (t) => {
  const { ids, error } = await attempts(t, failure(Code.Unavailable, "STORE_UNAVAILABLE", 3600n));
  assert.equal(ids.length, 1);
  assert.equal(error?.retryAfterMs, 3_600_000);
});

for (const [code, reason] of [
  [Code.InvalidArgument, "INVALID_FIELD"],
  [Code.Aborted, "VERSION_MISMATCH"],
  [Code.DeadlineExceeded, "READ_MODEL_BEHIND"],
  [Code.ResourceExhausted, ""],
  [Code.Internal, "INTERNAL"],
  [Code.Internal, ""],
] as const) {
  test(`what stays wrong is not tried again: ${Code[code]} ${reason}`, async (t) => {
    const { ids, error } = await attempts(t, failure(code, reason));
    assert.equal(ids.length, 1);
    assert.deepEqual([error?.code, error?.reason], [code, reason]);
  });
}
