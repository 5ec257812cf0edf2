/** The form of a new order. It shows a refused order again, with the reasons at its fields. */

import { type FormEvent, useState } from "react";
import { useLocation } from "wouter";
import type { CreateOrderItem } from "../client/gen/orders/v1/command_service_pb.js";
import { money } from "../client/money.js";
import { uuid7 } from "../client/uuid.js";
import { dismiss, execute, type Pending } from "../commands.js";
import { money as shown } from "../format.js";
import { type Kind, names } from "../known.js";
import { useText } from "../preferences.js";
import { useStore } from "../store.js";
import { Field } from "../ui.js";
import { Refusal, useViolations } from "./refusal.js";

interface Line {
  key: string;
  productId: string;
  quantity: string;
  price: string;
}

interface Draft {
  orderId: string;
  customerId: string;
  currency: string;
  lines: Line[];
}

/** The ids that a field offers. */
const MAX_SUGGESTIONS = 200;

const CURRENCY_KEY = "orderlog-currency";

function emptyLine(): Line {
  return { key: uuid7(), productId: "", quantity: "1", price: "" };
}

/** Returns the entries of a refused order, or those of a new one. */
function draftOf(refused?: Pending & { kind: "create" }): Draft {
  if (!refused) {
    const currency = localStorage.getItem(CURRENCY_KEY) ?? "EUR";
    return { orderId: uuid7(), customerId: "", currency, lines: [emptyLine()] };
  }
  const { orderId = "", customerId = "", items = [] } = refused.request;
  const lines = items.map((item) => ({
    key: uuid7(),
    productId: item.productId ?? "",
    quantity: String(item.quantity),
    price: shown(item.unitPrice as CreateOrderItem["unitPrice"]).replaceAll(",", ""),
  }));
  return { orderId, customerId, currency: items[0]?.unitPrice?.currencyCode ?? "", lines };
}

export function CreateOrder({ refused }: { refused?: Pending & { kind: "create" } }) {
  const text = useText();
  const [, navigate] = useLocation();
  const [draft, setDraft] = useState(() => draftOf(refused));
  const [own, setOwn] = useState<Record<string, string>>({});
  const violations = { ...useViolations(refused), ...own };
  const change = (to: Partial<Draft>) => setDraft((it) => ({ ...it, ...to }));
  const changeLine = (key: string, to: Partial<Line>) =>
    change({
      lines: draft.lines.map((line) => (line.key === key ? { ...line, ...to } : line)),
    });

  const submit = (event: FormEvent) => {
    event.preventDefault();
    const wrong: Record<string, string> = {};
    draft.lines.forEach((line, index) => {
      if (!/^\d{1,15}(\.\d{1,4})?$/.test(line.price.trim())) {
        wrong[`items[${index}].unit_price`] = text.create.decimal;
      }
      if (!/^\d{1,7}$/.test(line.quantity.trim())) {
        wrong[`items[${index}].quantity`] = text.create.whole;
      }
    });
    setOwn(wrong);
    if (Object.keys(wrong).length > 0) return;
    localStorage.setItem(CURRENCY_KEY, draft.currency);
    const items = draft.lines.map((line) => ({
      productId: line.productId.trim(),
      quantity: Number(line.quantity),
      unitPrice: money(draft.currency.trim().toUpperCase(), line.price.trim()),
    }));
    const { orderId, customerId } = draft;
    execute({
      kind: "create",
      request: { orderId: orderId.trim(), customerId: customerId.trim(), items },
    });
    navigate(`/orders/${encodeURIComponent(orderId.trim())}`);
  };

  return (
    <form className="sheet" onSubmit={submit}>
      <h1>{text.create.title}</h1>
      <Suggestions kind="customer" />
      <Suggestions kind="product" />
      {refused && <Refusal of={refused} />}
      <div className="grid">
        <Field
          label={text.create.customer}
          value={draft.customerId}
          hint={text.create.customerHint}
          error={violations.customer_id}
          isRequired
          autoFocus
          list="known-customer"
          onChange={(customerId) => change({ customerId })}
        />
        <Field
          label={text.create.currency}
          value={draft.currency}
          maxLength={3}
          error={violations["items[0].unit_price.currency_code"]}
          onChange={(currency) => change({ currency })}
        />
      </div>
      <fieldset className="lines">
        <legend>{text.create.items}</legend>
        {draft.lines.map((line, index) => (
          <LineFields
            key={line.key}
            line={line}
            index={index}
            violations={violations}
            onChange={(to) => changeLine(line.key, to)}
            onRemove={
              draft.lines.length > 1
                ? () => change({ lines: draft.lines.filter((it) => it !== line) })
                : undefined
            }
          />
        ))}
        {violations.items && <span className="error">{violations.items}</span>}
        <button
          type="button"
          className="quiet"
          onClick={() => change({ lines: [...draft.lines, emptyLine()] })}
        >
          {text.create.add}
        </button>
      </fieldset>
      <Field
        label={text.create.id}
        value={draft.orderId}
        hint={text.create.idHint}
        error={violations.order_id}
        isWide
        onChange={(orderId) => change({ orderId })}
      />
      <div className="actions">
        <button type="submit" className="primary">
          {text.create.submit}
        </button>
        <button
          type="button"
          onClick={() => {
            if (refused) dismiss(refused.id);
            navigate("/orders");
          }}
        >
          {text.create.discard}
        </button>
      </div>
    </form>
  );
}

/** Offers the ids that the page knows. Any other id is as good. */
export function Suggestions({ kind }: { kind: Kind }) {
  const known = useStore(names[kind]);
  return (
    <datalist id={`known-${kind}`}>
      {[...known].slice(-MAX_SUGGESTIONS).map(([id, name]) => (
        <option key={id} value={id}>
          {name}
        </option>
      ))}
    </datalist>
  );
}

interface LineProps {
  line: Line;
  index: number;
  violations: Record<string, string>;
  onChange: (to: Partial<Line>) => void;
  onRemove?: () => void;
}

function LineFields({ line, index, violations, onChange, onRemove }: LineProps) {
  const text = useText();
  const of = (name: string) => violations[`items[${index}].${name}`];
  return (
    <div className="line">
      <Field
        label={text.create.product}
        value={line.productId}
        error={of("product_id")}
        isRequired
        list="known-product"
        onChange={(productId) => onChange({ productId })}
      />
      <Field
        label={text.create.quantity}
        value={line.quantity}
        inputMode="numeric"
        error={of("quantity")}
        onChange={(quantity) => onChange({ quantity })}
      />
      <Field
        label={text.create.price}
        value={line.price}
        inputMode="decimal"
        error={of("unit_price")}
        isRequired
        onChange={(price) => onChange({ price })}
      />
      {onRemove && (
        <button
          type="button"
          className="quiet"
          aria-label={text.create.remove(index + 1)}
          onClick={onRemove}
        >
          ×
        </button>
      )}
    </div>
  );
}
