/** What an error says beside its code. */

import { durationMs } from "@bufbuild/protobuf/wkt";
import { Code, type ConnectError } from "@connectrpc/connect";
import {
  BadRequestSchema,
  ErrorInfoSchema,
  ResourceInfoSchema,
  RetryInfoSchema,
} from "./gen/google/rpc/error_details_pb.js";

/** How a connection that breaks during a call may look. */
const BROKEN = [Code.Aborted, Code.Canceled, Code.Internal, Code.Unknown];

/** A call that was refused, or that nobody answered. */
export class OrderlogError extends Error {
  override readonly name = "OrderlogError";
  readonly code: Code;
  /** Such as `ORDER_NOT_SHIPPABLE`; empty if it was not orderlog that answered. */
  readonly reason: string;
  /** What belongs to the reason, such as `expected` and `actual`. */
  readonly metadata: Record<string, string>;
  /** Each wrong field, and the rule it breaks. */
  readonly violations: Record<string, string>;
  /** The id of what does not exist, or exists already. */
  readonly resource: string;
  /** After how long the same call may succeed. */
  readonly retryAfterMs?: number;
  /** Whether time ran out, or the connection, before an answer: the outcome is not known. */
  readonly isUnanswered: boolean;

  constructor(error: ConnectError) {
    super(error.rawMessage, { cause: error });
    const [info] = error.findDetails(ErrorInfoSchema);
    const fields = error.findDetails(BadRequestSchema).flatMap((it) => it.fieldViolations);
    const delay = error.findDetails(RetryInfoSchema)[0]?.retryDelay;
    this.code = error.code;
    this.reason = info?.reason ?? "";
    this.metadata = info?.metadata ?? {};
    this.violations = Object.fromEntries(fields.map((it) => [it.field, it.description]));
    this.resource = error.findDetails(ResourceInfoSchema)[0]?.resourceName ?? "";
    this.retryAfterMs = delay && durationMs(delay);
    // Servers send their errors with this; those that are made on this side have none.
    const isAnswer = error.metadata.has("grpc-status");
    this.isUnanswered =
      this.code === Code.DeadlineExceeded
        ? !this.reason
        : !isAnswer && BROKEN.includes(this.code);
  }

  /**
   * Whether the same call may succeed later. Without a time to try again after, RESOURCE_EXHAUSTED
   * is a message that is too large.
   */
  get isRetryable(): boolean {
    return (
      this.code === Code.Unavailable ||
      (this.code === Code.ResourceExhausted && this.retryAfterMs !== undefined)
    );
  }
}
