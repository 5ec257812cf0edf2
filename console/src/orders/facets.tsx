/** The filters of the list, with the number of orders that each would leave. */

import { queries, WAIT } from "../api.js";
import type { Facet } from "../client/gen/orders/v1/query_service_pb.js";
import { count } from "../format.js";
import { lookUp, names } from "../known.js";
import { useText } from "../preferences.js";
import { useStore } from "../store.js";
import { Field, useRead } from "../ui.js";
import {
  hasFilters,
  type Many,
  type One,
  requestOf,
  STATUSES,
  statusOf,
  toggled,
  withOne,
} from "./search.js";

const FIELDS: Record<Many, string> = {
  status: "status",
  customer: "customer_id",
  product: "product_id",
};
const MANY: Many[] = ["status", "customer", "product"];

/** The values that a list of filters shows. */
const MAX_VALUES = 8;

/** Counts the orders by each field. The filter of a field does not count for its own values. */
async function counts(params: URLSearchParams, signal: AbortSignal) {
  const free = MANY.filter((name) => !params.has(name));
  const asked = [free, ...MANY.filter((name) => params.has(name)).map((name) => [name])];
  const answers = asked
    .filter((names) => names.length > 0)
    .map((names) => {
      const without = new URLSearchParams(params);
      for (const name of names) without.delete(name);
      const facets = names.map((name) => FIELDS[name]);
      const request = { ...requestOf(without), pageSize: 1, facets, maxWait: WAIT };
      return queries.searchOrders(request, { signal });
    });
  const facets = (await Promise.all(answers)).flatMap((answer) => answer.facets);
  for (const kind of ["customer", "product"] as const) {
    const shown = valuesOf(facets, kind).slice(0, MAX_VALUES);
    const ids = [...shown.map((it) => it.value), ...params.getAll(kind)];
    await lookUp(kind, ids, signal);
  }
  return facets;
}

interface Props {
  params: URLSearchParams;
  onParams: (params: URLSearchParams) => void;
}

export function Facets({ params, onParams }: Props) {
  const text = useText();
  const read = useRead(`facets ${params}`, (signal) => counts(params, signal));
  const facets = read.value ?? [];
  return (
    <aside className="facets" aria-label={text.list.filters}>
      <StatusFacet facets={facets} params={params} onParams={onParams} />
      <ValueFacet name="customer" facets={facets} params={params} onParams={onParams} />
      <ValueFacet name="product" facets={facets} params={params} onParams={onParams} />
      <Ranges params={params} onParams={onParams} />
      {hasFilters(params) && (
        <button type="button" className="quiet" onClick={() => onParams(cleared(params))}>
          {text.list.reset}
        </button>
      )}
    </aside>
  );
}

function cleared(params: URLSearchParams): URLSearchParams {
  const kept = new URLSearchParams();
  for (const name of ["q", "sort"]) if (params.has(name)) kept.set(name, params.get(name)!);
  return kept;
}

function valuesOf(facets: Facet[], name: Many) {
  return facets.find((facet) => facet.field === FIELDS[name])?.values ?? [];
}

function StatusFacet({ facets, params, onParams }: Props & { facets: Facet[] }) {
  const text = useText();
  const values = valuesOf(facets, "status");
  return (
    <fieldset>
      <legend>{text.list.status}</legend>
      {STATUSES.map((name) => {
        const found = values.find((it) => it.value === `ORDER_STATUS_${name.toUpperCase()}`);
        return (
          <label key={name} className="facet">
            <input
              type="checkbox"
              checked={params.getAll("status").includes(name)}
              onChange={() => onParams(toggled(params, "status", name))}
            />
            <span className="status" data-status={name}>
              {text.status[statusOf(name)]}
            </span>
            <span className="number">{count(found?.count ?? 0)}</span>
          </label>
        );
      })}
    </fieldset>
  );
}

function ValueFacet({
  name,
  facets,
  params,
  onParams,
}: Props & { facets: Facet[]; name: "customer" | "product" }) {
  const text = useText();
  const chosen = params.getAll(name);
  const known = useStore(names[name]);
  const found = valuesOf(facets, name);
  const missing = chosen.filter((id) => !found.some((it) => it.value === id));
  const values = [
    ...missing.map((value) => ({ value, count: 0n })),
    ...found.filter((it) => chosen.includes(it.value)),
    ...found.filter((it) => !chosen.includes(it.value)),
  ].slice(0, Math.max(MAX_VALUES, chosen.length));
  if (values.length === 0) return null;
  return (
    <fieldset>
      <legend>{text.list[name]}</legend>
      {values.map(({ value, count: orders }) => (
        <label key={value} className="facet">
          <input
            type="checkbox"
            checked={chosen.includes(value)}
            onChange={() => onParams(toggled(params, name, value))}
          />
          <span className={known.get(value) ? "name" : "name id"} title={value}>
            {known.get(value) || value}
          </span>
          <span className="number">{count(orders)}</span>
        </label>
      ))}
    </fieldset>
  );
}

function Ranges({ params, onParams }: Props) {
  const text = useText();
  const one = (name: One, label: string, type?: string) => (
    <Field
      label={label}
      type={type}
      inputMode={type ? undefined : "decimal"}
      value={params.get(name) ?? ""}
      onChange={(value) => onParams(withOne(params, name, value))}
    />
  );
  return (
    <div className="ranges">
      {one("from", text.list.from, "date")}
      {one("to", text.list.to, "date")}
      {one("min", text.list.min)}
      {one("max", text.list.max)}
    </div>
  );
}
