-- Which log this is: made with the file, and kept with it.
CREATE TABLE log (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    id TEXT NOT NULL
) STRICT;

-- The log. `record` is the event as it is sent (orders.v1.RecordedEvent), without its position.
CREATE TABLE events (
    position INTEGER PRIMARY KEY,
    aggregate_type INTEGER NOT NULL,
    aggregate_id TEXT NOT NULL,
    version INTEGER NOT NULL,
    event_type TEXT NOT NULL,
    schema_version INTEGER NOT NULL,
    record BLOB NOT NULL
) STRICT;

CREATE UNIQUE INDEX events_by_aggregate ON events (aggregate_type, aggregate_id, version);

-- What was answered to which request id, for good.
CREATE TABLE requests (
    request_id TEXT PRIMARY KEY,
    fingerprint BLOB NOT NULL,
    aggregate_id TEXT NOT NULL,
    version INTEGER NOT NULL,
    position INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TRIGGER events_are_never_changed BEFORE UPDATE ON events
BEGIN SELECT RAISE(ABORT, 'events are append-only'); END;

CREATE TRIGGER events_are_never_deleted BEFORE DELETE ON events
BEGIN SELECT RAISE(ABORT, 'events are append-only'); END;

CREATE TRIGGER requests_are_never_changed BEFORE UPDATE ON requests
BEGIN SELECT RAISE(ABORT, 'requests are append-only'); END;

CREATE TRIGGER requests_are_never_deleted BEFORE DELETE ON requests
BEGIN SELECT RAISE(ABORT, 'requests are append-only'); END;
