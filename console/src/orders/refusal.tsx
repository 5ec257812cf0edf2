/** The reason why a command was not done, where its form is. */

import { again, dismiss, type Pending } from "../commands.js";
import { count } from "../format.js";
import { useText } from "../preferences.js";
import { useReason } from "../ui.js";

/** Returns the broken rule of each field of a refused command. */
export function useViolations(refused?: Pending): Record<string, string> {
  return refused?.progress === "refused" ? (refused.error?.violations ?? {}) : {};
}

/** Says why a command was not done, and offers what helps. */
export function Refusal({ of }: { of: Pending }) {
  const text = useText();
  const reason = useReason();
  const isMismatch = of.error?.reason === "VERSION_MISMATCH";
  const status = of.newer && (text.status[of.newer.status] ?? "");
  return (
    <div className="refusal" role="alert">
      <strong>{text.pending.refused}</strong>
      {of.progress === "offline" && <p>{text.pending.offline}</p>}
      {of.progress === "unknown" && <p>{text.pending.unknown}</p>}
      {of.progress === "refused" && !isMismatch && of.error && <p>{reason(of.error)}</p>}
      {of.newer && isMismatch && <p>{text.pending.newer(count(of.newer.version), status ?? "")}</p>}
      {of.newer && !isMismatch && <p>{text.pending.state(status ?? "")}</p>}
      <div className="actions">
        {(of.progress === "offline" || of.progress === "unknown") && (
          <button type="button" onClick={() => again(of)}>
            {text.pending.again}
          </button>
        )}
        {of.progress !== "unknown" && of.kind !== "create" && (
          <button type="button" onClick={() => dismiss(of.id)}>
            {isMismatch ? text.pending.takeNewer : text.pending.dismiss}
          </button>
        )}
      </div>
    </div>
  );
}
