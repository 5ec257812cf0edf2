/** The shared worker: the hub of all tabs. */

import { type Port, serve } from "./hub.js";

interface SharedWorkerScope {
  onconnect: ((event: MessageEvent) => void) | null;
}

(self as unknown as SharedWorkerScope).onconnect = ({ ports }) => {
  if (ports[0]) serve(ports[0] as Port);
};
