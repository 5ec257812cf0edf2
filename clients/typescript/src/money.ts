/** Amounts of money, exactly: decimals as text, and sums as integers, never as floating point. */

import { create } from "@bufbuild/protobuf";
import { type Money, MoneySchema } from "./gen/google/type/money_pb.js";

const NANOS = 1_000_000_000n;

/** Makes a decimal of at most nine places, such as "12.50", a message. */
export function money(currencyCode: string, decimal: string): Money {
  const [, sign, units, places = ""] = /^(-?)(\d+)(?:\.(\d{1,9}))?$/.exec(decimal) ?? [];
  if (units === undefined) {
    throw new RangeError(`not a decimal of at most nine places: ${decimal}`);
  }
  const nanos = BigInt(units + places.padEnd(9, "0"));
  return moneyOfNanos(currencyCode, sign ? -nanos : nanos);
}

/** Makes a number of billionths a message. */
export function moneyOfNanos(currencyCode: string, nanos: bigint): Money {
  // Both have the amount's sign: the remainder of a bigint takes that of its dividend.
  return create(MoneySchema, {
    currencyCode,
    units: nanos / NANOS,
    nanos: Number(nanos % NANOS),
  });
}

/** The amount in billionths, to add and compare. */
export function nanosOf(money: Money): bigint {
  return money.units * NANOS + BigInt(money.nanos);
}

/** The amount as a decimal: "12.5", "0", "-0.0001". */
export function amount(money: Money): string {
  const nanos = nanosOf(money);
  const digits = (nanos < 0n ? -nanos : nanos).toString().padStart(10, "0");
  const places = digits.slice(-9).replace(/0+$/, "");
  return (nanos < 0n ? "-" : "") + digits.slice(0, -9) + (places && `.${places}`);
}
