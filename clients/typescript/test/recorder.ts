/** A store that tells what came, and a subscriber with it. */

import type { TestContext } from "node:test";
import type { RecordedEvent } from "../src/gen/orders/v1/event_pb.js";
import { SqliteStore } from "../src/sqlite.js";
import { follow, type FollowOptions, type Store } from "../src/subscriber.js";

/** Every event's position: one that comes twice violates the primary key. */
export class Recorder extends SqliteStore {
  constructor(file: string) {
    super(file, "CREATE TABLE IF NOT EXISTS seen (position INTEGER PRIMARY KEY);");
  }

  protected override project(event: RecordedEvent): void {
    this.database.prepare("INSERT INTO seen VALUES (?)").run(event.position);
  }

  seen(): number[] {
    return this.database.prepare("SELECT position FROM seen").pluck().all().map(Number);
  }
}

/** Follows the log until the test or the returned function ends it. */
export function following(t: TestContext, url: string, store: Store, options?: FollowOptions) {
  const ending = new AbortController();
  const end = async () => {
    ending.abort();
    await ended;
  };
  const ended = follow(url, store, { ...options, signal: ending.signal });
  t.after(end);
  return end;
}
