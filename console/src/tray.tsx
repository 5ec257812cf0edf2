/** Commands that were not done, on every view but their own. */

import { Link, useLocation } from "wouter";
import { again, dismiss, isOpen, type Pending, pending } from "./commands.js";
import { useText } from "./preferences.js";
import { useStore } from "./store.js";
import { useReason } from "./ui.js";

function hrefOf({ kind, subject }: Pending): string {
  const id = encodeURIComponent(subject);
  if (kind === "customer") return `/customers/${id}`;
  if (kind === "product") return `/products/${id}`;
  return `/orders/${id}`;
}

export function Tray() {
  const text = useText();
  const [path] = useLocation();
  const failed = useStore(pending).filter((it) => !isOpen(it) && hrefOf(it) !== path);
  if (failed.length === 0) return null;
  return (
    <aside className="tray" aria-label={text.pending.tray} role="alert">
      {failed.map((entry) => (
        <Entry key={entry.id} entry={entry} />
      ))}
    </aside>
  );
}

function Entry({ entry }: { entry: Pending }) {
  const text = useText();
  const reason = useReason();
  const { progress, error } = entry;
  return (
    <div className="refusal">
      <strong>{text.pending.of(text.pending.names[entry.kind], entry.subject)}</strong>
      {progress === "offline" && <p>{text.pending.offline}</p>}
      {progress === "unknown" && <p>{text.pending.unknown}</p>}
      {progress === "refused" && error && <p>{reason(error)}</p>}
      <div className="actions">
        <Link href={hrefOf(entry)}>{text.pending.edit}</Link>
        {progress !== "refused" && (
          <button type="button" onClick={() => again(entry)}>
            {text.pending.again}
          </button>
        )}
        <button type="button" onClick={() => dismiss(entry.id)}>
          {text.pending.dismiss}
        </button>
      </div>
    </div>
  );
}
