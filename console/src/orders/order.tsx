/** The view of one order: its state, items and history, and the commands that it takes now. */

import { useEffect, useState } from "react";
import { Link, useLocation } from "wouter";
import { errorOf, queries, WAIT } from "../api.js";
import { type Order, OrderStatus } from "../client/gen/orders/v1/order_pb.js";
import { confirmed, created, expected, failedOf, openOf, pending } from "../commands.js";
import { count, iso, money, time } from "../format.js";
import { onChange } from "../live/live.js";
import { useText } from "../preferences.js";
import { useStore } from "../store.js";
import { Empty, Shown, StatusMark, useRead } from "../ui.js";
import { Actions } from "./actions.js";
import { CreateOrder } from "./create.js";
import { History } from "./history.js";
import { Refusal } from "./refusal.js";

interface Found {
  order?: Order;
  isParked: boolean;
}

/** Reads an order, again when it changes. `order` is undefined if there is none. */
function useOrder(orderId: string) {
  const [newest, setNewest] = useState<Order>();
  const read = useRead(`order ${orderId}`, async (signal): Promise<Found> => {
    const request = { orderId, minPosition: confirmed.get(), maxWait: WAIT };
    try {
      const { order, parked } = await queries.getOrder(request, { signal });
      return { order, isParked: parked };
    } catch (failed) {
      if (errorOf(failed).reason === "ORDER_NOT_FOUND") return { isParked: false };
      throw failed;
    }
  });
  useEffect(
    () =>
      onChange((orders) => {
        const now = orders.find((order) => order.orderId === orderId);
        if (now) setNewest(now);
      }),
    [orderId],
  );
  const order = read.value?.order;
  const isNewer = newest?.orderId === orderId && newest.position >= (order?.position ?? 0n);
  return { read, order: isNewer ? newest : order };
}

export function OrderView({ orderId }: { orderId: string }) {
  const text = useText();
  const all = useStore(pending);
  const { read, order } = useOrder(orderId);
  const creating = all.find((it) => it.kind === "create" && it.subject === orderId);
  if (creating?.kind === "create" && !openOf(all, orderId)) {
    return <CreateOrder key={creating.id} refused={creating} />;
  }
  if (!order && creating?.kind === "create") return <OrderSheet order={created(creating)} />;
  if (order) return <OrderSheet order={order} isParked={read.value?.isParked} />;
  return (
    <div className="sheet">
      <h1 className="id">{orderId}</h1>
      <Shown of={read}>
        {() => (
          <Empty title={text.order.missing}>
            <Link href="/orders">{text.app.toOrders}</Link>
          </Empty>
        )}
      </Shown>
    </div>
  );
}

function OrderSheet({ order: known, isParked }: { order: Order; isParked?: boolean }) {
  const text = useText();
  const all = useStore(pending);
  const order = expected(known, all);
  const open = openOf(all, order.orderId);
  const failed = failedOf(all, order.orderId);
  return (
    <article className="order">
      <header className="bar">
        <Link href="/orders" className="back">
          {text.order.back}
        </Link>
        <h1 className="id" title={text.order.title(order.orderId)}>
          {order.orderId}
        </h1>
        <CopyId id={order.orderId} />
        <StatusMark status={order.status} isPending={open !== undefined} />
      </header>
      {open && (
        <p className="note progress" role="status">
          {text.pending.names[open.kind]} · {text.pending[open.progress as "sending"]}
        </p>
      )}
      {isParked && <p className="note">{text.order.parked}</p>}
      {failed && <Refusal of={failed} />}
      <div className="split-order">
        <div>
          <Track order={order} />
          <Facts order={order} />
          <Items order={order} />
        </div>
        <div>
          <Actions order={known} failed={failed} />
          <History orderId={order.orderId} version={known.version} />
        </div>
      </div>
    </article>
  );
}

function CopyId({ id }: { id: string }) {
  const text = useText();
  const [isCopied, setCopied] = useState(false);
  // Only secure pages have a clipboard: https, and pages of this machine.
  if (!navigator.clipboard) return null;
  return (
    <button
      type="button"
      className="quiet"
      onClick={() => navigator.clipboard.writeText(id).then(() => setCopied(true))}
      onBlur={() => setCopied(false)}
    >
      {isCopied ? text.order.copied : text.order.copy}
    </button>
  );
}

/** The way of the order through its states. */
function Track({ order }: { order: Order }) {
  const text = useText();
  const steps =
    order.status === OrderStatus.CANCELLED
      ? [
          { status: OrderStatus.CREATED, at: order.createdAt },
          { status: OrderStatus.CANCELLED, at: order.cancelledAt },
        ]
      : [
          { status: OrderStatus.CREATED, at: order.createdAt },
          { status: OrderStatus.SHIPPED, at: order.shippedAt },
          { status: OrderStatus.DELIVERED, at: order.deliveredAt },
        ];
  return (
    <ol className="track">
      {steps.map(({ status, at }) => (
        <li
          key={status}
          data-done={status <= order.status || undefined}
          aria-current={status === order.status ? "step" : undefined}
        >
          <span className="step">{text.status[status]}</span>
          {status <= order.status && at && <time dateTime={iso(at)}>{time(at)}</time>}
        </li>
      ))}
    </ol>
  );
}

function Facts({ order }: { order: Order }) {
  const text = useText();
  const facts: [string, string][] = [
    [text.order.address, order.shippingAddress],
    [text.order.tracking, order.trackingNumber],
    [text.order.reason, order.cancellationReason],
  ];
  return (
    <dl className="facts panel">
      <dt>{text.order.customer}</dt>
      <dd>
        <Link href={`/customers/${encodeURIComponent(order.customerId)}`}>
          {order.customerName || order.customerId}
        </Link>
        {order.customerName && <span className="id faint"> {order.customerId}</span>}
      </dd>
      {facts.map(
        ([name, value]) =>
          value && (
            <div key={name}>
              <dt>{name}</dt>
              <dd>{value}</dd>
            </div>
          ),
      )}
      {order.version > 0n && (
        <>
          <dt>{text.order.updated}</dt>
          <dd>
            <time dateTime={iso(order.updatedAt)}>{time(order.updatedAt)}</time>
            <span className="faint">
              {" · "}
              {text.order.version} {count(order.version)}
              {" · "}
              {text.app.position(count(order.position))}
            </span>
          </dd>
        </>
      )}
    </dl>
  );
}

function Items({ order }: { order: Order }) {
  const text = useText();
  const [, navigate] = useLocation();
  return (
    <table className="items panel">
      <caption className="hidden">{text.order.items}</caption>
      <thead>
        <tr>
          <th scope="col">{text.order.product}</th>
          <th scope="col" className="number">
            {text.order.quantity}
          </th>
          <th scope="col" className="number">
            {text.order.price}
          </th>
          <th scope="col" className="number">
            {text.order.sum}
          </th>
        </tr>
      </thead>
      <tbody>
        {order.items.map((item, index) => (
          <tr
            key={index}
            onClick={() => navigate(`/products/${encodeURIComponent(item.productId)}`)}
          >
            <td>
              <Link href={`/products/${encodeURIComponent(item.productId)}`}>
                {item.productName || item.productId}
              </Link>
              {item.productName && <span className="id faint"> {item.productId}</span>}
            </td>
            <td className="number">{count(item.quantity)}</td>
            <td className="number">{money(item.unitPrice)}</td>
            <td className="number">{money(item.lineTotal)}</td>
          </tr>
        ))}
      </tbody>
      <tfoot>
        <tr>
          <th scope="row" colSpan={3}>
            {text.order.total}
          </th>
          <td className="number">
            {money(order.totalAmount)} {order.totalAmount?.currencyCode}
          </td>
        </tr>
      </tfoot>
    </table>
  );
}
