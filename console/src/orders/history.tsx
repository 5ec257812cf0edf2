/** The events of one order, as a timeline. */

import { errorOf, events } from "../api.js";
import type { RecordedEvent } from "../client/gen/orders/v1/event_pb.js";
import { count, iso, money, time } from "../format.js";
import { useText } from "../preferences.js";
import { can, session } from "../session.js";
import { useStore } from "../store.js";
import { Shown, useRead } from "../ui.js";

/** `version` is that of the order: a new one has a new event. */
export function History({ orderId, version }: { orderId: string; version: bigint }) {
  const text = useText();
  const isAllowed = can(useStore(session), "Event", "query", "subscribe");
  if (!isAllowed || version === 0n) return null;
  return (
    <section className="panel history" aria-label={text.order.history}>
      <h2>{text.order.history}</h2>
      <Timeline key={orderId} orderId={orderId} version={version} />
    </section>
  );
}

function Timeline({ orderId, version }: { orderId: string; version: bigint }) {
  const read = useRead(
    `history ${orderId}`,
    async (signal) => {
      try {
        return (await events.getOrderHistory({ orderId }, { signal })).events;
      } catch (failed) {
        // The order exists by the time that its command is confirmed.
        if (errorOf(failed).reason === "ORDER_NOT_FOUND") return [];
        throw failed;
      }
    },
    { follows: false, revision: version },
  );
  return (
    <Shown of={read}>
      {(all) => (
        <ol className="timeline">
          {all.map((event) => (
            <Entry key={event.eventId} event={event} />
          ))}
        </ol>
      )}
    </Shown>
  );
}

function Entry({ event }: { event: RecordedEvent }) {
  const text = useText();
  return (
    <li>
      <span className="event-name">{nameOf(event)}</span>
      <time dateTime={iso(event.occurredAt)}>{time(event.occurredAt)}</time>
      {detailOf(event) && <p>{detailOf(event)}</p>}
      <p className="faint">
        {text.order.version} {count(event.version)} · {text.app.position(count(event.position))}
        {event.actor && ` · ${text.order.by(event.actor)}`}
      </p>
    </li>
  );
}

/** Returns the type of an event, such as `OrderCreated`. */
export function nameOf({ payload }: RecordedEvent): string {
  return payload.case ? payload.case.charAt(0).toUpperCase() + payload.case.slice(1) : "?";
}

/** Returns the fact that an event adds, in a line. */
export function detailOf({ payload }: RecordedEvent): string {
  switch (payload.case) {
    case "orderCreated": {
      const { totalAmount, items } = payload.value;
      const products = items.map(({ quantity, productId }) => `${quantity} × ${productId}`);
      const more = products.length > 3 ? `, +${products.length - 3}` : "";
      const amount = `${money(totalAmount)} ${totalAmount?.currencyCode ?? ""}`;
      return `${amount} · ${products.slice(0, 3).join(", ")}${more}`;
    }
    case "orderShipped":
      return `${payload.value.shippingAddress} · ${payload.value.trackingNumber}`;
    case "orderCancelled":
      return payload.value.reason;
    case "customerRegistered":
    case "customerRenamed":
    case "productRegistered":
    case "productRenamed":
      return payload.value.name;
    default:
      return "";
  }
}
