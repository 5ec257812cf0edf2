//! Orders that are set aside, and those to be brought to the search index out of turn.

use tokio::sync::watch;

use super::{Error, Reader};
use crate::search::Document;

/// What has set an order aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Projection {
    /// One of its events cannot be projected.
    Documents,
    /// The search index refuses its document.
    Search,
}

impl Projection {
    /// Its name in the contract.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Documents => "documents",
            Self::Search => "search",
        }
    }
}

/// An order that is set aside.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Parked {
    /// The order.
    pub order_id: String,
    /// The position of the event that cannot be projected, or of the newest one of the document
    /// that is refused.
    #[sqlx(try_from = "i64")]
    pub position: u64,
    /// What is wrong.
    pub error: String,
    /// How many events cannot be projected: that one and those that wait behind it.
    #[sqlx(try_from = "i64")]
    pub events: u64,
}

/// Orders that are to be brought to the search index out of turn.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Again {
    /// Their newest state.
    pub documents: Vec<Document>,
    /// What tells that they have been brought, and not what has changed since.
    pub marks: Vec<(u64, i64)>,
}

impl Reader {
    /// The orders that are set aside, behind one of them by id, and at most so many.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn parked(
        &self,
        projection: Projection,
        after: &str,
        limit: u32,
    ) -> Result<Vec<Parked>, Error> {
        Ok(sqlx::query_as(
            "SELECT order_id, position, error, events FROM parked \
             WHERE projection = ? AND order_id > ? ORDER BY order_id LIMIT ?",
        )
        .bind(projection.name())
        .bind(after)
        .bind(limit)
        .fetch_all(&self.pool())
        .await?)
    }

    /// Why an order is set aside; `None` if it is not.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn is_parked(
        &self,
        projection: Projection,
        order_id: &str,
    ) -> Result<Option<String>, Error> {
        Ok(
            sqlx::query_scalar("SELECT error FROM parked WHERE projection = ? AND order_id = ?")
                .bind(projection.name())
                .bind(order_id)
                .fetch_optional(&self.pool())
                .await?,
        )
    }

    /// How many are set aside.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn parked_count(&self, projection: Projection) -> Result<u64, Error> {
        let count: i64 = sqlx::query_scalar("SELECT count(*) FROM parked WHERE projection = ?")
            .bind(projection.name())
            .fetch_one(&self.pool())
            .await?;
        Ok(count.cast_unsigned())
    }

    /// Orders that changed otherwise than by the newest events, at most so many, and so are not
    /// among the changes: the search index is to be brought them.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn again(&self, limit: u32) -> Result<Again, Error> {
        let mut snapshot = self.snapshot().await?;
        let marks: Vec<(i64, i64)> =
            sqlx::query_as("SELECT row, times FROM again ORDER BY row LIMIT ?")
                .bind(limit)
                .fetch_all(snapshot.connection())
                .await?;
        let marks = marks
            .into_iter()
            .map(|(row, times)| (row.cast_unsigned(), times));
        let marks: Vec<_> = marks.collect();
        let rows: Vec<_> = marks.iter().map(|(row, _)| *row).collect();
        Ok(Again {
            documents: snapshot.documents_by_rows(&rows).await?,
            marks,
        })
    }

    /// Told whenever there may be more of those.
    #[must_use]
    pub fn subscribe_again(&self) -> watch::Receiver<()> {
        self.again.clone()
    }
}
