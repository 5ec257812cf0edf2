/** Small parts that every view uses. */

import { type ReactNode, useEffect, useId, useRef, useState } from "react";
import { errorOf, isLost, mayPass, persist } from "./api.js";
import type { OrderlogError } from "./client/errors.js";
import { type OrderStatus } from "./client/gen/orders/v1/order_pb.js";
import { onChange } from "./live/live.js";
import { type Span, split } from "./orders/highlights.js";
import { nameOf } from "./orders/search.js";
import { useText } from "./preferences.js";

/** The least time between two reads of the same thing. */
const REFRESH_MS = 700;

export function StatusMark({ status, isPending }: { status: OrderStatus; isPending?: boolean }) {
  const text = useText();
  return (
    <span className="status" data-status={nameOf(status)}>
      {text.status[status]}
      {isPending && <span className="pending-mark">{text.pending.label}</span>}
    </span>
  );
}

export function Highlighted({ text, spans }: { text: string; spans: Span[] }) {
  return split(text, spans).map((part, index) =>
    part.isMatch ? <mark key={index}>{part.text}</mark> : <span key={index}>{part.text}</span>,
  );
}

export function Loading() {
  const text = useText();
  return (
    <p className="loading" role="status">
      {text.failed.loading}
    </p>
  );
}

export function Empty({ title, children }: { title: string; children?: ReactNode }) {
  return (
    <div className="empty">
      <p className="empty-title">{title}</p>
      {children}
    </div>
  );
}

/** Returns the sentence for an error. */
export function useReason(): (error: OrderlogError) => string {
  const text = useText();
  return (error) => (isLost(error) ? text.failed.lost : error.message);
}

export function Failure({ error, onRetry }: { error: OrderlogError; onRetry: () => void }) {
  const text = useText();
  const reason = useReason();
  return (
    <div className="failure" role="alert">
      <p className="empty-title">{text.failed.title}</p>
      <p>{reason(error)}</p>
      <button type="button" onClick={onRetry}>
        {text.failed.again}
      </button>
    </div>
  );
}

interface FieldProps {
  label: string;
  value: string;
  onChange: (value: string) => void;
  error?: string;
  hint?: string;
  type?: string;
  inputMode?: "numeric" | "decimal";
  list?: string;
  isWide?: boolean;
  isRequired?: boolean;
  autoFocus?: boolean;
  isLabelHidden?: boolean;
  rows?: number;
  maxLength?: number;
  placeholder?: string;
}

/** An input with its label, and with its error beside it. */
export function Field(props: FieldProps) {
  const id = useId();
  const { label, value, error, hint, rows, isWide, isRequired, isLabelHidden, onChange, ...rest } =
    props;
  const described = [error && `${id}-error`, hint && `${id}-hint`].filter(Boolean).join(" ");
  const shared = {
    id,
    value,
    required: isRequired,
    "aria-invalid": error ? true : undefined,
    "aria-describedby": described || undefined,
    autoComplete: "off",
    spellCheck: false,
    ...rest,
  };
  return (
    <div className={isWide ? "field wide" : "field"}>
      <label htmlFor={id} className={isLabelHidden ? "hidden" : undefined}>
        {label}
      </label>
      {rows ? (
        <textarea {...shared} rows={rows} onChange={(event) => onChange(event.target.value)} />
      ) : (
        <input {...shared} onChange={(event) => onChange(event.target.value)} />
      )}
      {hint && (
        <span className="hint" id={`${id}-hint`}>
          {hint}
        </span>
      )}
      {error && (
        <span className="error" id={`${id}-error`}>
          {error}
        </span>
      )}
    </div>
  );
}

export interface Read<T> {
  value?: T;
  error?: OrderlogError;
  isLoading: boolean;
  retry: () => void;
}

interface ReadOptions {
  /** Reads as often as that. */
  everyMs?: number;
  /** Reads again when any order changes. */
  follows?: boolean;
  /** Reads again when this differs, and shows the present value until then. */
  revision?: bigint;
}

/** Reads a value, again when `key` changes, and keeps trying while the server is away. */
export function useRead<T>(
  key: string,
  read: (signal: AbortSignal) => Promise<T>,
  { everyMs, follows = true, revision }: ReadOptions = {},
): Read<T> {
  const [state, setState] = useState<{ key: string; value?: T; error?: OrderlogError }>({ key });
  const [attempt, setAttempt] = useState(0);
  const latest = useRef(read);
  latest.current = read;
  useEffect(() => {
    const stop = new AbortController();
    let isReading = false;
    let isStale = true;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const run = async () => {
      if (isReading || stop.signal.aborted) return;
      isReading = true;
      while (isStale && !stop.signal.aborted) {
        isStale = false;
        try {
          const value = await persist(() => latest.current(stop.signal), stop.signal);
          if (!stop.signal.aborted) setState({ key, value });
        } catch (failed) {
          const error = errorOf(failed);
          if (!stop.signal.aborted && !mayPass(error)) setState((now) => ({ ...now, key, error }));
        }
        if (isStale) await new Promise((done) => setTimeout(done, REFRESH_MS));
      }
      isReading = false;
    };
    const refresh = () => {
      isStale = true;
      timer ??= setTimeout(() => {
        timer = undefined;
        void run();
      }, REFRESH_MS / 2);
    };
    void run();
    const unfollow = follows ? onChange(refresh) : undefined;
    const interval = everyMs && setInterval(refresh, everyMs);
    return () => {
      stop.abort();
      unfollow?.();
      clearTimeout(timer);
      if (interval) clearInterval(interval);
    };
  }, [key, attempt, everyMs, follows, revision]);
  const isOf = state.key === key;
  return {
    value: isOf ? state.value : undefined,
    error: isOf ? state.error : undefined,
    isLoading: !isOf || (state.value === undefined && state.error === undefined),
    retry: () => {
      setState({ key });
      setAttempt((it) => it + 1);
    },
  };
}

/** Renders what was read: loading, failed, or the value. */
export function Shown<T>({ of, children }: { of: Read<T>; children: (value: T) => ReactNode }) {
  if (of.value !== undefined) return children(of.value);
  if (of.error) return <Failure error={of.error} onRetry={of.retry} />;
  return <Loading />;
}
