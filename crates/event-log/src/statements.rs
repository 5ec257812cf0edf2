//! The statements with which both stores read rows. [`rows`](crate::rows) has their columns.

/// Reads the position of the newest event, or 0.
pub(crate) const HEAD_SQL: &str = "SELECT coalesce(max(position), 0) FROM events";

/// Reads the records of one aggregate, as rows of [`RecordRow`](crate::rows::RecordRow).
pub(crate) const HISTORY_SQL: &str = "
    SELECT position, event_type, schema_version, record FROM events
    WHERE aggregate_type = $1 AND aggregate_id = $2 ORDER BY version";

/// Makes the text that reads the given columns of a page: the events after position $1, up to
/// position $2, row $3 and byte $4, but at least one. Running sums cost as much as the events, so they
/// are made only for a page that is too large.
macro_rules! page_sql {
    ($columns:literal) => {
        concat!(
            "SELECT ",
            $columns,
            " FROM events WHERE position > $1 AND position <= $2 ORDER BY position LIMIT (
                SELECT CASE WHEN (
                    SELECT sum(length(record)) FROM (SELECT record FROM events
                        WHERE position > $1 AND position <= $2 ORDER BY position LIMIT $3) AS page
                ) <= $4 THEN $3 ELSE (
                    SELECT count(*) FROM (
                        SELECT size,
                            sum(size) OVER (ORDER BY position ROWS UNBOUNDED PRECEDING) AS bytes
                        FROM (SELECT position, length(record) AS size FROM events
                            WHERE position > $1 AND position <= $2 ORDER BY position LIMIT $3)
                            AS sizes
                    ) AS sums WHERE bytes <= $4 OR bytes = size
                ) END)"
        )
    };
}
pub(crate) use page_sql;

/// Makes the expression for the first 64 bytes of a record, which hold the event's id: a tag, a length
/// and 36 characters. SQLite has NULL for a part of an empty record.
macro_rules! event_id_sql {
    () => {
        "coalesce(substr(record, 1, 64), record)"
    };
}
pub(crate) use event_id_sql;

/// Reads the part of the record at position $1 that [`Point::of`](crate::Point::of) needs.
pub(crate) const POINT_SQL: &str = concat!(
    "SELECT ",
    event_id_sql!(),
    " FROM events WHERE position = $1"
);

/// Reads events, as rows of [`InspectedEventRow`](crate::rows::InspectedEventRow).
pub(crate) const INSPECT_SQL: &str = "
    SELECT e.position, e.aggregate_type, e.aggregate_id, e.version, e.event_type,
        e.schema_version, e.record, p.position
    FROM events e LEFT JOIN events p ON p.aggregate_type = e.aggregate_type
        AND p.aggregate_id = e.aggregate_id AND p.version = e.version - 1
    WHERE e.position > $1 AND e.position <= $2 ORDER BY e.position LIMIT $3";

/// Makes the text that reads the requests of a condition, as rows of
/// [`InspectedRequestRow`](crate::rows::InspectedRequestRow).
macro_rules! requests_sql {
    ($condition:literal) => {
        concat!(
            "SELECT r.request_id, r.aggregate_id, r.version, r.position, e.position IS NOT NULL
            FROM requests r LEFT JOIN events e ON e.position = r.position
                AND e.aggregate_id = r.aggregate_id AND e.version = r.version
            WHERE ",
            $condition
        )
    };
}
pub(crate) use requests_sql;

/// Reads the requests after an id.
pub(crate) const REQUESTS_AFTER_SQL: &str =
    requests_sql!("r.request_id > $1 ORDER BY r.request_id LIMIT $2");
