/** The view of the whole: counts, amounts by day, and how far the read models are. */

import { useEffect, useRef, useState } from "react";
import { durationMs } from "@bufbuild/protobuf/wkt";
import { projections, queries, WAIT } from "./api.js";
import { Chart, type Column } from "./chart.js";
import { nanosOf } from "./client/money.js";
import type {
  CurrencyAmounts,
  DayStatistics,
  GetStatisticsResponse,
} from "./client/gen/orders/v1/query_service_pb.js";
import { count, money } from "./format.js";
import { Statistics } from "./names.js";
import { nameOf } from "./orders/search.js";
import { useText } from "./preferences.js";
import { Empty, Shown, useRead } from "./ui.js";

/** The days that a chart shows. */
const MAX_DAYS = 60;

const STATUS_MS = 2_000;

/** Reads the statistics with the newest days. */
async function statistics(signal: AbortSignal): Promise<GetStatisticsResponse> {
  let answer = await queries.getStatistics({ byDay: true, maxWait: WAIT }, { signal });
  let days = answer.days;
  while (answer.nextPageToken) {
    const pageToken = answer.nextPageToken;
    answer = await queries.getStatistics({ byDay: true, pageToken, maxWait: WAIT }, { signal });
    days = [...days, ...answer.days].slice(-MAX_DAYS);
  }
  return { ...answer, days: days.slice(-MAX_DAYS) };
}

export function OverviewView() {
  const text = useText();
  const read = useRead("statistics", statistics);
  return (
    <div className="page">
      <header className="bar">
        <h1>{text.app.overview}</h1>
      </header>
      <Progress />
      <Shown of={read}>
        {(found) =>
          found.totalOrders === 0n ? (
            <Empty title={text.overview.empty} />
          ) : (
            <>
              <Statistics
                orders={found.totalOrders}
                amounts={found.amounts}
                statuses={found.ordersByStatus}
              />
              <Days days={found.days} currencies={found.amounts.map(currencyOf)} />
            </>
          )
        }
      </Shown>
    </div>
  );
}

/** Returns the currency of amounts, of which the total may be missing. */
function currencyOf({ averageOrderAmount }: CurrencyAmounts): string {
  return averageOrderAmount?.currencyCode ?? "";
}

function Days({ days, currencies }: { days: DayStatistics[]; currencies: string[] }) {
  const text = useText();
  const orders = days.map((day): Column => ({
    label: day.day,
    parts: day.ordersByStatus.map(({ status, count: of }) => ({
      name: nameOf(status) ?? "",
      title: text.status[status] ?? "",
      size: Number(of),
      shown: count(of),
    })),
  }));
  const amounts = (currency: string) =>
    days.map((day): Column => {
      const of = day.amounts.find((it) => currencyOf(it) === currency)?.totalAmount;
      const size = of ? Number(nanosOf(of) / 100_000n) / 10_000 : 0;
      return {
        label: day.day,
        parts: [{ name: "amount", title: currency, size, shown: money(of) }],
      };
    });
  return (
    <div className="charts">
      <Chart
        title={text.overview.days}
        note={text.overview.lastDays(days.length)}
        columns={orders}
      />
      {currencies.map((currency) => (
        <Chart
          key={currency}
          title={text.overview.amounts(currency)}
          note={text.overview.lastDays(days.length)}
          columns={amounts(currency)}
        />
      ))}
    </div>
  );
}

/** The head of the log, its growth, and the lag of each projection. */
function Progress() {
  const text = useText();
  const read = useRead(
    "status",
    async (signal) => {
      const { projections: all } = await projections.getStatus({}, { signal });
      return { all, at: performance.now() };
    },
    { everyMs: STATUS_MS, follows: false },
  );
  const last = useRef<{ head: bigint; at: number }>(undefined);
  const [rate, setRate] = useState<number>();
  useEffect(() => {
    if (!read.value) return;
    const head = read.value.all.reduce(
      (max, it) => (it.headPosition > max ? it.headPosition : max),
      0n,
    );
    if (last.current && read.value.at > last.current.at) {
      const seconds = (read.value.at - last.current.at) / 1000;
      setRate(Number(head - last.current.head) / seconds);
    }
    last.current = { head, at: read.value.at };
  }, [read.value]);
  if (!read.value) return null;
  const head = read.value.all[0]?.headPosition ?? 0n;
  return (
    <dl className="figures">
      <div>
        <dt>{text.overview.head}</dt>
        <dd>{count(head)}</dd>
      </div>
      <div>
        <dt>{text.overview.rate}</dt>
        <dd>{rate === undefined ? "–" : count(Math.round(rate))}</dd>
      </div>
      {read.value.all.map(({ name, lagEvents, lag }) => (
        <div key={name}>
          <dt>
            {text.overview.lag}: {name}
          </dt>
          <dd>
            {lagEvents === 0n
              ? text.overview.none
              : `${text.overview.events(count(lagEvents))} · ${(lag ? durationMs(lag) : 0) / 1000} s`}
          </dd>
        </div>
      ))}
    </dl>
  );
}
