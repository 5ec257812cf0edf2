//! The appender of a log in SQLite, which sends each batch as one text of statements.

use std::{path::Path, time::Duration};

use ::sqlite::WalLimit;
use async_trait::async_trait;
use sqlx::{AssertSqlSafe, SqliteConnection};

use crate::{
    Appender, Batch, Error, Loaded, Needed, NewEvent, NewRequest, Point, Position, Schema,
    rows::LoadedRow,
    statements::{HEAD_SQL, POINT_SQL},
};

/// Bytes that [`Appender::probe`] writes to a file next to the log. A failed store recovers
/// only when the disk has room for a batch.
const PROBE_BYTES: usize = 256 << 10;

/// The time for which a reset of the write-ahead log may wait for reads, while appends stop. It
/// outlasts the reads of subscribers: each reads one page.
const WAL_RESET_WAIT: Duration = Duration::from_millis(20);

/// The time until the next attempt after a read has prevented a reset.
const WAL_RESET_INTERVAL: Duration = Duration::from_millis(250);

/// The growth of the write-ahead log after which its size is checked, so that a lone command rarely pays
/// for the check: 5 MiB.
const BYTES_BETWEEN_CHECKS: usize = 5 << 20;

/// The growth by one row besides its record: it changes about five pages.
const BYTES_OF_ROW: usize = 5 << 12;

/// Appends to a log through the one writing connection.
#[derive(Debug)]
pub(super) struct SqliteAppender {
    connection: SqliteConnection,
    schema: Schema,
    /// The newest point; `None` after a failure, when only the file has it.
    head: Option<Point>,
    wal_limit: WalLimit,
    /// About how many bytes the write-ahead log has grown since the last check.
    unchecked_bytes: usize,
}

/// Loads events and requests in one round trip. Requests have aggregate type 0. The cross joins
/// make SQLite find each requested row by its key.
const LOAD_SQL: &str = "
    SELECT aggregate_type, '', aggregate_id, version, position, event_type, schema_version, record
    FROM json_each(?) AS wanted CROSS JOIN events
    ON aggregate_type = wanted.value ->> 0 AND aggregate_id = wanted.value ->> 1
    AND version >= CASE WHEN wanted.value ->> 2 THEN (SELECT max(version) FROM events AS newest
        WHERE newest.aggregate_type = wanted.value ->> 0
            AND newest.aggregate_id = wanted.value ->> 1) ELSE 0 END
    UNION ALL
    SELECT 0, request_id, aggregate_id, version, position, '', 0, fingerprint
    FROM json_each(?) AS wanted CROSS JOIN requests ON request_id = wanted.value";

const EVENT_COLUMNS: usize = 7;
const REQUEST_COLUMNS: usize = 5;

impl SqliteAppender {
    pub(super) async fn new(
        path: &Path,
        mut connection: SqliteConnection,
        schema: Schema,
    ) -> Result<Self, Error> {
        let wal_limit =
            WalLimit::new(path, &mut connection, WAL_RESET_WAIT, WAL_RESET_INTERVAL).await?;
        let mut appender = Self {
            connection,
            schema,
            head: None,
            wal_limit,
            unchecked_bytes: 0,
        };
        appender.newest().await?;
        Ok(appender)
    }

    /// Returns the point of the newest event.
    async fn newest(&mut self) -> Result<Point, Error> {
        if let Some(head) = self.head {
            return Ok(head);
        }
        let position: Position = sqlx::query_scalar(HEAD_SQL)
            .fetch_one(&mut self.connection)
            .await?;
        let record = sqlx::query_scalar(POINT_SQL).bind(position);
        let record: Option<Vec<u8>> = record.fetch_optional(&mut self.connection).await?;
        let head = record.map_or(Point::START, |record| Point::of(position, &record));
        Ok(*self.head.insert(head))
    }

    /// Runs the whole transaction as one text, because each call costs a hop to the thread of
    /// SQLite and back.
    async fn execute(&mut self, batch: &Batch, first: Position) -> Result<(), sqlx::Error> {
        let mut sql = String::from("BEGIN IMMEDIATE;");
        for events in batch
            .events
            .chunks(::sqlite::MAX_PARAMETERS / EVENT_COLUMNS)
        {
            sql.push_str("INSERT INTO events (position, aggregate_type, aggregate_id, version, event_type, schema_version, record) ");
            ::sqlite::values(&mut sql, events.len(), EVENT_COLUMNS);
            sql.push(';');
        }
        for requests in batch
            .requests
            .chunks(::sqlite::MAX_PARAMETERS / REQUEST_COLUMNS)
        {
            sql.push_str(
                "INSERT INTO requests (request_id, fingerprint, aggregate_id, version, position) ",
            );
            ::sqlite::values(&mut sql, requests.len(), REQUEST_COLUMNS);
            sql.push(';');
        }
        sql.push_str("COMMIT");
        let mut query = sqlx::query(AssertSqlSafe(sql)).persistent(false);
        for (position, event) in first.onwards().zip(&batch.events) {
            let NewEvent {
                aggregate,
                version,
                event_type,
                schema_version,
                record,
            } = event;
            query = query
                .bind(position)
                .bind(aggregate.kind)
                .bind(aggregate.id.as_str())
                .bind(*version)
                .bind(event_type.as_ref())
                .bind(i64::from(*schema_version))
                .bind(record.as_slice());
        }
        for NewRequest {
            id,
            fingerprint,
            aggregate_id,
            version,
            position,
        } in &batch.requests
        {
            query = query
                .bind(id.as_str())
                .bind(fingerprint.as_slice())
                .bind(aggregate_id.as_str())
                .bind(*version)
                .bind(position.resolve(first));
        }
        query.execute(&mut self.connection).await.map(|_| ())
    }
}

#[async_trait]
impl Appender for SqliteAppender {
    /// Does nothing: this process owns the file, so that nobody else changes it.
    fn has_seen(&mut self, _point: Point) {}

    async fn head(&mut self) -> Result<Position, Error> {
        Ok(self.newest().await?.position)
    }

    async fn probe(&mut self) -> Result<(), Error> {
        let file = "SELECT file FROM pragma_database_list WHERE name = 'main'";
        let file: String = sqlx::query_scalar(file)
            .fetch_one(&mut self.connection)
            .await?;
        // The files of the log may have room for a page on a full disk, but not for a batch.
        let probe_file = format!("{file}-probe");
        let written = tokio::fs::write(&probe_file, vec![0; PROBE_BYTES]).await;
        let removed = tokio::fs::remove_file(&probe_file).await;
        written.and(removed).map_err(sqlx::Error::Io)?;
        sqlx::query("UPDATE log SET id = id")
            .execute(&mut self.connection)
            .await?;
        Ok(())
    }

    async fn load(
        &mut self,
        needed: &[Needed<'_>],
        request_ids: &[&str],
        _exclusively: bool,
    ) -> Result<Loaded, Error> {
        if needed.is_empty() && request_ids.is_empty() {
            return Ok(Loaded::default());
        }
        let wanted: Vec<_> = needed
            .iter()
            .map(|needed| {
                let Needed {
                    aggregate,
                    newest_only,
                } = needed;
                (aggregate.kind, &aggregate.id, newest_only)
            })
            .collect();
        let rows = sqlx::query_as(LOAD_SQL)
            .bind(serde_json::json!(wanted).to_string())
            .bind(serde_json::json!(request_ids).to_string())
            .fetch_all(&mut self.connection)
            .await;
        // After a failure, `head` must read the file, to show whether the file is readable.
        let rows: Vec<LoadedRow> = rows.inspect_err(|_| self.head = None)?;
        Ok(Loaded::of(rows, self.schema))
    }

    async fn append(&mut self, batch: &Batch) -> Result<Point, Error> {
        let before = self.newest().await?;
        let first = before.position + 1;
        if batch.events.is_empty() && batch.requests.is_empty() {
            return Ok(before);
        }
        self.head = None;
        if let Err(error) = self.execute(batch, first).await {
            // A rollback fails if the transaction has already ended, which is harmless.
            let _ = sqlx::raw_sql("ROLLBACK")
                .execute(&mut self.connection)
                .await;
            return Err(error.into());
        }
        let head = before.position + batch.events.len();
        let newest = batch.events.last();
        self.head = Some(newest.map_or(before, |event| Point::of(head, &event.record)));
        let rows = batch.events.len() + batch.requests.len();
        let records: usize = batch.events.iter().map(|event| event.record.len()).sum();
        self.unchecked_bytes += rows * BYTES_OF_ROW + records;
        if self.unchecked_bytes >= BYTES_BETWEEN_CHECKS {
            self.unchecked_bytes = 0;
            if let Err(error) = self.wal_limit.enforce(&mut self.connection).await {
                // The batch is committed. If the store has failed, the next append says so.
                tracing::warn!(%error, "the write-ahead log of the events is not reset");
            }
        }
        Ok(before)
    }

    async fn close(self: Box<Self>) {
        self.wal_limit.close().await;
        ::sqlite::close(self.connection).await;
    }
}
