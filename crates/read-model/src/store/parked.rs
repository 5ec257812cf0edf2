//! Orders that are set aside, and those to be brought to the search index out of turn.

use contract::orders::v1::RecordedEvent;
use tokio::sync::watch;

use super::{Error, Reader, Writer, batch::Batch, json, script::Script};
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

impl Writer {
    /// Projects the events that wait behind the one for which an order was parked: `history` is all
    /// of its events. False if one of them cannot be projected still; it stays parked then.
    ///
    /// # Errors
    /// When the file cannot be written; nothing has changed then.
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

    /// Orders of which an event could not be projected, at most so many.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn parked_orders(&mut self, limit: u32) -> Result<Vec<String>, Error> {
        Ok(
            sqlx::query_scalar("SELECT order_id FROM parked WHERE projection = ? LIMIT ?")
                .bind(Projection::Documents.name())
                .bind(limit)
                .fetch_all(&mut self.connection)
                .await?,
        )
    }

    /// Sets an order aside that the search index refuses.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub async fn park(&mut self, refused: &Parked) -> Result<(), Error> {
        self.settle().await?;
        let mut script = Script::begin();
        script
            .park([(Projection::Search, refused.clone())])
            .map_err(sqlx::Error::Encode)?;
        self.run(script.commit()).await
    }

    /// Lets the search index be brought an order again that it refused.
    ///
    /// # Errors
    /// When the file cannot be written.
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

    /// What [`Reader::again`] told has been brought to the search index; what has changed since
    /// stays.
    ///
    /// # Errors
    /// When the file cannot be written.
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
