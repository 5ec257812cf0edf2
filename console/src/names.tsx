/** The views of customers and products: those with the most orders, and each one by id. */

import { type FormEvent, useState } from "react";
import { Link, useLocation } from "wouter";
import { errorOf, queries, WAIT } from "./api.js";
import type { CurrencyAmounts, StatusCount } from "./client/gen/orders/v1/query_service_pb.js";
import { confirmed, execute, isOpen, type Pending, pending } from "./commands.js";
import { count, money } from "./format.js";
import { Suggestions } from "./orders/create.js";
import { Refusal, useViolations } from "./orders/refusal.js";
import { type Kind, lookUp, names } from "./known.js";
import { OrderTable, useOrderPages } from "./orders/table.js";
import { useText } from "./preferences.js";
import { can, session } from "./session.js";
import { useStore } from "./store.js";
import { Empty, Field, Shown, StatusMark, useRead } from "./ui.js";

const FACET = { customer: "customer_id", product: "product_id" } as const;

function hrefOf(kind: Kind, id: string): string {
  return `/${kind}s/${encodeURIComponent(id)}`;
}

/** Reads the ids with the most orders. */
async function top(kind: Kind, signal: AbortSignal) {
  const facets = [FACET[kind]];
  const answer = await queries.searchOrders({ pageSize: 1, facets, maxWait: WAIT }, { signal });
  const values = answer.facets[0]?.values ?? [];
  await lookUp(
    kind,
    values.map((it) => it.value),
    signal,
  );
  return values;
}

export function NamesView({ kind }: { kind: Kind }) {
  const text = useText();
  const [, navigate] = useLocation();
  const [wanted, setWanted] = useState("");
  const known = useStore(names[kind]);
  const read = useRead(`top ${kind}`, (signal) => top(kind, signal));
  const open = (event: FormEvent) => {
    event.preventDefault();
    if (wanted.trim()) navigate(hrefOf(kind, wanted.trim()));
  };
  return (
    <div className="page">
      <header className="bar">
        <h1>{text.app[`${kind}s`]}</h1>
        <form className="inline" onSubmit={open}>
          <Field
            label={text.names.find}
            value={wanted}
            onChange={setWanted}
            placeholder="ID"
            list={`known-${kind}`}
            isLabelHidden
          />
          <Suggestions kind={kind} />
          <button type="submit">{text.names.find}</button>
        </form>
      </header>
      <Shown of={read}>
        {(rows) =>
          rows.length === 0 ? (
            <Empty title={text.names.none[kind]}>
              <p>{text.names.emptyLead}</p>
            </Empty>
          ) : (
            <section className="panel list" aria-label={text.names.top}>
              <h2>{text.names.top}</h2>
              <div className="rows" tabIndex={0}>
                <table className="data">
                  <thead>
                    <tr>
                      <th scope="col">{text.list[kind]}</th>
                      <th scope="col">{text.names.name}</th>
                      <th scope="col" className="number">
                        {text.names.orders}
                      </th>
                    </tr>
                  </thead>
                  <tbody>
                    {rows.map(({ value: id, count: orders }) => (
                      <tr key={id} onClick={() => navigate(hrefOf(kind, id))}>
                        <td className="id">
                          <Link href={hrefOf(kind, id)}>{id}</Link>
                        </td>
                        <td>
                          {known.get(id) || <span className="faint">{text.names.unnamed}</span>}
                        </td>
                        <td className="number">{count(orders)}</td>
                      </tr>
                    ))}
                  </tbody>
                </table>
              </div>
            </section>
          )
        }
      </Shown>
    </div>
  );
}

export function CustomerView({ id }: { id: string }) {
  const text = useText();
  const read = useRead(`customer ${id}`, async (signal) => {
    const request = { customerId: id, minPosition: confirmed.get(), maxWait: WAIT };
    try {
      return { found: await queries.getCustomerStatistics(request, { signal }) };
    } catch (failed) {
      if (errorOf(failed).reason === "CUSTOMER_NOT_FOUND") return {};
      throw failed;
    }
  });
  return (
    <div className="page">
      <Shown of={read}>
        {({ found }) => (
          <>
            <Title kind="customer" id={id} name={found?.customerName ?? ""} />
            {!found && <Empty title={text.names.missing} />}
            {found && (
              <Statistics
                orders={found.totalOrders}
                amounts={found.amounts}
                statuses={found.ordersByStatus}
              />
            )}
            {found && found.parkedOrders > 0n && (
              <p className="note">{text.names.parked(count(found.parkedOrders))}</p>
            )}
          </>
        )}
      </Shown>
      <OrdersOf kind="customer" id={id} />
    </div>
  );
}

export function ProductView({ id }: { id: string }) {
  const read = useRead(`product ${id}`, async (signal) => {
    const found = await queries.searchOrders(
      {
        productIds: [id],
        facets: ["status"],
        pageSize: 1,
        minPosition: confirmed.get(),
        maxWait: WAIT,
      },
      { signal },
    );
    const item = found.orders[0]?.items.find((it) => it.productId === id);
    return { found, name: item?.productName ?? "" };
  });
  return (
    <div className="page">
      <Shown of={read}>
        {({ found, name }) => (
          <>
            <Title kind="product" id={id} name={name} />
            <Statistics orders={found.totalSize} amounts={[]} statuses={[]} />
          </>
        )}
      </Shown>
      <OrdersOf kind="product" id={id} />
    </div>
  );
}

function Title({ kind, id, name }: { kind: Kind; id: string; name: string }) {
  const text = useText();
  const all = useStore(pending);
  const isAllowed = can(useStore(session), "Command", "command");
  const [isOpened, setOpened] = useState(false);
  const ofThis = all.filter((it) => it.kind === kind && it.subject === id);
  const open = ofThis.find(isOpen);
  const failed = ofThis.find((it) => !isOpen(it));
  const expected = open?.kind === kind ? (open.request.name ?? name) : name;
  return (
    <>
      <header className="bar">
        <Link href={`/${kind}s`} className="back">
          {text.app[`${kind}s`]}
        </Link>
        <h1>{expected || id}</h1>
        {expected && <span className="id faint">{id}</span>}
        {open && <span className="pending-mark">{text.pending.label}</span>}
        {isAllowed && !isOpened && !failed && (
          <button type="button" onClick={() => setOpened(true)}>
            {name ? text.names.rename : text.names.register}
          </button>
        )}
      </header>
      {failed && <Refusal of={failed} />}
      {isAllowed && (isOpened || failed) && (
        <Rename
          key={failed?.id}
          kind={kind}
          id={id}
          name={name}
          failed={failed}
          onDone={() => setOpened(false)}
        />
      )}
    </>
  );
}

interface RenameProps {
  kind: Kind;
  id: string;
  name: string;
  failed?: Pending;
  onDone: () => void;
}

function Rename({ kind, id, name: present, failed, onDone }: RenameProps) {
  const text = useText();
  const before = failed?.kind === kind ? failed.request.name : undefined;
  const [name, setName] = useState(before ?? present);
  const violations = useViolations(failed);
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (kind === "customer") execute({ kind, request: { customerId: id, name } });
    else execute({ kind, request: { productId: id, name } });
    onDone();
  };
  return (
    <form className="panel inline" onSubmit={submit}>
      <Field
        label={text.names.name}
        value={name}
        maxLength={200}
        isRequired
        autoFocus
        error={violations.name}
        onChange={setName}
      />
      <button type="submit" className="primary">
        {text.names.save}
      </button>
      <button type="button" onClick={onDone}>
        {text.order.close}
      </button>
    </form>
  );
}

interface StatisticsProps {
  orders: bigint;
  amounts: CurrencyAmounts[];
  statuses: StatusCount[];
}

export function Statistics({ orders, amounts, statuses }: StatisticsProps) {
  const text = useText();
  return (
    <dl className="figures">
      <div>
        <dt>{text.names.orders}</dt>
        <dd>{count(orders)}</dd>
      </div>
      {amounts.map(({ totalAmount, averageOrderAmount }) => (
        <div key={averageOrderAmount?.currencyCode}>
          <dt>
            {text.names.total} {averageOrderAmount?.currencyCode}
          </dt>
          <dd>{money(totalAmount)}</dd>
          <dd className="faint">
            {text.names.average} {money(averageOrderAmount)}
          </dd>
        </div>
      ))}
      {statuses.length > 0 && (
        <div>
          <dt>{text.names.byStatus}</dt>
          {statuses.map(({ status, count: of }) => (
            <dd key={status} className="pair">
              <StatusMark status={status} /> <span className="number">{count(of)}</span>
            </dd>
          ))}
        </div>
      )}
    </dl>
  );
}

function OrdersOf({ kind, id }: { kind: Kind; id: string }) {
  const text = useText();
  const key = new URLSearchParams({ [kind]: id }).toString();
  const { pages, view } = useOrderPages(key);
  return (
    <section className="panel list" aria-label={text.names.orders}>
      <h2>
        {text.names.orders} <Link href={`/orders?${key}`}>{text.names.all}</Link>
      </h2>
      <OrderTable pages={pages} view={view} isFiltered />
    </section>
  );
}
