/** The view of the log: its tail as it grows, or the events after a position. */

import { toJsonString } from "@bufbuild/protobuf";
import { type FormEvent, useEffect, useMemo, useRef, useState } from "react";
import { Link, useSearchParams } from "wouter";
import { events as log } from "./api.js";
import {
  AggregateType,
  type RecordedEvent,
  RecordedEventSchema,
} from "./client/gen/orders/v1/event_pb.js";
import { count, exactTime, iso } from "./format.js";
import { onTail } from "./live/live.js";
import { detailOf, nameOf } from "./orders/history.js";
import { useText } from "./preferences.js";
import { Empty, Field, Shown, useRead } from "./ui.js";

/** The events that the tail keeps. */
const MAX_EVENTS = 500;

/** The events of a page after a position. */
const PAGE = 100;

/** The least time between two renderings of the tail. */
const RENDER_MS = 200;

const TYPES = [
  "OrderCreated",
  "OrderShipped",
  "OrderDelivered",
  "OrderCancelled",
  "CustomerRegistered",
  "CustomerRenamed",
  "ProductRegistered",
  "ProductRenamed",
];

interface Filter {
  type: string;
  id: string;
}

function matches(event: RecordedEvent, { type, id }: Filter): boolean {
  return (
    (!type || nameOf(event) === type) &&
    (!id || event.aggregateId === id || event.customerId === id)
  );
}

export function EventsView() {
  const text = useText();
  const [params, setParams] = useSearchParams();
  const filter = { type: params.get("type") ?? "", id: params.get("id") ?? "" };
  const from = /^\d{1,18}$/.test(params.get("from") ?? "")
    ? BigInt(params.get("from")!)
    : undefined;
  const set = (name: string, value: string) => {
    const next = new URLSearchParams(params);
    if (value) next.set(name, value);
    else next.delete(name);
    setParams(next, { replace: name !== "from" });
  };
  return (
    <div className="page">
      <header className="bar">
        <h1>{text.app.events}</h1>
        <Jump onJump={(position) => set("from", position)} />
      </header>
      <div className="tools">
        <label className="sort">
          <span>{text.events.type}</span>
          <select value={filter.type} onChange={(event) => set("type", event.target.value)}>
            <option value="">{text.events.all}</option>
            {TYPES.map((type) => (
              <option key={type}>{type}</option>
            ))}
          </select>
        </label>
        <Field label={text.events.id} value={filter.id} onChange={(id) => set("id", id)} />
      </div>
      {from === undefined ? (
        <Tail filter={filter} />
      ) : (
        <Stored from={from} filter={filter} onFrom={(position) => set("from", position)} />
      )}
    </div>
  );
}

function Jump({ onJump }: { onJump: (position: string) => void }) {
  const text = useText();
  const [wanted, setWanted] = useState("");
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (/^\d{1,18}$/.test(wanted)) onJump(wanted);
  };
  return (
    <form className="inline" onSubmit={submit}>
      <Field
        label={text.events.jump}
        value={wanted}
        inputMode="numeric"
        placeholder={text.events.position}
        onChange={setWanted}
        isLabelHidden
      />
      <button type="submit">{text.events.jump}</button>
    </form>
  );
}

/** The newest events, and those that the log records from now on. */
function Tail({ filter }: { filter: Filter }) {
  const text = useText();
  const [isPaused, setPaused] = useState(false);
  const { events, missed, hasGap } = useTail(isPaused);
  const shown = useMemo(
    () => events.filter((event) => matches(event, filter)),
    [events, filter.type, filter.id],
  );
  return (
    <>
      <div className="tools">
        <button type="button" aria-pressed={isPaused} onClick={() => setPaused(!isPaused)}>
          {isPaused ? text.events.resume : text.events.pause}
        </button>
        {isPaused && missed > 0 && <span role="status">{text.events.missed(count(missed))}</span>}
      </div>
      {hasGap && <p className="note">{text.events.gap}</p>}
      {shown.length === 0 ? (
        <Empty title={text.events.waiting}>
          <p>{text.events.waitingLead}</p>
        </Empty>
      ) : (
        <EventRows events={shown} />
      )}
    </>
  );
}

function useTail(isPaused: boolean) {
  const [state, setState] = useState<{
    events: RecordedEvent[];
    missed: number;
    hasGap: boolean;
  }>({
    events: [],
    missed: 0,
    hasGap: false,
  });
  const paused = useRef(isPaused);
  useEffect(() => {
    paused.current = isPaused;
    if (!isPaused) setState((it) => ({ ...it, missed: 0 }));
  }, [isPaused]);
  useEffect(() => {
    let newest: RecordedEvent[] = [];
    let waiting: RecordedEvent[] = [];
    let timer: ReturnType<typeof setTimeout> | undefined;
    const render = () => {
      timer = undefined;
      if (paused.current) {
        const missed = waiting.length;
        return setState((it) => ({ ...it, missed }));
      }
      newest = [...waiting.reverse(), ...newest].slice(0, MAX_EVENTS);
      waiting = [];
      setState((it) => ({ ...it, events: newest, missed: 0 }));
    };
    const unfollow = onTail((message) => {
      if (message === "gap") {
        [newest, waiting] = [[], []];
        return setState({ events: [], missed: 0, hasGap: true });
      }
      if (message.events.length === 0) return;
      waiting = [...waiting, ...message.events].slice(-MAX_EVENTS);
      timer ??= setTimeout(render, RENDER_MS);
    });
    const interval = setInterval(() => waiting.length > 0 && render(), 1_000);
    return () => {
      unfollow();
      clearTimeout(timer);
      clearInterval(interval);
    };
  }, []);
  return state;
}

interface StoredProps {
  from: bigint;
  filter: Filter;
  onFrom: (position: string) => void;
}

/** The events from a position on. */
function Stored({ from, filter, onFrom }: StoredProps) {
  const text = useText();
  const read = useRead(
    `events ${from} ${filter.type} ${filter.id}`,
    (signal) => readFrom(from, filter, signal),
    { follows: false },
  );
  return (
    <>
      <div className="tools">
        <strong>{text.events.from(count(from))}</strong>
        <button type="button" onClick={() => onFrom("")}>
          {text.events.tail}
        </button>
        {read.value?.next !== undefined && (
          <button type="button" onClick={() => onFrom(String(read.value?.next))}>
            {text.events.next}
          </button>
        )}
      </div>
      <Shown of={read}>
        {({ events }) =>
          events.length === 0 ? <Empty title={text.list.nothing} /> : <EventRows events={events} />
        }
      </Shown>
    </>
  );
}

/** Reads a page of events. An id is that of an order, product or customer. */
async function readFrom(from: bigint, { type, id }: Filter, signal: AbortSignal) {
  const request = {
    afterPosition: from > 0n ? from - 1n : 0n,
    filter: { eventTypes: type ? [type] : [], aggregateIds: id ? [id] : [] },
    maxBatchSize: PAGE,
  };
  const events: RecordedEvent[] = [];
  const end = new AbortController();
  signal.addEventListener("abort", () => end.abort());
  for await (const message of log.subscribe(request, { signal: end.signal })) {
    events.push(...message.events);
    if (events.length >= PAGE) break;
  }
  end.abort();
  const shown = events.slice(0, PAGE);
  const last = shown.at(-1);
  return { events: shown, next: events.length >= PAGE && last ? last.position + 1n : undefined };
}

function EventRows({ events }: { events: RecordedEvent[] }) {
  const text = useText();
  return (
    <div className="panel scroll">
      <table className="data events">
        <thead>
          <tr>
            <th scope="col" className="number">
              {text.events.position}
            </th>
            <th scope="col">{text.events.time}</th>
            <th scope="col">{text.events.type}</th>
            <th scope="col">{text.events.aggregate}</th>
            <th scope="col">JSON</th>
          </tr>
        </thead>
        <tbody>
          {events.map((event) => (
            <EventRow key={event.eventId} event={event} />
          ))}
        </tbody>
      </table>
    </div>
  );
}

const VIEWS: Partial<Record<AggregateType, string>> = {
  [AggregateType.ORDER]: "orders",
  [AggregateType.CUSTOMER]: "customers",
  [AggregateType.PRODUCT]: "products",
};

function EventRow({ event }: { event: RecordedEvent }) {
  const text = useText();
  const [isOpen, setOpen] = useState(false);
  const view = VIEWS[event.aggregateType];
  return (
    <>
      <tr>
        <td className="number">{count(event.position)}</td>
        <td>
          <time dateTime={iso(event.recordedAt)}>{exactTime(event.recordedAt)}</time>
        </td>
        <td>
          <span className="event-name">{nameOf(event)}</span>{" "}
          <span className="faint">{detailOf(event)}</span>
        </td>
        <td className="id">
          {view ? (
            <Link href={`/${view}/${encodeURIComponent(event.aggregateId)}`}>
              {event.aggregateId}
            </Link>
          ) : (
            event.aggregateId
          )}
        </td>
        <td>
          <button
            type="button"
            className="quiet"
            aria-expanded={isOpen}
            aria-label={text.events.json(count(event.position))}
            onClick={() => setOpen(!isOpen)}
          >
            {"{ }"}
          </button>
        </td>
      </tr>
      {isOpen && (
        <tr>
          <td colSpan={5}>
            <pre tabIndex={0}>{toJsonString(RecordedEventSchema, event, { prettySpaces: 2 })}</pre>
          </td>
        </tr>
      )}
    </>
  );
}
