/** Converts amounts of money without floating point: decimals are text, and sums are integers. */

import { create } from "@bufbuild/protobuf";
import { type Money, MoneySchema } from "./gen/google/type/money_pb.js";

const NANOS = 1_000_000_000n;

/** Makes a message from a decimal of at most nine places, such as "12.50". */
export function money(currencyCode: string, decimal: string): Money {
  const [, sign, units, places = ""] = /^(-?)(\d+)(?:\.(\d{1,9}))?$/.exec(decimal) ?? [];
  if (units === undefined) {
    throw new RangeError(`not a decimal of at most nine places: ${decimal}`);
  }
  const nanos = BigInt(units + places.padEnd(9, "0"));
  return moneyOfNanos(currencyCode, sign ? -nanos : nanos);
}

/** Makes a message from a number of billionths. */
export function moneyOfNanos(currencyCode: string, nanos: bigint): Money {
  // Both parts have the amount's sign, because a bigint's remainder has its dividend's sign.
  return create(MoneySchema, {
    currencyCode,
    units: nanos / NANOS,
    nanos: Number(nanos % NANOS),
  });
}

/** Returns the amount in billionths, to add and compare. */
export function nanosOf(money: Money): bigint {
  return money.units * NANOS + BigInt(money.nanos);
}

/** Returns the amount as a decimal: "12.5", "0", "-0.0001". */
export function amount(money: Money): string {
  const nanos = nanosOf(money);
  const digits = (nanos < 0n ? -nanos : nanos).toString().padStart(10, "0");
  const places = digits.slice(-9).replace(/0+$/, "");
  return (nanos < 0n ? "-" : "") + digits.slice(0, -9) + (places && `.${places}`);
}
