/** The error of a call, with the details that orderlog sends. */

import { durationMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import {
  BadRequestSchema,
  ErrorInfoSchema,
  ResourceInfoSchema,
  RetryInfoSchema,
} from "./gen/google/rpc/error_details_pb.js";
import type { Status } from "./gen/google/rpc/status_pb.js";

/** The codes with which a call may end when its connection breaks. */
const BROKEN = [Code.Aborted, Code.Canceled, Code.Internal, Code.Unknown];

/** A call failed: the server rejected it, or did not reply. */
export class OrderlogError extends Error {
  override readonly name: string = "OrderlogError";
  readonly code: Code;
  /** The reason, such as `ORDER_NOT_SHIPPABLE`; empty if the error is not from orderlog. */
  readonly reason: string;
  /** The values of the reason, such as `expected` and `actual`. */
  readonly metadata: Record<string, string>;
  /** Each invalid field, with the rule that it breaks. */
  readonly violations: Record<string, string>;
  /** The id of the resource that does not exist, or exists already. */
  readonly resource: string;
  /** The time to wait before a retry in ms, if the server names one. */
  readonly retryAfterMs?: number;
  /** Whether the call ended without a reply, so that its outcome is unknown. */
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
    // Servers send `grpc-status` with their errors. An error that the client makes has none.
    const isAnswer = error.metadata.has("grpc-status");
    this.isUnanswered =
      this.code === Code.DeadlineExceeded
        ? // With this reason, the server noticed the timeout first.
          ["", "DEADLINE_EXCEEDED"].includes(this.reason)
        : !isAnswer && BROKEN.includes(this.code);
  }

  /** Makes the error of a call from what it threw. */
  static of(failed: unknown): OrderlogError {
    return new OrderlogError(ConnectError.from(failed));
  }

  /** Makes the error of one command of a stream. */
  static ofStatus({ code, message, details }: Status): OrderlogError {
    const error = new ConnectError(message, code, { "grpc-status": String(code) });
    error.details = details.map(({ typeUrl, value }) => {
      return { type: typeUrl.slice(typeUrl.lastIndexOf("/") + 1), value };
    });
    return new OrderlogError(error);
  }

  /**
   * Whether a retry may succeed. RESOURCE_EXHAUSTED without a delay means that a message is too
   * large.
   */
  get isRetryable(): boolean {
    return (
      this.code === Code.Unavailable ||
      (this.code === Code.ResourceExhausted && this.retryAfterMs !== undefined)
    );
  }
}

/**
 * The log no longer has the events that the subscriber has seen.
 *
 * The reason says how the server found out:
 *
 * - LOG_DIVERGED: the log went back, and has another event at `position`, or none.
 * - POSITION_BEYOND_HEAD: the log ends before `position`, so it went back too.
 * - LOG_MISMATCH: the server has another log.
 *
 * A retry cannot help: the results of the lost events must go first.
 */
export class HistoryError extends OrderlogError {
  /** The reasons that mean another history. */
  static readonly REASONS = ["LOG_DIVERGED", "POSITION_BEYOND_HEAD", "LOG_MISMATCH"];

  override readonly name = "HistoryError";
  /** The newest position that the subscriber has seen, if the server names it. */
  readonly position?: bigint;
  /** The newest position with the same event in both histories, if the server knows it. */
  readonly sharedPosition?: bigint;

  constructor(error: ConnectError) {
    super(error);
    this.position = positionOf(this.metadata.position);
    this.sharedPosition = positionOf(this.metadata.shared_position);
  }
}

function positionOf(text: string | undefined): bigint | undefined {
  return text === undefined ? undefined : BigInt(text);
}
