//! The reader of a log in Postgres.

use async_trait::async_trait;

use super::{
    ANSWER_TIMEOUT, in_time,
    session::{Pool, keep_or_close},
};
use crate::{
    Error, InspectedEvent, InspectedRequest, MAX_PAGE_BYTES, Page, Point, Position, Reader, Schema,
    long_reads::LongReads,
    rows::{InspectedEventRow, InspectedRequestRow, RecordRow},
    statements::{
        HEAD_SQL, HISTORY_SQL, INSPECT_SQL, POINT_SQL, REQUESTS_AFTER_SQL, event_id_sql, page_sql,
        requests_sql,
    },
};

/// Reads a log through a pool of connections.
#[derive(Debug)]
pub(super) struct PostgresReader {
    pub(super) pool: Pool,
    pub(super) long_reads: LongReads,
    pub(super) log_id: String,
    pub(super) schema: Schema,
}

/// Reads a page, and before it the start of the record at position $1.
const PAGE_SQL: &str = concat!(
    "SELECT position, event_type, schema_version, ",
    event_id_sql!(),
    " FROM events WHERE position = $1
    UNION ALL SELECT * FROM (",
    page_sql!("position, event_type, schema_version, record"),
    ") AS page ORDER BY position"
);

#[async_trait]
impl Reader for PostgresReader {
    fn log_id(&self) -> &str {
        &self.log_id
    }

    async fn head(&self) -> Result<Position, Error> {
        let mut connection = self.pool.get().await?;
        let head = sqlx::query_scalar(HEAD_SQL);
        let head = in_time(ANSWER_TIMEOUT, head.fetch_one(&mut *connection)).await;
        keep_or_close(connection, head)
    }

    async fn point(&self, position: Position) -> Result<Option<Point>, Error> {
        let mut connection = self.pool.get().await?;
        let record = sqlx::query_scalar(POINT_SQL).bind(position);
        let record = in_time(ANSWER_TIMEOUT, record.fetch_optional(&mut *connection)).await;
        let record: Option<Vec<u8>> = keep_or_close(connection, record)?;
        Ok(record.map(|record| Point::of(position, &record)))
    }

    async fn page(&self, after: Point, upto: Position, limit: usize) -> Result<Page, Error> {
        let _turn = self.long_reads.turn().await;
        let mut connection = self.pool.get().await?;
        let rows = sqlx::query_as(PAGE_SQL)
            .bind(after.position)
            .bind(upto)
            .bind(limit as i64)
            .bind(MAX_PAGE_BYTES as i64);
        let rows = in_time(ANSWER_TIMEOUT, rows.fetch_all(&mut *connection)).await;
        let mut rows: Vec<RecordRow> = keep_or_close(connection, rows)?;
        let before = rows
            .first()
            .is_some_and(|row| row.0 == after.position)
            .then(|| rows.remove(0));
        after.check(before.map(|row| Point::of(row.0, &row.3)))?;
        Page::dense(after.position, rows, self.schema)
    }

    async fn history(&self, kind: i32, aggregate_id: &str) -> Result<Page, Error> {
        let mut connection = self.pool.get().await?;
        let rows = sqlx::query_as(HISTORY_SQL).bind(kind).bind(aggregate_id);
        let rows = in_time(ANSWER_TIMEOUT, rows.fetch_all(&mut *connection)).await;
        let rows: Vec<RecordRow> = keep_or_close(connection, rows)?;
        Page::of(rows, self.schema)
    }

    async fn inspect(
        &self,
        after: Position,
        upto: Position,
        limit: usize,
    ) -> Result<Vec<InspectedEvent>, Error> {
        let _turn = self.long_reads.turn().await;
        let mut connection = self.pool.get().await?;
        let rows = sqlx::query_as(INSPECT_SQL)
            .bind(after)
            .bind(upto)
            .bind(limit as i64);
        let rows = in_time(ANSWER_TIMEOUT, rows.fetch_all(&mut *connection)).await;
        let rows: Vec<InspectedEventRow> = keep_or_close(connection, rows)?;
        let inspected = rows
            .into_iter()
            .map(|row| InspectedEvent::of(row, self.schema));
        Ok(inspected.collect())
    }

    async fn requests(&self, ids: &[String]) -> Result<Vec<InspectedRequest>, Error> {
        let _turn = self.long_reads.turn().await;
        let mut connection = self.pool.get().await?;
        let rows = sqlx::query_as(requests_sql!("r.request_id = ANY ($1)")).bind(ids);
        let rows = in_time(ANSWER_TIMEOUT, rows.fetch_all(&mut *connection)).await;
        let rows: Vec<InspectedRequestRow> = keep_or_close(connection, rows)?;
        Ok(rows.into_iter().map(InspectedRequest::from).collect())
    }

    async fn requests_after(
        &self,
        after: &str,
        limit: usize,
    ) -> Result<Vec<InspectedRequest>, Error> {
        let _turn = self.long_reads.turn().await;
        let mut connection = self.pool.get().await?;
        let rows = sqlx::query_as(REQUESTS_AFTER_SQL)
            .bind(after)
            .bind(limit as i64);
        let rows = in_time(ANSWER_TIMEOUT, rows.fetch_all(&mut *connection)).await;
        let rows: Vec<InspectedRequestRow> = keep_or_close(connection, rows)?;
        Ok(rows.into_iter().map(InspectedRequest::from).collect())
    }
}
