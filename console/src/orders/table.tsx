/** The rows of a search, of which only those in view are in the document. */

import { useVirtualizer } from "@tanstack/react-virtual";
import { type KeyboardEvent, type RefObject, useEffect, useMemo, useRef, useState } from "react";
import { Link, useLocation } from "wouter";
import { confirmed, expected, failedOf, openOf, pending } from "../commands.js";
import { iso, money, time } from "../format.js";
import { onChange, position } from "../live/live.js";
import { useText } from "../preferences.js";
import { can, session } from "../session.js";
import { useStore } from "../store.js";
import { Empty, Failure, Highlighted, Loading, StatusMark } from "../ui.js";
import { type FoundOrder, type Span, textOf, within } from "./highlights.js";
import { OrderPages, type View } from "./pages.js";
import { requestOf } from "./search.js";

const ROW_HEIGHT = 41;

/** Keeps the pages of a search, and follows the changes. */
export function useOrderPages(key: string): { pages: OrderPages; view: View } {
  const pages = useMemo(() => {
    const minPosition = position.get() > confirmed.get() ? position.get() : confirmed.get();
    return new OrderPages(requestOf(new URLSearchParams(key)), minPosition);
  }, [key]);
  useEffect(() => {
    const unfollow = onChange((orders) => pages.changed(orders, position.get()));
    const unconfirmed = confirmed.subscribe(() => pages.changed([], confirmed.get()));
    return () => {
      unfollow();
      unconfirmed();
      pages.close();
    };
  }, [pages]);
  return { pages, view: useStore(pages.view) };
}

interface Props {
  pages: OrderPages;
  view: View;
  isFiltered: boolean;
}

export function OrderTable({ pages, view, isFiltered }: Props) {
  const text = useText();
  const scroller = useRef<HTMLDivElement>(null);
  const rows = useVirtualizer({
    count: view.length,
    getScrollElement: () => scroller.current,
    estimateSize: () => ROW_HEIGHT,
    overscan: 12,
  });
  const items = rows.getVirtualItems();
  const [first, last] = [items[0]?.index ?? 0, items.at(-1)?.index ?? 0];
  useEffect(() => pages.show(first, last), [pages, first, last]);
  const { active, onKeyDown } = useActive(view.length, scroller, (index) =>
    rows.scrollToIndex(index),
  );
  if (view.error) return <Failure error={view.error} onRetry={() => pages.retry()} />;
  if (view.total === undefined) return <Loading />;
  if (view.length === 0) return <Nothing isFiltered={isFiltered} />;
  return (
    <div className="rows" ref={scroller} onKeyDown={onKeyDown}>
      <div
        role="table"
        aria-label={text.app.orders}
        aria-rowcount={Number(view.total) + 1}
        className="table"
      >
        <div role="row" className="row head" aria-rowindex={1}>
          <span role="columnheader">{text.list.id}</span>
          <span role="columnheader">{text.list.customer}</span>
          <span role="columnheader">{text.list.status}</span>
          <span role="columnheader">{text.list.items}</span>
          <span role="columnheader" className="number">
            {text.list.total}
          </span>
          <span role="columnheader">{text.list.created}</span>
        </div>
        <div role="rowgroup" className="window" style={{ height: rows.getTotalSize() }}>
          {items.map((item) => (
            <Row
              key={item.key}
              found={pages.at(item.index)}
              index={item.index}
              top={item.start}
              isActive={item.index === active}
            />
          ))}
        </div>
      </div>
      <p className="foot">{view.isComplete ? text.list.end : text.list.more}</p>
    </div>
  );
}

function Nothing({ isFiltered }: { isFiltered: boolean }) {
  const text = useText();
  const isAllowed = can(useStore(session), "Command", "command");
  if (isFiltered) return <Empty title={text.list.nothing}>{<p>{text.list.nothingLead}</p>}</Empty>;
  return (
    <Empty title={text.list.empty}>
      <p>{text.list.emptyLead}</p>
      {isAllowed && <Link href="/new">{text.list.first}</Link>}
    </Empty>
  );
}

/** Moves an active row by j and k or the arrows, and opens it by Enter. */
function useActive(
  length: number,
  scroller: RefObject<HTMLDivElement | null>,
  reveal: (index: number) => void,
) {
  const [active, setActive] = useState(-1);
  useEffect(() => {
    if (active < 0) return;
    reveal(active);
    const link = `[data-index="${active}"] a`;
    const timer = setTimeout(() => scroller.current?.querySelector<HTMLElement>(link)?.focus());
    return () => clearTimeout(timer);
  }, [active]);
  const move = (by: number) => {
    if (length > 0) setActive((it) => Math.max(0, Math.min(length - 1, it + by)));
  };
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const by = { j: 1, ArrowDown: 1, k: -1, ArrowUp: -1 }[event.key];
    if (!by) return;
    event.preventDefault();
    move(by);
  };
  useEffect(() => {
    const anywhere = (event: globalThis.KeyboardEvent) => {
      const isTyping =
        event.target instanceof Element && event.target.closest("input,select,textarea");
      if (isTyping || event.ctrlKey || event.metaKey || event.altKey) return;
      if (scroller.current?.contains(event.target as Node)) return;
      if (event.key === "j") move(1);
      if (event.key === "k") move(-1);
    };
    addEventListener("keydown", anywhere);
    return () => removeEventListener("keydown", anywhere);
  }, [length]);
  return { active, onKeyDown };
}

interface RowProps {
  found?: FoundOrder;
  index: number;
  top: number;
  isActive?: boolean;
}

function Row({ found, index, top, isActive }: RowProps) {
  const style = { transform: `translateY(${top}px)`, height: ROW_HEIGHT };
  if (!found) {
    return <div role="row" className="row absent" aria-rowindex={index + 2} style={style} />;
  }
  return (
    <div
      role="row"
      className="row"
      aria-rowindex={index + 2}
      data-index={index}
      data-active={isActive || undefined}
      style={style}
    >
      <OrderCells {...found} />
    </div>
  );
}

/** Shows a text from its first match on, which a narrow cell would cut off. */
function Excerpt({ text, spans }: { text: string; spans: Span[] }) {
  const start = spans[0]?.start ?? 0;
  return (
    <span className="found">
      {start > 0 && "…"}
      <Part text={text} spans={spans} start={start} />
    </span>
  );
}

interface PartProps {
  text: string;
  spans: Span[];
  start: number;
  end?: number;
}

/** Shows the characters of a text from `start` on, up to `end`. */
function Part({ text, spans, start, end }: PartProps) {
  const characters = Array.from(text).slice(start, end);
  return <Highlighted text={characters.join("")} spans={within(spans, start, characters.length)} />;
}

/** Shortens a generated id in its middle: such ids begin alike, and differ at their end. */
function ShortId({ id, spans }: { id: string; spans: Span[] }) {
  if (id.length <= 18) return <Highlighted text={id} spans={spans} />;
  return (
    <>
      <Part text={id} spans={spans} start={0} end={4} />…
      <Part text={id} spans={spans} start={id.length - 10} />
    </>
  );
}

/** The fields that the cells of an order show. */
const SHOWN = ["order_id", "customer_name", "items[0].product_name"];

/** The cells of an order, as an open command will leave it. */
export function OrderCells({ order, highlights }: FoundOrder) {
  const all = useStore(pending);
  const text = useText();
  const [, navigate] = useLocation();
  const shown = expected(order, all);
  const href = `/orders/${encodeURIComponent(order.orderId)}`;
  const isPending = openOf(all, order.orderId) !== undefined;
  const product = shown.items[0];
  const of = (field: string) => highlights.filter((it) => it.field === field);
  const more = highlights.find((it) => !SHOWN.includes(it.field))?.field;
  const isNamed = of("customer_name").length > 0;
  const open = () => navigate(href);
  return (
    <>
      <span role="cell" className="id" onClick={open}>
        <Link href={href} title={order.orderId}>
          <ShortId id={order.orderId} spans={of("order_id")} />
        </Link>
      </span>
      <span role="cell" className="who" onClick={open}>
        <Highlighted text={shown.customerName || shown.customerId} spans={of("customer_name")} />
        {more && !isNamed && <Excerpt text={textOf(order, more)} spans={of(more)} />}
      </span>
      <span role="cell" onClick={open}>
        <StatusMark status={shown.status} isPending={isPending} />
        {failedOf(all, order.orderId) && <span className="tag bad">{text.pending.refused}</span>}
      </span>
      <span role="cell" className="what" onClick={open}>
        <span className="product">
          <Highlighted
            text={product?.productName || product?.productId || ""}
            spans={of("items[0].product_name")}
          />
        </span>
        {shown.itemCount > 1 ? ` +${shown.itemCount - 1}` : ""}
      </span>
      <span role="cell" className="number" onClick={open}>
        {money(shown.totalAmount)} <small>{shown.totalAmount?.currencyCode}</small>
      </span>
      <span role="cell" className="when" onClick={open}>
        <time dateTime={iso(shown.createdAt)}>{time(shown.createdAt)}</time>
      </span>
    </>
  );
}
