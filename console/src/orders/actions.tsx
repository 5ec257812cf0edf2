/** The commands that an order takes in its state: ship, deliver, cancel. */

import { type FormEvent, useState } from "react";
import { type Order, OrderStatus } from "../client/gen/orders/v1/order_pb.js";
import { dismiss, execute, openOf, type Pending, pending } from "../commands.js";
import { useText } from "../preferences.js";
import { can, session } from "../session.js";
import { useStore } from "../store.js";
import { Field } from "../ui.js";
import { useViolations } from "./refusal.js";

type Form = "ship" | "cancel";

interface Props {
  order: Order;
  failed?: Pending;
}

export function Actions({ order, failed }: Props) {
  const text = useText();
  const isAllowed = can(useStore(session), "Command", "command");
  const isBusy = openOf(useStore(pending), order.orderId) !== undefined;
  const [chosen, setChosen] = useState<Form>();
  // A refused command shows its form again, unless the order cannot take it any more.
  const refused = failed?.kind === "ship" || failed?.kind === "cancel" ? failed.kind : undefined;
  const form = chosen ?? refused;
  if (!isAllowed || isBusy) return null;
  const { orderId, version: expectedVersion } = order;
  const close = () => {
    setChosen(undefined);
    if (failed) dismiss(failed.id);
  };
  if (order.status === OrderStatus.SHIPPED) {
    return (
      <div className="actions panel">
        <button
          type="button"
          className="primary"
          onClick={() => execute({ kind: "deliver", request: { orderId, expectedVersion } })}
        >
          {text.order.deliver}
        </button>
      </div>
    );
  }
  if (order.status !== OrderStatus.CREATED) return null;
  if (form === "ship") {
    return (
      <ShipForm key={failed?.id} order={order} failed={failed} onClose={close} onSent={setChosen} />
    );
  }
  if (form === "cancel") {
    return (
      <CancelForm
        key={failed?.id}
        order={order}
        failed={failed}
        onClose={close}
        onSent={setChosen}
      />
    );
  }
  return (
    <div className="actions panel">
      <button type="button" className="primary" onClick={() => setChosen("ship")}>
        {text.order.ship}
      </button>
      <button type="button" onClick={() => setChosen("cancel")}>
        {text.order.cancel}
      </button>
    </div>
  );
}

interface FormProps extends Props {
  onClose: () => void;
  onSent: (none: undefined) => void;
}

function ShipForm({ order, failed, onClose, onSent }: FormProps) {
  const text = useText();
  const before = failed?.kind === "ship" ? failed.request : undefined;
  const [shippingAddress, setAddress] = useState(before?.shippingAddress ?? "");
  const [trackingNumber, setTracking] = useState(before?.trackingNumber ?? "");
  const violations = useViolations(failed?.kind === "ship" ? failed : undefined);
  const submit = (event: FormEvent) => {
    event.preventDefault();
    const { orderId, version: expectedVersion } = order;
    execute({
      kind: "ship",
      request: { orderId, shippingAddress, trackingNumber, expectedVersion },
    });
    onSent(undefined);
  };
  return (
    <form className="panel form" onSubmit={submit}>
      <h2>{text.order.shipTitle}</h2>
      <Field
        label={text.order.address}
        value={shippingAddress}
        rows={2}
        maxLength={500}
        isWide
        isRequired
        autoFocus
        error={violations.shipping_address}
        onChange={setAddress}
      />
      <Field
        label={text.order.tracking}
        value={trackingNumber}
        maxLength={100}
        isWide
        isRequired
        error={violations.tracking_number}
        onChange={setTracking}
      />
      <div className="actions">
        <button type="submit" className="primary">
          {text.order.confirmShip}
        </button>
        <button type="button" onClick={onClose}>
          {text.order.close}
        </button>
      </div>
    </form>
  );
}

function CancelForm({ order, failed, onClose, onSent }: FormProps) {
  const text = useText();
  const before = failed?.kind === "cancel" ? failed.request : undefined;
  const [reason, setReason] = useState(before?.reason ?? "");
  const violations = useViolations(failed?.kind === "cancel" ? failed : undefined);
  const submit = (event: FormEvent) => {
    event.preventDefault();
    const { orderId, version: expectedVersion } = order;
    execute({ kind: "cancel", request: { orderId, reason, expectedVersion } });
    onSent(undefined);
  };
  return (
    <form className="panel form" onSubmit={submit}>
      <h2>{text.order.cancelTitle}</h2>
      <Field
        label={text.order.reason}
        value={reason}
        rows={2}
        maxLength={500}
        isWide
        isRequired
        autoFocus
        error={violations.reason}
        onChange={setReason}
      />
      <div className="actions">
        <button type="submit" className="danger">
          {text.order.cancel}
        </button>
        <button type="button" onClick={onClose}>
          {text.order.close}
        </button>
      </div>
    </form>
  );
}
