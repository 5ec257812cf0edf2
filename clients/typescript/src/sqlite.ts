/** A subscriber's store in an SQLite file, for Node. It needs the package `better-sqlite3`. */

import { isDeepStrictEqual } from "node:util";
import Database from "better-sqlite3";
import type { RecordedEvent } from "./gen/orders/v1/event_pb.js";
import type { SubscribeResponse } from "./gen/orders/v1/event_service_pb.js";
import { type Position, positionOf, type Store } from "./subscriber.js";

/** A store in an SQLite file. Subclasses apply events in `project`. */
export abstract class SqliteStore implements Store {
  readonly database: Database.Database;

  /** Opens or creates the file. `schema` creates `project`'s tables with `IF NOT EXISTS`. */
  constructor(file: string, schema: string) {
    this.database = new Database(file);
    // Positions are 64 bits.
    this.database.defaultSafeIntegers();
    this.database.pragma("journal_mode = WAL");
    this.database.pragma("synchronous = FULL");
    this.database.exec(`
      CREATE TABLE IF NOT EXISTS progress (
        only INTEGER PRIMARY KEY CHECK (only = 1),
        log_id TEXT, position INTEGER, resume_token TEXT NOT NULL DEFAULT ''
      );
      ${schema}
    `);
    this.#inTransaction(() => {
      const columns = this.database.pragma("table_info(progress)") as { name: string }[];
      if (!columns.some(({ name }) => name === "resume_token")) {
        // An earlier version of this client made the file.
        this.database.exec("ALTER TABLE progress ADD COLUMN resume_token TEXT NOT NULL DEFAULT ''");
      }
      this.database.exec("INSERT OR IGNORE INTO progress VALUES (1, '', 0, '')");
    });
  }

  close(): void {
    this.database.close();
  }

  position(): Position {
    const row = this.database
      .prepare("SELECT log_id AS logId, position, resume_token AS resumeToken FROM progress")
      .get();
    return row as Position;
  }

  apply(response: SubscribeResponse, after: Position): boolean {
    return this.#inTransaction(() => {
      if (!isDeepStrictEqual(this.position(), after)) return false;
      for (const event of response.events) this.project(event);
      // A heartbeat also advances the position, past events that the filter skips.
      this.#move(positionOf(response));
      return true;
    });
  }

  /**
   * Goes back to a position after a `HistoryError`, in one transaction.
   *
   * `undo` removes the results of the events after `position` from the tables: all of them for
   * position 0, after which the store takes any log.
   */
  rewind(position: bigint, undo: () => void): void {
    this.#inTransaction(() => {
      undo();
      const logId = position ? this.position().logId : "";
      this.#move({ logId, position, resumeToken: "" });
    });
  }

  #move({ logId, position, resumeToken }: Position): void {
    this.database
      .prepare("UPDATE progress SET log_id = ?, position = ?, resume_token = ?")
      .run(logId, position, resumeToken);
  }

  #inTransaction<T>(work: () => T): T {
    // An immediate transaction excludes other writers before its first read.
    return this.database.transaction(work).immediate();
  }

  /** Applies one event. `event.payload.case` is undefined for an event of unknown type. */
  protected abstract project(event: RecordedEvent): void;
}
