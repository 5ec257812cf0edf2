-- Which log this is: made with the database, and kept with it.
CREATE TABLE log (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    id TEXT NOT NULL
);

-- The position of the newest event. Whoever appends holds this row's lock until the commit: so
-- positions are given in the order of commits, and a rollback leaves no hole. Each append leaves an
-- old version of the row behind, for which its page has room.
CREATE TABLE log_head (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    position BIGINT NOT NULL
) WITH (fillfactor = 10);

INSERT INTO log_head VALUES (1, 0);

-- The log. `record` is the event as it is sent (orders.v1.RecordedEvent), without its position.
CREATE TABLE events (
    position BIGINT PRIMARY KEY,
    aggregate_type INTEGER NOT NULL,
    aggregate_id TEXT COLLATE "C" NOT NULL,
    version BIGINT NOT NULL,
    event_type TEXT NOT NULL,
    schema_version INTEGER NOT NULL,
    record BYTEA NOT NULL,
    CONSTRAINT events_by_aggregate UNIQUE (aggregate_type, aggregate_id, version)
);

-- What was answered to which request id, for good.
CREATE TABLE requests (
    request_id TEXT COLLATE "C" PRIMARY KEY,
    fingerprint BYTEA NOT NULL,
    aggregate_id TEXT NOT NULL,
    version BIGINT NOT NULL,
    position BIGINT NOT NULL
);

CREATE FUNCTION append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% are append-only', TG_TABLE_NAME;
END
$$;

CREATE TRIGGER events_are_never_changed BEFORE UPDATE OR DELETE OR TRUNCATE ON events
FOR EACH STATEMENT EXECUTE FUNCTION append_only();

CREATE TRIGGER requests_are_never_changed BEFORE UPDATE OR DELETE OR TRUNCATE ON requests
FOR EACH STATEMENT EXECUTE FUNCTION append_only();
