use async_trait::async_trait;
use sqlx::PgPool;

use crate::{Error, Page, Schema, rows::RecordRow};

/// Reads a log; any number may, at the same time, while it is written.
#[derive(Debug, Clone)]
pub(super) struct Reader {
    pool: PgPool,
    log_id: String,
    schema: Schema,
}

impl Reader {
    pub(super) fn new(pool: PgPool, log_id: String, schema: Schema) -> Self {
        Self {
            pool,
            log_id,
            schema,
        }
    }
}

#[async_trait]
impl crate::Reader for Reader {
    fn log_id(&self) -> &str {
        &self.log_id
    }

    async fn head(&self) -> Result<u64, Error> {
        let head: i64 = sqlx::query_scalar("SELECT position FROM log_head")
            .fetch_one(&self.pool)
            .await?;
        Ok(head.cast_unsigned())
    }

    async fn page(&self, after: u64, upto: u64, limit: usize) -> Result<Page, Error> {
        let rows: Vec<RecordRow> = sqlx::query_as(
            "SELECT position, event_type, schema_version, record FROM events
            WHERE position > $1 AND position <= $2 ORDER BY position LIMIT $3",
        )
        .bind(after.cast_signed())
        .bind(upto.cast_signed())
        .bind(limit as i64)
        .fetch_all(&self.pool)
        .await?;
        Page::dense(after, rows, self.schema)
    }

    async fn history(&self, kind: i32, aggregate_id: &str) -> Result<Page, Error> {
        let rows: Vec<RecordRow> = sqlx::query_as(
            "SELECT position, event_type, schema_version, record FROM events
            WHERE aggregate_type = $1 AND aggregate_id = $2 ORDER BY version",
        )
        .bind(kind)
        .bind(aggregate_id)
        .fetch_all(&self.pool)
        .await?;
        Page::of(rows, self.schema)
    }
}
