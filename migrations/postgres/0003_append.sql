-- Each append locks this row until its commit, so that positions are given in the order of commits, and
-- a rollback leaves no hole. The row itself never changes: while an old snapshot is open, as that of a
-- pg_dump, every old version of a row stays, and each update would have to pass all of them.
ALTER TABLE log_head RENAME TO append_lock;
ALTER TABLE append_lock DROP COLUMN position;

-- Appends a batch in one call. Returns the position before the batch, and the start of the record there,
-- which has the event's id. In the isolation level READ COMMITTED each statement of the function sees
-- what was committed before it began: so the position is read after the lock is taken.
CREATE FUNCTION append_batch(
    -- The events, in the order of their positions.
    kinds INTEGER[], ids TEXT[], versions BIGINT[], types TEXT[], schemas INTEGER[], records BYTEA[],
    -- The request ids. A position is that of an event in the log, or if `request_in_batch`, the place of
    -- an event of the batch, from 1.
    request_ids TEXT[], fingerprints BYTEA[], request_aggregates TEXT[], request_versions BIGINT[],
    request_positions BIGINT[], request_in_batch BOOLEAN[],
    OUT before BIGINT, OUT record_before BYTEA
) LANGUAGE plpgsql AS $$
BEGIN
    PERFORM only_row FROM append_lock WHERE only_row = 1 FOR UPDATE;
    SELECT position, substr(record, 1, 64) INTO before, record_before
    FROM events ORDER BY position DESC LIMIT 1;
    before := coalesce(before, 0);
    INSERT INTO events (position, aggregate_type, aggregate_id, version, event_type, schema_version,
        record)
    SELECT before + index, kind, id, version, event_type, schema_version, record
    FROM UNNEST(kinds, ids, versions, types, schemas, records) WITH ORDINALITY
        AS event (kind, id, version, event_type, schema_version, record, index);
    INSERT INTO requests (request_id, fingerprint, aggregate_id, version, position)
    SELECT id, fingerprint, aggregate_id, version,
        CASE WHEN in_batch THEN before + position ELSE position END
    FROM UNNEST(request_ids, fingerprints, request_aggregates, request_versions, request_positions,
        request_in_batch)
        AS request (id, fingerprint, aggregate_id, version, position, in_batch);
END
$$;
