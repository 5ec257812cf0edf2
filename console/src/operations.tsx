/** The view for operators: projections, parked orders, rebuild and verify. */

import { durationMs } from "@bufbuild/protobuf/wkt";
import { type ReactNode, useEffect, useRef, useState } from "react";
import { Link } from "wouter";
import { errorOf, projections } from "./api.js";
import type { OrderlogError } from "./client/errors.js";
import type { ProjectionStatus } from "./client/gen/orders/v1/projection_service_pb.js";
import { count } from "./format.js";
import { useText } from "./preferences.js";
import { can, session } from "./session.js";
import { useStore } from "./store.js";
import { Shown, useRead, useReason } from "./ui.js";

const STATUS_MS = 2_000;

/** The differences that the page lists. */
const MAX_DIFFERENCES = 200;

export function OperationsView() {
  const text = useText();
  const isOperator = can(useStore(session), "Projection", "operate");
  const read = useRead("projections", (signal) => projections.getStatus({}, { signal }), {
    everyMs: STATUS_MS,
    follows: false,
  });
  return (
    <div className="page">
      <header className="bar">
        <h1>{text.app.operations}</h1>
      </header>
      <Shown of={read}>{({ projections: all }) => <Projections all={all} />}</Shown>
      {isOperator ? (
        <>
          <Parked />
          <div className="pair-panels">
            <Rebuild />
            <Verify />
          </div>
        </>
      ) : (
        <p className="note">{text.operations.reads}</p>
      )}
    </div>
  );
}

function Projections({ all }: { all: ProjectionStatus[] }) {
  const text = useText();
  return (
    <section className="panel list" aria-label={text.operations.projections}>
      <h2>{text.operations.projections}</h2>
      <table className="data">
        <thead>
          <tr>
            <th scope="col">{text.operations.projection}</th>
            <th scope="col">{text.operations.state}</th>
            <th scope="col" className="number">
              {text.operations.position}
            </th>
            <th scope="col" className="number">
              {text.operations.lag}
            </th>
            <th scope="col" className="number">
              {text.operations.generation}
            </th>
            <th scope="col" className="number">
              {text.operations.parked}
            </th>
          </tr>
        </thead>
        <tbody>
          {all.map((it) => (
            <tr key={it.name}>
              <th scope="row">{it.name}</th>
              <td>
                <span className="status" data-state={it.state}>
                  {text.operations.states[it.state]}
                </span>
                {it.error && <p className="error">{it.error}</p>}
              </td>
              <td className="number">
                {count(it.position)} <span className="faint">/ {count(it.headPosition)}</span>
              </td>
              <td className="number">
                {it.lagEvents === 0n
                  ? text.overview.none
                  : `${text.overview.events(count(it.lagEvents))} · ${(it.lag ? durationMs(it.lag) : 0) / 1000} s`}
              </td>
              <td className="number">{count(it.generation)}</td>
              <td className="number">{count(it.parkedCount)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}

function Parked() {
  const text = useText();
  const reason = useReason();
  const [result, setResult] = useState("");
  const read = useRead("parked", (signal) => projections.listParked({}, { signal }), {
    everyMs: 5 * STATUS_MS,
    follows: false,
  });
  const retry = async (orderIds: string[]) => {
    try {
      const { recoveredCount, parkedCount } = await projections.retryParked({ orderIds });
      setResult(text.operations.retried(count(recoveredCount), count(parkedCount)));
    } catch (failed) {
      setResult(reason(errorOf(failed)));
    }
    read.retry();
  };
  return (
    <section className="panel" aria-label={text.operations.parkedTitle}>
      <h2>{text.operations.parkedTitle}</h2>
      {result && <p role="status">{result}</p>}
      <Shown of={read}>
        {({ parked }) =>
          parked.length === 0 ? (
            <p className="faint">{text.operations.parkedNone}</p>
          ) : (
            <>
              <button type="button" onClick={() => retry([])}>
                {text.operations.retryAll}
              </button>
              <table className="data">
                <thead>
                  <tr>
                    <th scope="col">{text.operations.order}</th>
                    <th scope="col">{text.operations.projection}</th>
                    <th scope="col">{text.operations.error}</th>
                    <th scope="col" className="number">
                      {text.operations.waiting}
                    </th>
                    <th scope="col">{text.operations.retry}</th>
                  </tr>
                </thead>
                <tbody>
                  {parked.map((it) => (
                    <tr key={`${it.projection} ${it.orderId}`}>
                      <td className="id">
                        <Link href={`/orders/${encodeURIComponent(it.orderId)}`}>{it.orderId}</Link>
                      </td>
                      <td>{it.projection}</td>
                      <td>{it.error}</td>
                      <td className="number">{count(it.eventCount)}</td>
                      <td>
                        <button type="button" onClick={() => retry([it.orderId])}>
                          {text.operations.retry}
                        </button>
                      </td>
                    </tr>
                  ))}
                </tbody>
              </table>
            </>
          )
        }
      </Shown>
    </section>
  );
}

interface Step {
  title: string;
  done: bigint;
  total: bigint;
}

interface Job {
  isRunning: boolean;
  steps: Step[];
  outcome?: string;
  error?: OrderlogError;
}

/** Runs a stream of progress, which ends with the page or when the user stops it. */
function useJob() {
  const text = useText();
  const [job, setJob] = useState<Job>({ isRunning: false, steps: [] });
  const stop = useRef<AbortController>(undefined);
  useEffect(() => () => stop.current?.abort(), []);
  const show = (step: Step) =>
    setJob((it) => ({
      ...it,
      steps: [...it.steps.filter((one) => one.title !== step.title), step],
    }));
  const run = async (
    work: (signal: AbortSignal, show: (step: Step) => void) => Promise<string>,
  ) => {
    stop.current = new AbortController();
    const { signal } = stop.current;
    setJob({ isRunning: true, steps: [] });
    try {
      const outcome = await work(signal, show);
      setJob((it) => ({ ...it, isRunning: false, outcome }));
    } catch (failed) {
      const error = signal.aborted ? undefined : errorOf(failed);
      const outcome = signal.aborted ? text.operations.stopped : undefined;
      setJob((it) => ({ ...it, isRunning: false, outcome, error }));
    }
  };
  return { job, run, stop: () => stop.current?.abort() };
}

function JobSteps({ job }: { job: Job }) {
  const reason = useReason();
  return (
    <div role="status">
      {job.steps.map(({ title, done, total }) => (
        <label key={title} className="progress-row">
          <span>{title}</span>
          <progress max={Math.max(Number(total), 1)} value={Number(total === 0n ? 1n : done)} />
          <span className="number">
            {count(done)} / {count(total)}
          </span>
        </label>
      ))}
      {job.outcome && <p>{job.outcome}</p>}
      {job.error && <p className="error">{reason(job.error)}</p>}
    </div>
  );
}

interface PartProps {
  value: string;
  onChange: (value: string) => void;
  parts: string[];
}

function Part({ value, onChange, parts }: PartProps) {
  const text = useText();
  return (
    <label className="sort">
      <span>{text.operations.what}</span>
      <select value={value} onChange={(event) => onChange(event.target.value)}>
        <option value="">{text.operations.both}</option>
        {parts.map((part) => (
          <option key={part}>{part}</option>
        ))}
      </select>
    </label>
  );
}

function JobPanel({ title, lead, children }: { title: string; lead: string; children: ReactNode }) {
  return (
    <section className="panel" aria-label={title}>
      <h2>{title}</h2>
      <p className="faint">{lead}</p>
      {children}
    </section>
  );
}

function Rebuild() {
  const text = useText();
  const [part, setPart] = useState("");
  const { job, run, stop } = useJob();
  const start = (rollback: boolean) =>
    run(async (signal, show) => {
      const request = { projections: part ? [part] : [], rollback };
      for await (const it of projections.rebuild(request, { signal })) {
        const stage = text.operations.stages[it.stage] ?? "";
        const title = text.operations.progress(`${it.projection} ${it.generation}`, stage);
        show({ title, done: it.donePosition, total: it.totalPosition });
      }
      return text.operations.finished;
    });
  return (
    <JobPanel title={text.operations.rebuild} lead={text.operations.rebuildLead}>
      <div className="tools">
        <Part value={part} onChange={setPart} parts={["documents", "search"]} />
        {job.isRunning ? (
          <button type="button" onClick={stop}>
            {text.operations.stop}
          </button>
        ) : (
          <>
            <button type="button" onClick={() => start(false)}>
              {text.operations.rebuild}
            </button>
            <button type="button" title={text.operations.rollbackLead} onClick={() => start(true)}>
              {text.operations.rollback}
            </button>
          </>
        )}
      </div>
      <JobSteps job={job} />
    </JobPanel>
  );
}

function Verify() {
  const text = useText();
  const [part, setPart] = useState("");
  const [found, setFound] = useState<{ subject: string; problem: string }[]>([]);
  const { job, run, stop } = useJob();
  const start = () =>
    run(async (signal, show) => {
      setFound([]);
      let differences = 0;
      for await (const it of projections.verify({ parts: part ? [part] : [] }, { signal })) {
        differences += it.differences.length;
        setFound((now) => [...now, ...it.differences].slice(0, MAX_DIFFERENCES));
        show({ title: it.part, done: it.donePosition, total: it.totalPosition });
      }
      return differences === 0
        ? text.operations.verified
        : text.operations.differences(count(differences));
    });
  return (
    <JobPanel title={text.operations.verify} lead={text.operations.verifyLead}>
      <div className="tools">
        <Part value={part} onChange={setPart} parts={["log", "documents", "search"]} />
        {job.isRunning ? (
          <button type="button" onClick={stop}>
            {text.operations.stop}
          </button>
        ) : (
          <button type="button" onClick={start}>
            {text.operations.verify}
          </button>
        )}
      </div>
      <JobSteps job={job} />
      {found.length > 0 && (
        <ul className="differences">
          {found.map(({ subject, problem }, index) => (
            <li key={index}>
              <strong>{subject}</strong> {problem}
            </li>
          ))}
        </ul>
      )}
    </JobPanel>
  );
}
