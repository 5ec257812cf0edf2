//! Readers of the documents: each answer comes from one snapshot and includes the names.

use std::{
    io,
    path::Path,
    sync::{Arc, PoisonError, RwLock},
};

use contract::orders::v1::Order;
use sqlx::{SqliteConnection, SqlitePool};
use tokio::{runtime::Handle, sync::watch};

use super::{
    Checkpoint, Error, Projection,
    snapshot::{self, Snapshot},
};
use crate::{
    Row,
    lists::{self, View},
    request::OrderFilter,
    search::Document,
};

/// The lists of a file.
pub(super) type PublishedLists = watch::Receiver<Arc<lists::Snapshot>>;

/// Read connections to the live file, and its lists.
#[derive(Debug, Clone)]
pub(super) struct Pool {
    current: Arc<RwLock<(SqlitePool, PublishedLists)>>,
    connections: u32,
    /// The runtime that opened the connections: their threads inherit the priority of its threads.
    runtime: Handle,
}

impl Pool {
    pub(super) async fn open(
        path: &Path,
        lists: PublishedLists,
        connections: u32,
    ) -> Result<Self, Error> {
        let pool = sqlite::readers(path, connections).await?;
        Ok(Self {
            current: Arc::new(RwLock::new((pool, lists))),
            connections,
            runtime: Handle::current(),
        })
    }

    /// Opens the same number of connections to another file, on the same runtime.
    pub(super) async fn open_another(&self, path: &Path) -> Result<SqlitePool, Error> {
        let (path, connections) = (path.to_owned(), self.connections);
        let opening = self
            .runtime
            .spawn(async move { sqlite::readers(&path, connections).await });
        let opened = opening.await.map_err(io::Error::other)?;
        Ok(opened?)
    }

    /// Replaces the connections for later reads. Reads in progress finish on the old ones.
    pub(super) fn replace(&self, by: SqlitePool, lists: PublishedLists) {
        // The lock is held for one assignment, so no panic can poison it.
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = (by, lists);
    }

    fn current(&self) -> (SqlitePool, PublishedLists) {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        current.clone()
    }
}

/// Answers from the documents. Clones share their connections.
#[derive(Debug, Clone)]
pub struct Reader {
    pool: Pool,
    position: watch::Receiver<u64>,
    pub(super) reindex: watch::Receiver<()>,
    listed: watch::Receiver<bool>,
    history: History,
}

/// Tells whether the documents are of the present history of the log.
#[derive(Debug, Clone)]
pub(super) struct History {
    /// False while the documents have events that the log no longer has.
    pub(super) consistent: watch::Receiver<bool>,
    /// False until the documents have been compared with the log.
    pub(super) compared: watch::Receiver<bool>,
    /// Notified when orders change otherwise than by a new event.
    pub(super) revised: watch::Receiver<()>,
}

impl Reader {
    pub(super) fn new(
        pool: Pool,
        position: watch::Receiver<u64>,
        reindex: watch::Receiver<()>,
        listed: watch::Receiver<bool>,
        history: History,
    ) -> Self {
        Self {
            pool,
            position,
            reindex,
            listed,
            history,
        }
    }

    /// Returns the log position up to which events are applied.
    #[must_use]
    pub fn position(&self) -> u64 {
        *self.position.borrow()
    }

    /// Returns a receiver of [`Reader::position`].
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.position.clone()
    }

    /// Returns whether the documents have only events that the log has.
    #[must_use]
    pub fn is_consistent(&self) -> bool {
        *self.history.consistent.borrow()
    }

    /// Returns a receiver that is false while the documents have events that the log no longer has.
    #[must_use]
    pub fn consistent(&self) -> watch::Receiver<bool> {
        self.history.consistent.clone()
    }

    /// Returns a receiver that is notified when orders change otherwise than by a new event:
    /// [`Reader::changed_since`] may not return these. A retry of parked aggregates changes them, a
    /// switch to another generation, and a log that goes back, after which [`Reader::is_consistent`] is
    /// another.
    #[must_use]
    pub fn revised(&self) -> watch::Receiver<()> {
        self.history.revised.clone()
    }

    /// Returns a receiver that is false while the index of lists is filled, and lists fail.
    #[must_use]
    pub fn listed(&self) -> watch::Receiver<bool> {
        self.listed.clone()
    }

    /// Waits, without a timeout, until the documents have been compared with the log, so that
    /// [`Reader::is_consistent`] is known.
    ///
    /// # Errors
    /// [`Error::Stopped`]: the writer is gone.
    pub async fn wait_until_compared(&self) -> Result<(), Error> {
        let mut compared = self.history.compared.clone();
        let compared = compared.wait_for(|is_compared| *is_compared).await;
        compared.map(|_| ()).map_err(|_| Error::Stopped)
    }

    /// Waits, without a timeout, until the events up to `position` are applied.
    ///
    /// # Errors
    /// [`Error::Stopped`]: the writer is gone.
    pub async fn wait_for(&self, position: u64) -> Result<(), Error> {
        self.subscribe()
            .wait_for(|reached| *reached >= position)
            .await
            .map(|_| ())
            .map_err(|_| Error::Stopped)
    }

    /// Returns the checkpoint; `None` before the first batch.
    ///
    /// # Errors
    /// [`Error::Sqlite`]: the file cannot be read.
    pub async fn checkpoint(&self) -> Result<Option<Checkpoint>, Error> {
        Ok(self.snapshot().await?.checkpoint)
    }

    /// Returns an order, and whether it is parked.
    ///
    /// # Errors
    /// - [`Error::Sqlite`]: the file cannot be read.
    /// - [`Error::Damaged`]: the stored document cannot be decoded.
    pub async fn order(&self, order_id: &str) -> Result<FoundOrder, Error> {
        let mut connection = self.pool.current().0.acquire().await?;
        // Two statements without a transaction: each call costs a hop to the thread of SQLite and back,
        // which takes longer than they do. A name replaces the one before, so that names which are not
        // newer than the first statement are those that it would have seen.
        let found = find_order(&mut connection, order_id).await?;
        let order = found.order.as_ref();
        if order.is_none_or(|order| order.position <= found.as_of) {
            return Ok(found);
        }
        drop(connection);
        find_order(self.snapshot().await?.connection(), order_id).await
    }

    /// Returns the orders of these distinct rows that match the filter, in the given sequence, up
    /// to [`MAX_PAGE_BYTES`]. A row without an order is left out.
    ///
    /// [`MAX_PAGE_BYTES`]: super::MAX_PAGE_BYTES
    ///
    /// # Errors
    /// - [`Error::Sqlite`]: the file cannot be read.
    /// - [`Error::Damaged`]: a stored document cannot be decoded.
    pub async fn orders_by_rows(&self, rows: &[Row], filter: &OrderFilter) -> Result<Found, Error> {
        let mut snapshot = self.snapshot().await?;
        let matches = |document: &Document| filter.matches(&document.order);
        let (documents, covered) = snapshot.page(rows, matches).await?;
        let orders = documents.into_iter().map(|document| document.order);
        Ok(Found {
            orders: orders.collect(),
            covered,
            as_of: snapshot.as_of,
            history: snapshot.history(),
            log_id: snapshot.log_id(),
        })
    }

    /// Returns the documents of these rows in the given sequence, and the position of the snapshot.
    /// A row without an order is left out.
    ///
    /// # Errors
    /// - [`Error::Sqlite`]: the file cannot be read.
    /// - [`Error::Damaged`]: a stored document cannot be decoded.
    pub async fn documents_by_rows(&self, rows: &[Row]) -> Result<(Vec<Document>, u64), Error> {
        let mut snapshot = self.snapshot().await?;
        let documents = snapshot.documents_by_rows(rows).await?;
        Ok((documents, snapshot.as_of))
    }

    /// Returns the first documents of these distinct rows in the given sequence, up to
    /// [`MAX_PAGE_BYTES`]. A row without an order is left out.
    ///
    /// [`MAX_PAGE_BYTES`]: super::MAX_PAGE_BYTES
    ///
    /// # Errors
    /// - [`Error::Sqlite`]: the file cannot be read.
    /// - [`Error::Damaged`]: a stored document cannot be decoded.
    pub async fn documents_page(&self, rows: &[Row]) -> Result<DocumentsPage, Error> {
        let mut snapshot = self.snapshot().await?;
        let (documents, covered) = snapshot.page(rows, |_| true).await?;
        Ok(DocumentsPage {
            documents,
            covered,
            checkpoint: snapshot.checkpoint.take(),
        })
    }

    /// Returns at most `limit` orders after a row, sorted by row, and the position of the snapshot.
    ///
    /// # Errors
    /// - [`Error::Sqlite`]: the file cannot be read.
    /// - [`Error::Damaged`]: a stored document cannot be decoded.
    pub async fn orders_after(&self, row: Row, limit: u32) -> Result<(Vec<Document>, u64), Error> {
        let mut snapshot = self.snapshot().await?;
        let rows =
            sqlx::query_as("SELECT row, body FROM orders WHERE row > ? ORDER BY row LIMIT ?")
                .bind(row)
                .bind(limit)
                .fetch_all(snapshot.connection())
                .await?;
        let documents = snapshot.documents(rows).await?;
        Ok((documents, snapshot.as_of))
    }

    /// Begins a snapshot.
    pub(super) async fn snapshot(&self) -> Result<Snapshot, Error> {
        Snapshot::begin(&self.pool.current().0).await
    }

    /// Begins a snapshot, together with the lists at its position.
    ///
    /// # Errors
    /// - [`Error::Sqlite`]: the file cannot be read.
    /// - [`Error::Unlisted`]: the index of lists is being filled.
    /// - [`Error::Stopped`]: the writer is gone.
    pub(super) async fn snapshot_with_lists(&self) -> Result<(Snapshot, View), Error> {
        loop {
            let (pool, mut lists) = self.pool.current();
            if !lists.borrow().is_complete {
                return Err(Error::Unlisted);
            }
            let snapshot = Snapshot::begin(&pool).await?;
            let retries = snapshot.checkpoint.as_ref().map_or(0, |it| it.retries);
            // The lists follow each commit of the documents at once.
            let reached = lists.wait_for(|lists| {
                !lists.is_complete || lists.position >= snapshot.as_of && lists.retries >= retries
            });
            let Ok(reached) = reached.await.map(|reached| Arc::clone(&reached)) else {
                self.check_replaced(&lists)?;
                continue;
            };
            if reached.is_complete
                && reached.retries == retries
                && let Some(view) = reached.at(snapshot.as_of)
            {
                return Ok((snapshot, view));
            }
        }
    }

    /// Waits, without a timeout, until the index of lists is complete, and then begins a snapshot like
    /// [`Reader::snapshot_with_lists`].
    ///
    /// # Errors
    /// - [`Error::Sqlite`]: the file cannot be read.
    /// - [`Error::Stopped`]: the writer is gone.
    pub(super) async fn snapshot_when_listed(&self) -> Result<(Snapshot, View), Error> {
        loop {
            let (_, mut lists) = self.pool.current();
            if lists.wait_for(|lists| lists.is_complete).await.is_err() {
                self.check_replaced(&lists)?;
                continue;
            }
            match self.snapshot_with_lists().await {
                Err(Error::Unlisted) => {}
                begun => return begun,
            }
        }
    }

    /// Checks that lists whose writer is gone have been replaced by those of another generation.
    ///
    /// # Errors
    /// [`Error::Stopped`]: they are the newest ones.
    fn check_replaced(&self, lists: &PublishedLists) -> Result<(), Error> {
        match self.pool.current().1.same_channel(lists) {
            true => Err(Error::Stopped),
            false => Ok(()),
        }
    }
}

async fn find_order(
    connection: &mut SqliteConnection,
    order_id: &str,
) -> Result<FoundOrder, Error> {
    let (row, body, is_parked, as_of): (Option<Row>, Option<Vec<u8>>, bool, i64) =
        sqlx::query_as(SELECT_ORDER)
            .bind(order_id)
            .bind(Projection::Documents.name())
            .fetch_one(&mut *connection)
            .await?;
    let row = row.zip(body);
    let documents = snapshot::documents(connection, row.into_iter().collect()).await?;
    Ok(FoundOrder {
        order: documents.into_iter().next().map(|document| document.order),
        is_parked,
        as_of: as_of.cast_unsigned(),
    })
}

/// Selects the row and the body of an order, if it has them, whether it is parked, and the position
/// of the documents.
const SELECT_ORDER: &str = "SELECT row, body, parked.aggregate_id IS NOT NULL,
        coalesce((SELECT position FROM checkpoint), 0)
    FROM (SELECT ?1 AS order_id) AS wanted
    LEFT JOIN orders ON orders.order_id = wanted.order_id
    LEFT JOIN parked ON parked.projection = ?2 AND parked.aggregate_id = wanted.order_id
        AND parked.aggregate_type = 1";

/// One order, if the documents have it.
#[derive(Debug, Clone, PartialEq)]
pub struct FoundOrder {
    /// The order in its newest state without a parked event; `None` if there is none.
    pub order: Option<Order>,
    /// Whether an event of the order cannot be projected.
    pub is_parked: bool,
    /// The position of the snapshot.
    pub as_of: u64,
}

/// The first orders of some rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// The orders, in the sequence of their rows.
    pub orders: Vec<Order>,
    /// The number of rows up to the end of the page. It is lower than the number of given rows if
    /// more orders would exceed the page's bytes.
    pub covered: usize,
    /// The position of the snapshot.
    pub as_of: u64,
    /// The name of the history that the documents are made from. Empty before the first batch.
    pub history: String,
    /// The log that the documents are made from. Empty before the first batch.
    pub log_id: String,
}

/// The first documents of some rows.
#[derive(Debug, Clone, PartialEq)]
pub struct DocumentsPage {
    /// The documents, in the sequence of their rows.
    pub documents: Vec<Document>,
    /// The number of rows up to the end of the page.
    pub covered: usize,
    /// The checkpoint of the snapshot; `None` before the first batch.
    pub checkpoint: Option<Checkpoint>,
}
