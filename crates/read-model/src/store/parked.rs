//! Parked aggregates, and the queue of orders to index once more (the table `again`).

use contract::orders::v1::{AggregateType, RecordedEvent};
use tokio::sync::watch;

use super::{Checkpoint, Error, Reader, Writer, batch::Batch, json, script::Script};
use crate::{AggregateId, Row, search::Document};

/// The projection that parked an aggregate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Projection {
    /// An event of the order, customer or product cannot be projected.
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

/// A parked order, customer or product.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Parked {
    /// The parked aggregate. The search index parks orders only.
    #[sqlx(flatten)]
    pub aggregate: AggregateId,
    /// The position of the event that cannot be projected, or of the newest event in the rejected
    /// document.
    #[sqlx(try_from = "i64")]
    pub position: u64,
    /// The error that parked the aggregate.
    pub error: String,
    /// The number of unprojected events: the failed one and, of an order, those after it.
    #[sqlx(try_from = "i64")]
    pub events: u64,
}

/// The next orders of the reindex queue.
#[derive(Debug, Clone, PartialEq)]
pub struct ReindexBatch {
    /// The newest state of the orders.
    pub documents: Vec<Document>,
    /// The queue entry of each order, for [`Writer::remove_reindexed`].
    pub entries: Vec<ReindexEntry>,
    /// The checkpoint of the snapshot; `None` before the first batch.
    pub checkpoint: Option<Checkpoint>,
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
    /// Returns at most `limit` parked aggregates after another one, sorted by id and type.
    ///
    /// # Errors
    /// [`Error::Sqlite`]: the file cannot be read.
    pub async fn parked(
        &self,
        projection: Projection,
        after: &AggregateId,
        limit: u32,
    ) -> Result<Vec<Parked>, Error> {
        let mut snapshot = self.snapshot().await?;
        Ok(sqlx::query_as(
            "SELECT aggregate_type, aggregate_id, position, error, events FROM parked \
             WHERE projection = ? AND (aggregate_id, aggregate_type) > (?, ?) \
             ORDER BY aggregate_id, aggregate_type LIMIT ?",
        )
        .bind(projection.name())
        .bind(&after.id)
        .bind(i32::from(after.kind))
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
        Ok(sqlx::query_scalar(
            "SELECT error FROM parked \
             WHERE projection = ? AND aggregate_type = 1 AND aggregate_id = ?",
        )
        .bind(projection.name())
        .bind(order_id)
        .fetch_optional(snapshot.connection())
        .await?)
    }

    /// Returns the number of aggregates that a projection has parked.
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
    /// changed them, or fewer if their documents reach [`MAX_PAGE_BYTES`].
    /// [`Reader::changed_since`] does not return these.
    ///
    /// [`MAX_PAGE_BYTES`]: super::MAX_PAGE_BYTES
    ///
    /// # Errors
    /// - [`Error::Sqlite`]: the file cannot be read.
    /// - [`Error::Damaged`]: a stored document cannot be decoded.
    pub async fn reindex_queue(&self, limit: u32) -> Result<ReindexBatch, Error> {
        let mut snapshot = self.snapshot().await?;
        let mut entries: Vec<ReindexEntry> =
            sqlx::query_as("SELECT row, times FROM again ORDER BY row LIMIT ?")
                .bind(limit)
                .fetch_all(snapshot.connection())
                .await?;
        let rows: Vec<_> = entries.iter().map(|entry| entry.row).collect();
        let (documents, covered) = snapshot.page(&rows, |_| true).await?;
        entries.truncate(covered);
        Ok(ReindexBatch {
            documents,
            entries,
            checkpoint: snapshot.checkpoint.take(),
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
    /// Projects the waiting events of a parked aggregate. `history` holds all events of an order, or
    /// the parked event of a customer or product.
    ///
    /// Returns false, and keeps the aggregate parked, if an event still cannot be projected. Queues
    /// the order, or the orders that show the name, for the search index.
    ///
    /// # Errors
    /// - [`Error::Sqlite`]: the file cannot be written.
    /// - [`Error::Damaged`]: the stored document cannot be decoded.
    ///
    /// Nothing changes on an error.
    pub async fn retry(
        &mut self,
        aggregate: &AggregateId,
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
            .unpark(Projection::Documents, aggregate)
            .map_err(sqlx::Error::Encode)?;
        script.queue_reindex(rows).map_err(sqlx::Error::Encode)?;
        let has_changes = !changes.is_empty();
        if has_changes {
            script.count_retry();
        }
        if done && aggregate.kind != AggregateType::Order {
            for rows in self.rows_of_name(aggregate).await? {
                script.queue_reindex_of_rows(&rows)?;
            }
        }
        let script = script.with(batch, None).map_err(sqlx::Error::Encode)?;
        self.make_room().await;
        self.run(script).await?;
        if has_changes && let Some(checkpoint) = &mut self.checkpoint {
            checkpoint.retries += 1;
        }
        self.publish(changes);
        self.flush_lists().await;
        // Comes first: who is told of the queue knows that orders changed.
        if has_changes || done && aggregate.kind != AggregateType::Order {
            self.revised.send_replace(());
        }
        self.reindex.send_replace(());
        Ok(done)
    }

    /// Returns at most `limit` aggregates of which an event could not be projected.
    ///
    /// # Errors
    /// [`Error::Sqlite`]: the file cannot be read.
    pub async fn parked_aggregates(&mut self, limit: u32) -> Result<Vec<AggregateId>, Error> {
        Ok(sqlx::query_as(
            "SELECT aggregate_type, aggregate_id FROM parked WHERE projection = ? LIMIT ?",
        )
        .bind(Projection::Documents.name())
        .bind(limit)
        .fetch_all(&mut self.connection)
        .await?)
    }

    /// Returns the position of the event that parked an aggregate; `None` if it is not parked.
    ///
    /// # Errors
    /// [`Error::Sqlite`]: the file cannot be read.
    pub async fn parked_position(&mut self, aggregate: &AggregateId) -> Result<Option<u64>, Error> {
        let position: Option<i64> = sqlx::query_scalar(
            "SELECT position FROM parked \
             WHERE projection = ? AND aggregate_type = ? AND aggregate_id = ?",
        )
        .bind(Projection::Documents.name())
        .bind(i32::from(aggregate.kind))
        .bind(&aggregate.id)
        .fetch_optional(&mut self.connection)
        .await?;
        Ok(position.map(i64::cast_unsigned))
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
            "DELETE FROM parked WHERE projection = ? AND aggregate_type = 1 AND aggregate_id IN \
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
            .unpark(Projection::Search, &AggregateId::order(order_id))
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
