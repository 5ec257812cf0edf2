//! Parked orders, and the queue of orders to index a second time.

use contract::orders::v1::RecordedEvent;
use tokio::sync::watch;

use super::{Error, Reader, Writer, batch::Batch, json, script::Script};
use crate::search::Document;

/// The projection that parked an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Projection {
    /// One of the order's events cannot be projected.
    Documents,
    /// The search index rejects the order's document.
    Search,
}

impl Projection {
    /// Returns the projection's name in the contract.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Documents => "documents",
            Self::Search => "search",
        }
    }
}

/// A parked order.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Parked {
    /// The order's id.
    pub order_id: String,
    /// The position of the event that cannot be projected, or of the newest event in the rejected
    /// document.
    #[sqlx(try_from = "i64")]
    pub position: u64,
    /// The error that parked the order.
    pub error: String,
    /// The number of unprojected events: the failed one and those after it.
    #[sqlx(try_from = "i64")]
    pub events: u64,
}

/// Orders to index a second time.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Again {
    /// The newest state of the orders.
    pub documents: Vec<Document>,
    /// The row and the queue counter of each order, for [`Writer::brought`]. An order that is
    /// queued a second time has a higher counter, so it stays in the queue.
    pub marks: Vec<(u64, i64)>,
}

impl Reader {
    /// Returns at most `limit` parked orders after an id, sorted by id.
    ///
    /// # Errors
    /// [`Error::Sqlite`]: the file cannot be read.
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

    /// Returns the reason why an order is parked; `None` if it is not.
    ///
    /// # Errors
    /// [`Error::Sqlite`]: the file cannot be read.
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

    /// Returns the number of orders that a projection has parked.
    ///
    /// # Errors
    /// [`Error::Sqlite`]: the file cannot be read.
    pub async fn parked_count(&self, projection: Projection) -> Result<u64, Error> {
        let count: i64 = sqlx::query_scalar("SELECT count(*) FROM parked WHERE projection = ?")
            .bind(projection.name())
            .fetch_one(&self.pool())
            .await?;
        Ok(count.cast_unsigned())
    }

    /// Returns at most `limit` orders that the search index must receive although no new event
    /// changed them. [`Reader::changed_since`] does not return these.
    ///
    /// # Errors
    /// - [`Error::Sqlite`]: the file cannot be read.
    /// - [`Error::Damaged`]: a stored document cannot be decoded.
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

    /// Returns a receiver that is notified when [`Reader::again`] may return more orders.
    #[must_use]
    pub fn subscribe_again(&self) -> watch::Receiver<()> {
        self.again.clone()
    }
}

impl Writer {
    /// Projects the waiting events of a parked order; `history` holds all events of the order.
    ///
    /// Returns false, and keeps the order parked, if an event still cannot be projected. Queues the
    /// order for the search index.
    ///
    /// # Errors
    /// - [`Error::Sqlite`]: the file cannot be written.
    /// - [`Error::Damaged`]: the stored document cannot be decoded.
    ///
    /// Nothing changes on an error.
    pub async fn retry(
        &mut self,
        order_id: &str,
        history: &[RecordedEvent],
    ) -> Result<bool, Error> {
        self.settle().await?;
        let reached = self.checkpoint.as_ref().map_or(0, |made| made.position);
        let stored = self.stored(&history.iter().collect::<Vec<_>>()).await?;
        let version = stored.first().map_or(0, |document| document.order.version);
        let waiting: Vec<_> = history
            .iter()
            .filter(|event| event.version > version && event.position <= reached)
            .collect();
        let batch = Batch::new(stored, [], &waiting);
        let done = batch.parked.is_empty();
        let rows: Vec<_> = batch.orders.values().map(|document| document.row).collect();
        let mut script = Script::begin();
        script
            .unpark(Projection::Documents, order_id)
            .map_err(sqlx::Error::Encode)?;
        script.again(rows).map_err(sqlx::Error::Encode)?;
        let script = script.with(batch, None).map_err(sqlx::Error::Encode)?;
        self.run(script).await?;
        self.again.send_replace(());
        Ok(done)
    }

    /// Returns at most `limit` orders of which an event could not be projected.
    ///
    /// # Errors
    /// [`Error::Sqlite`]: the file cannot be read.
    pub async fn parked_orders(&mut self, limit: u32) -> Result<Vec<String>, Error> {
        Ok(
            sqlx::query_scalar("SELECT order_id FROM parked WHERE projection = ? LIMIT ?")
                .bind(Projection::Documents.name())
                .bind(limit)
                .fetch_all(&mut self.connection)
                .await?,
        )
    }

    /// Parks an order whose document the search index rejects.
    ///
    /// # Errors
    /// [`Error::Sqlite`]: the file cannot be written.
    pub async fn park(&mut self, refused: &Parked) -> Result<(), Error> {
        self.settle().await?;
        let mut script = Script::begin();
        script
            .park([(Projection::Search, refused.clone())])
            .map_err(sqlx::Error::Encode)?;
        self.run(script.commit()).await
    }

    /// Removes an order's search parking and queues the order for another attempt.
    ///
    /// # Errors
    /// [`Error::Sqlite`]: the file cannot be written.
    pub async fn offer_again(&mut self, order_id: &str) -> Result<(), Error> {
        self.settle().await?;
        let row: Option<i64> = sqlx::query_scalar("SELECT row FROM orders WHERE order_id = ?")
            .bind(order_id)
            .fetch_optional(&mut self.connection)
            .await?;
        let mut script = Script::begin();
        script
            .unpark(Projection::Search, order_id)
            .map_err(sqlx::Error::Encode)?;
        let rows = row.map(i64::cast_unsigned);
        script.again(rows).map_err(sqlx::Error::Encode)?;
        self.run(script.commit()).await?;
        self.again.send_replace(());
        Ok(())
    }

    /// Removes indexed orders from the queue of [`Reader::again`]. An order that was queued since
    /// then stays.
    ///
    /// # Errors
    /// [`Error::Sqlite`]: the file cannot be written.
    pub async fn brought(&mut self, brought: &[(u64, i64)]) -> Result<(), Error> {
        self.settle().await?;
        sqlx::query(
            "DELETE FROM again WHERE (row, times) IN \
             (SELECT value ->> 0, value ->> 1 FROM json_each(?))",
        )
        .bind(json(brought)?)
        .execute(&mut self.connection)
        .await?;
        Ok(())
    }
}
