use sqlx::SqlitePool;

use crate::{Encoder, Error, Page, Schema};

/// Reads a log; any number may, at the same time, while it is written.
#[derive(Debug, Clone)]
pub struct Reader {
    pool: SqlitePool,
    log_id: String,
    schema: Schema,
}

/// A page as one row, for a row costs more to fetch than an event is worth: the records one
/// behind the other, and the length of each.
const PAGE: &str = "
    SELECT count(*), coalesce(min(position), 0), coalesce(max(position), 0),
        min(schema_version), max(schema_version),
        group_concat(length(record)), CAST(group_concat(record, '') AS BLOB)
    FROM (SELECT position, schema_version, record FROM events
        WHERE position > ? AND position <= ? ORDER BY position LIMIT ?)";

type PageRow = (
    i64,
    i64,
    i64,
    Option<u32>,
    Option<u32>,
    Option<String>,
    Option<Vec<u8>>,
);

/// Records that may be of any schema version.
type RecordRow = (i64, String, u32, Vec<u8>);

impl Reader {
    pub(super) fn new(pool: SqlitePool, log_id: String, schema: Schema) -> Self {
        Self {
            pool,
            log_id,
            schema,
        }
    }

    /// The log's id: made with it, and kept with it.
    #[must_use]
    pub fn log_id(&self) -> &str {
        &self.log_id
    }

    /// The events after `after`, up to `upto` and at most `limit`.
    ///
    /// # Errors
    /// When the file cannot be read, or holds what cannot be understood.
    pub async fn page(&self, after: u64, upto: u64, limit: usize) -> Result<Page, Error> {
        let (count, first, last, oldest, newest, lengths, bytes): PageRow = sqlx::query_as(PAGE)
            .bind(after.cast_signed())
            .bind(upto.cast_signed())
            .bind(limit as i64)
            .fetch_one(&self.pool)
            .await?;
        if count == 0 {
            return Ok(Page::default());
        }
        if first.cast_unsigned() != after + 1 || last - first + 1 != count {
            return Err(Error::Damaged(format!(
                "positions are missing after {after}"
            )));
        }
        let current = Some(self.schema.current);
        if oldest != current || newest != current {
            return self.page_of_any_schema(first, last).await;
        }
        let (lengths, bytes) = (lengths.unwrap_or_default(), bytes.unwrap_or_default());
        let mut encoder = Encoder::with_capacity(count as usize, bytes.len());
        let mut records = Vec::with_capacity(count as usize);
        let mut rest = bytes.as_slice();
        for (position, length) in (first.cast_unsigned()..).zip(lengths.split(',')) {
            let length = length.parse().unwrap_or(usize::MAX);
            let (record, behind) = rest
                .split_at_checked(length)
                .ok_or_else(|| Error::Damaged(format!("event {position} has no length")))?;
            records.push(encoder.push(position, record));
            rest = behind;
        }
        Ok(Page {
            first: first.cast_unsigned(),
            records,
        })
    }

    async fn page_of_any_schema(&self, first: i64, last: i64) -> Result<Page, Error> {
        let rows: Vec<RecordRow> = sqlx::query_as(
            "SELECT position, event_type, schema_version, record FROM events
            WHERE position BETWEEN ? AND ? ORDER BY position",
        )
        .bind(first)
        .bind(last)
        .fetch_all(&self.pool)
        .await?;
        self.upcast(rows)
    }

    /// All events of one aggregate, in the order of versions; none if there is no such aggregate.
    ///
    /// # Errors
    /// When the file cannot be read, or holds what cannot be understood.
    pub async fn history(&self, kind: i32, aggregate_id: &str) -> Result<Page, Error> {
        let rows: Vec<RecordRow> = sqlx::query_as(
            "SELECT position, event_type, schema_version, record FROM events
            WHERE aggregate_type = ? AND aggregate_id = ? ORDER BY version",
        )
        .bind(kind)
        .bind(aggregate_id)
        .fetch_all(&self.pool)
        .await?;
        self.upcast(rows)
    }

    fn upcast(&self, rows: Vec<RecordRow>) -> Result<Page, Error> {
        let first = rows.first().map_or(0, |row| row.0.cast_unsigned());
        let mut page = Page {
            first,
            records: Vec::with_capacity(rows.len()),
        };
        for (position, event_type, found, record) in rows {
            let position = position.cast_unsigned();
            let record = self.schema.read(position, &event_type, found, record)?;
            page.records
                .push(Encoder::with_capacity(1, record.len()).push(position, &record));
        }
        Ok(page)
    }
}
