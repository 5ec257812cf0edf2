/** The view of all orders: search, filters and the live list. */

import { useEffect, useRef, useState, useSyncExternalStore } from "react";
import { useLocation, useSearchParams } from "wouter";
import { created, isOpen, type Pending, pending } from "../commands.js";
import { count } from "../format.js";
import { useText } from "../preferences.js";
import { can, session } from "../session.js";
import { useStore } from "../store.js";
import { Facets } from "./facets.js";
import type { OrderPages } from "./pages.js";
import { hasFilters, SORTS, withOne } from "./search.js";
import { OrderCells, OrderTable, useOrderPages } from "./table.js";

/** The time after the last key until the search is sent. */
const TYPING_MS = 120;

export function OrderList() {
  const text = useText();
  const [params, setParams] = useSearchParams();
  const [, navigate] = useLocation();
  const isAllowed = can(useStore(session), "Command", "command");
  const { pages, view } = useOrderPages(params.toString());
  const isNarrow = useNarrow();
  const query = params.get("q") ?? "";
  const onParams = (next: URLSearchParams) => setParams(next, { replace: true });
  useEffect(() => {
    const keys = (event: KeyboardEvent) => {
      const isTyping =
        event.target instanceof Element && event.target.closest("input,select,textarea");
      if (isTyping || event.ctrlKey || event.metaKey || event.altKey) return;
      if (event.key === "n" && isAllowed) navigate("/new");
      if (event.key === "/") document.getElementById("search")?.focus();
      if (event.key === "n" || event.key === "/") event.preventDefault();
    };
    addEventListener("keydown", keys);
    return () => removeEventListener("keydown", keys);
  }, [navigate, isAllowed]);
  return (
    <div className="orders">
      <header className="bar">
        <h1>{text.app.orders}</h1>
        <p className="count" role="status">
          {view.total !== undefined &&
            (view.total === 1n ? text.list.one : text.list.count(count(view.total)))}
        </p>
        {isAllowed && (
          <button type="button" className="primary" onClick={() => navigate("/new")}>
            {text.list.create}
          </button>
        )}
      </header>
      <div className="tools">
        <SearchBox query={query} onQuery={(it) => onParams(withOne(params, "q", it))} />
        <label className="sort">
          <span>{text.list.sort}</span>
          <select
            value={params.get("sort") ?? ""}
            onChange={(event) => onParams(withOne(params, "sort", event.target.value))}
          >
            {SORTS.map((sort) => (
              <option key={sort} value={sort}>
                {text.list.sorts[sort]}
              </option>
            ))}
          </select>
        </label>
      </div>
      {isNarrow && (
        <details className="narrow-filters" open={hasFilters(params) || undefined}>
          <summary>{text.list.filters}</summary>
          <Facets params={params} onParams={onParams} />
        </details>
      )}
      <div className="split">
        {!isNarrow && <Facets params={params} onParams={onParams} />}
        <section className="panel list" aria-label={text.app.orders}>
          {view.isDegraded && <p className="note">{text.list.degraded}</p>}
          <PendingOrders pages={pages} />
          <OrderTable
            pages={pages}
            view={view}
            isFiltered={query !== "" || hasFilters(params)}
          />
        </section>
      </div>
      <p className="keys">{text.list.keys}</p>
    </div>
  );
}

const NARROW = matchMedia("(max-width: 860px)");

/** Returns whether the filters have no place beside the list. */
function useNarrow(): boolean {
  const subscribe = (listener: () => void) => {
    NARROW.addEventListener("change", listener);
    return () => NARROW.removeEventListener("change", listener);
  };
  return useSyncExternalStore(subscribe, () => NARROW.matches);
}

function SearchBox({ query, onQuery }: { query: string; onQuery: (query: string) => void }) {
  const text = useText();
  const [typed, setTyped] = useState(query);
  const sent = useRef(query);
  useEffect(() => {
    if (query !== sent.current) setTyped(query);
    sent.current = query;
  }, [query]);
  useEffect(() => {
    const timer = setTimeout(() => {
      if (typed === sent.current) return;
      sent.current = typed;
      onQuery(typed);
    }, TYPING_MS);
    return () => clearTimeout(timer);
  }, [typed]);
  return (
    <div className="search" role="search">
      <label htmlFor="search" className="hidden">
        {text.list.search}
      </label>
      <input
        id="search"
        type="search"
        value={typed}
        maxLength={500}
        placeholder={text.list.placeholder}
        autoComplete="off"
        spellCheck={false}
        onChange={(event) => setTyped(event.target.value)}
      />
    </div>
  );
}

/** The orders that this page creates, above the list until the list has them. */
function PendingOrders({ pages }: { pages: OrderPages }) {
  const all = useStore(pending);
  const creating = all.filter(
    (it): it is Pending & { kind: "create" } =>
      it.kind === "create" && isOpen(it) && !pages.has(it.subject),
  );
  if (creating.length === 0) return null;
  return (
    <div className="table creating" role="table" aria-label="pending">
      {creating.map((entry) => (
        <div key={entry.id} role="row" className="row pending">
          <OrderCells order={created(entry)} highlights={[]} />
        </div>
      ))}
    </div>
  );
}
