//! Parked orders, and the queue of orders to index once more (the table `again`).

use contract::orders::v1::RecordedEvent;
use tokio::sync::watch;

use super::{Error, Reader, Writer, batch::Batch, json, script::Script};
use crate::{Row, search::Document};

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

/// The next orders of the reindex queue.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ReindexBatch {
    /// The newest state of the orders.
    pub documents: Vec<Document>,
    /// The queue entry of each order, for [`Writer::remove_reindexed`].
    pub entries: Vec<ReindexEntry>,
}

/// An order in the reindex queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::FromRow, serde::Serialize)]
pub struct ReindexEntry {
    /// The order's row.
    pub row: Row,
    /// How often the order was queued. A higher number in the queue means that the order changed
    /// since this entry was read, so the order stays in the queue.
    #[sqlx(rename = "times")]
    pub attempt: i64,
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
        let mut snapshot = self.snapshot().await?;
        Ok(sqlx::query_as(
            "SELECT order_id, position, error, events FROM parked \
             WHERE projection = ? AND order_id > ? ORDER BY order_id LIMIT ?",
        )
        .bind(projection.name())
        .bind(after)
        .bind(limit)
        .fetch_all(snapshot.connection())
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
        let mut snapshot = self.snapshot().await?;
        Ok(
            sqlx::query_scalar("SELECT error FROM parked WHERE projection = ? AND order_id = ?")
                .bind(projection.name())
                .bind(order_id)
                .fetch_optional(snapshot.connection())
                .await?,
        )
    }

    /// Returns the number of orders that a projection has parked.
    ///
    /// # Errors
    /// [`Error::Sqlite`]: the file cannot be read.
    pub async fn parked_count(&self, projection: Projection) -> Result<u64, Error> {
        let mut snapshot = self.snapshot().await?;
        let count: i64 = sqlx::query_scalar("SELECT count(*) FROM parked WHERE projection = ?")
            .bind(projection.name())
            .fetch_one(snapshot.connection())
            .await?;
        Ok(count.cast_unsigned())
    }

    /// Returns at most `limit` orders that the search index must receive although no new event
    /// changed them. [`Reader::changed_since`] does not return these.
    ///
    /// # Errors
    /// - [`Error::Sqlite`]: the file cannot be read.
    /// - [`Error::Damaged`]: a stored document cannot be decoded.
    pub async fn reindex_queue(&self, limit: u32) -> Result<ReindexBatch, Error> {
        let mut snapshot = self.snapshot().await?;
        let entries: Vec<ReindexEntry> =
            sqlx::query_as("SELECT row, times FROM again ORDER BY row LIMIT ?")
                .bind(limit)
                .fetch_all(snapshot.connection())
                .await?;
        let rows: Vec<_> = entries.iter().map(|entry| entry.row).collect();
        Ok(ReindexBatch {
            documents: snapshot.documents_by_rows(&rows).await?,
            entries,
        })
    }

    /// Returns a receiver that is notified when [`Reader::reindex_queue`] may return more
    /// orders.
    #[must_use]
    pub fn subscribe_reindex(&self) -> watch::Receiver<()> {
        self.reindex.clone()
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
        self.roll_back().await?;
        let reached = self
            .checkpoint
            .as_ref()
            .map_or(0, |checkpoint| checkpoint.position);
        let stored = self.stored(&history.iter().collect::<Vec<_>>()).await?;
        let version = stored.first().map_or(0, |document| document.order.version);
        let waiting: Vec<_> = history
            .iter()
            .filter(|event| event.version > version && event.position <= reached)
            .collect();
        let old = self.entries(stored.iter()).await?;
        let batch = Batch::new(stored, [], &waiting);
        let changes = self.changes(old, &batch, reached).await?;
        let done = batch.parked.is_empty();
        let rows: Vec<_> = batch.orders.values().map(|document| document.row).collect();
        let mut script = Script::begin();
        script
            .unpark(Projection::Documents, order_id)
            .map_err(sqlx::Error::Encode)?;
        script.queue_reindex(rows).map_err(sqlx::Error::Encode)?;
        script.count_retry();
        let script = script.with(batch, None).map_err(sqlx::Error::Encode)?;
        self.make_room().await?;
        self.run(script).await?;
        if let Some(checkpoint) = &mut self.checkpoint {
            checkpoint.retries += 1;
        }
        self.publish(changes);
        self.reindex.send_replace(());
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
        self.roll_back().await?;
        let mut script = Script::begin();
        script
            .park([(Projection::Search, refused.clone())])
            .map_err(sqlx::Error::Encode)?;
        self.run(script.commit()).await
    }

    /// Removes the search parking of orders of which the search index has accepted a document.
    ///
    /// # Errors
    /// [`Error::Sqlite`]: the file cannot be written.
    pub async fn unpark_indexed(&mut self, rows: &[Row]) -> Result<(), Error> {
        self.roll_back().await?;
        sqlx::query(
            "DELETE FROM parked WHERE projection = ? AND order_id IN \
             (SELECT order_id FROM orders WHERE row IN (SELECT value FROM json_each(?)))",
        )
        .bind(Projection::Search.name())
        .bind(json(rows)?)
        .execute(&mut self.connection)
        .await?;
        Ok(())
    }

    /// Removes an order's search parking and queues the order for another attempt.
    ///
    /// # Errors
    /// [`Error::Sqlite`]: the file cannot be written.
    pub async fn retry_indexing(&mut self, order_id: &str) -> Result<(), Error> {
        self.roll_back().await?;
        let row: Option<Row> = sqlx::query_scalar("SELECT row FROM orders WHERE order_id = ?")
            .bind(order_id)
            .fetch_optional(&mut self.connection)
            .await?;
        let mut script = Script::begin();
        script
            .unpark(Projection::Search, order_id)
            .map_err(sqlx::Error::Encode)?;
        script.queue_reindex(row).map_err(sqlx::Error::Encode)?;
        self.run(script.commit()).await?;
        self.reindex.send_replace(());
        Ok(())
    }

    /// Removes indexed orders from the reindex queue. An order that was queued since its entry was
    /// read stays.
    ///
    /// # Errors
    /// [`Error::Sqlite`]: the file cannot be written.
    pub async fn remove_reindexed(&mut self, entries: &[ReindexEntry]) -> Result<(), Error> {
        self.roll_back().await?;
        sqlx::query(
            "DELETE FROM again WHERE (row, times) IN \
             (SELECT value ->> 'row', value ->> 'attempt' FROM json_each(?))",
        )
        .bind(json(entries)?)
        .execute(&mut self.connection)
        .await?;
        Ok(())
    }
}
