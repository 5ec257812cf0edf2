/** Amounts, numbers and times as people read them. */

import { type Timestamp, timestampDate } from "@bufbuild/protobuf/wkt";
import { amount } from "./client/money.js";
import type { Money } from "./client/gen/google/type/money_pb.js";
import { language } from "./preferences.js";

/** Formats an amount without rounding: every decimal that it has, and at least two. */
export function money(of: Money | undefined): string {
  if (!of) return "";
  const [whole = "0", places = ""] = amount(of).split(".");
  const sign = whole.startsWith("-") ? "-" : "";
  const digits = whole.replace("-", "").replace(/\B(?=(\d{3})+$)/g, ",");
  return `${sign}${digits}.${places.padEnd(2, "0")}`;
}

export function count(of: bigint | number): string {
  return of.toLocaleString(language.get());
}

/** Formats a time in the browser's time zone, so that times stand in columns. */
export function time(of: Timestamp | undefined): string {
  if (!of) return "";
  const at = timestampDate(of);
  const day = `${at.getFullYear()}-${digits(at.getMonth() + 1)}-${digits(at.getDate())}`;
  return `${day} ${digits(at.getHours())}:${digits(at.getMinutes())}`;
}

/** Formats a time in the browser's time zone to the millisecond, for the log. */
export function exactTime(of: Timestamp | undefined): string {
  if (!of) return "";
  const at = timestampDate(of);
  return `${time(of)}:${digits(at.getSeconds())}.${digits(at.getMilliseconds(), 3)}`;
}

function digits(part: number, length = 2): string {
  return String(part).padStart(length, "0");
}

export function iso(of: Timestamp | undefined): string {
  return of ? timestampDate(of).toISOString() : "";
}
