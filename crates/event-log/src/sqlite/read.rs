//! The reader of a log in SQLite.

use async_trait::async_trait;
use sqlx::SqlitePool;

use crate::{
    Encoder, Error, InspectedEvent, InspectedRequest, MAX_PAGE_BYTES, Page, Point, Position,
    Reader, Schema,
    long_reads::LongReads,
    rows::{InspectedEventRow, InspectedRequestRow, RecordRow, check_dense},
    statements::{
        HEAD_SQL, HISTORY_SQL, INSPECT_SQL, POINT_SQL, REQUESTS_AFTER_SQL, event_id_sql, page_sql,
        requests_sql,
    },
};

/// Reads a log through a pool of read-only connections.
#[derive(Debug)]
pub(super) struct SqliteReader {
    pool: SqlitePool,
    long_reads: LongReads,
    log_id: String,
    schema: Schema,
}

/// Reads a page as one row, because fetching a row per event costs more than the event itself. The
/// row has the concatenated records and the length of each, and the id of the event before the page.
const PAGE_SQL: &str = concat!(
    "SELECT count(*), coalesce(min(position), 0), coalesce(max(position), 0),
        min(schema_version), max(schema_version),
        group_concat(length(record)), CAST(group_concat(record, '') AS BLOB),
        (SELECT ",
    event_id_sql!(),
    " FROM events WHERE position = $1)
    FROM (",
    page_sql!("position, schema_version, record"),
    ")"
);

type PageRow = (
    i64,
    Position,
    Position,
    Option<u32>,
    Option<u32>,
    Option<String>,
    Option<Vec<u8>>,
    Option<Vec<u8>>,
);

impl SqliteReader {
    pub(super) fn new(pool: SqlitePool, log_id: String, schema: Schema) -> Self {
        Self {
            long_reads: LongReads::on(pool.options().get_max_connections()),
            pool,
            log_id,
            schema,
        }
    }

    /// Reads a page row by row, because some of its records need an upcast.
    async fn page_of_any_schema(&self, first: Position, last: Position) -> Result<Page, Error> {
        let rows: Vec<RecordRow> = sqlx::query_as(
            "SELECT position, event_type, schema_version, record FROM events
            WHERE position BETWEEN ? AND ? ORDER BY position",
        )
        .bind(first)
        .bind(last)
        .fetch_all(&self.pool)
        .await?;
        Page::of(rows, self.schema)
    }
}

#[async_trait]
impl Reader for SqliteReader {
    fn log_id(&self) -> &str {
        &self.log_id
    }

    async fn page(&self, after: Point, upto: Position, limit: usize) -> Result<Page, Error> {
        let _turn = self.long_reads.turn().await;
        let (count, first, last, oldest, newest, lengths, bytes, before): PageRow =
            sqlx::query_as(PAGE_SQL)
                .bind(after.position)
                .bind(upto)
                .bind(limit as i64)
                .bind(MAX_PAGE_BYTES as i64)
                .fetch_one(&self.pool)
                .await?;
        after.check(before.map(|record| Point::of(after.position, &record)))?;
        if count == 0 {
            return Ok(Page::default());
        }
        check_dense(after.position, first, last, count as usize)?;
        let current = Some(self.schema.current);
        if oldest != current || newest != current {
            return self.page_of_any_schema(first, last).await;
        }
        let (lengths, bytes) = (lengths.unwrap_or_default(), bytes.unwrap_or_default());
        let mut encoder = Encoder::with_capacity(count as usize, bytes.len());
        let mut records = Vec::with_capacity(count as usize);
        let mut rest = bytes.as_slice();
        for (position, length) in first.onwards().zip(lengths.split(',')) {
            let length = length.parse().unwrap_or(usize::MAX);
            let (record, remaining) = rest
                .split_at_checked(length)
                .ok_or_else(|| Error::Damaged(format!("event {position} has no length")))?;
            records.push(encoder.push(position, record));
            rest = remaining;
        }
        Ok(Page { first, records })
    }

    async fn point(&self, position: Position) -> Result<Option<Point>, Error> {
        let record = sqlx::query_scalar(POINT_SQL).bind(position);
        let record: Option<Vec<u8>> = record.fetch_optional(&self.pool).await?;
        Ok(record.map(|record| Point::of(position, &record)))
    }

    async fn head(&self) -> Result<Position, Error> {
        let head = sqlx::query_scalar(HEAD_SQL);
        Ok(head.fetch_one(&self.pool).await?)
    }

    async fn history(&self, kind: i32, aggregate_id: &str) -> Result<Page, Error> {
        let rows: Vec<RecordRow> = sqlx::query_as(HISTORY_SQL)
            .bind(kind)
            .bind(aggregate_id)
            .fetch_all(&self.pool)
            .await?;
        Page::of(rows, self.schema)
    }

    async fn inspect(
        &self,
        after: Position,
        upto: Position,
        limit: usize,
    ) -> Result<Vec<InspectedEvent>, Error> {
        let _turn = self.long_reads.turn().await;
        let rows: Vec<InspectedEventRow> = sqlx::query_as(INSPECT_SQL)
            .bind(after)
            .bind(upto)
            .bind(limit as i64)
            .fetch_all(&self.pool)
            .await?;
        let inspected = rows
            .into_iter()
            .map(|row| InspectedEvent::of(row, self.schema));
        Ok(inspected.collect())
    }

    async fn requests(&self, ids: &[String]) -> Result<Vec<InspectedRequest>, Error> {
        let _turn = self.long_reads.turn().await;
        let rows = sqlx::query_as(requests_sql!(
            "r.request_id IN (SELECT value FROM json_each($1))"
        ))
        .bind(serde_json::json!(ids).to_string());
        let rows: Vec<InspectedRequestRow> = rows.fetch_all(&self.pool).await?;
        Ok(rows.into_iter().map(InspectedRequest::from).collect())
    }

    async fn requests_after(
        &self,
        after: &str,
        limit: usize,
    ) -> Result<Vec<InspectedRequest>, Error> {
        let _turn = self.long_reads.turn().await;
        let rows: Vec<InspectedRequestRow> = sqlx::query_as(REQUESTS_AFTER_SQL)
            .bind(after)
            .bind(limit as i64)
            .fetch_all(&self.pool)
            .await?;
        Ok(rows.into_iter().map(InspectedRequest::from).collect())
    }
}
