//! The writes of an index: the next one, and those that the engine has not applied yet.

use std::fmt;

use read_model::{
    AggregateId, Row,
    search::{Applied, Document, IndexCheckpoint},
    store::{Parked, ReindexEntry},
};
use tokio::time::Instant;

/// A write that has been submitted to the engine.
pub(super) struct WriteInFlight {
    /// The value of `applied` once the write is applied.
    pub(super) reaches: IndexCheckpoint,
    /// The checkpoint that the write stores in the index.
    pub(super) stores: IndexCheckpoint,
    /// The document of a write with exactly one document, ready to be parked.
    pub(super) single: Option<Parked>,
    /// The rows of the documents in the write.
    pub(super) rows: Vec<Row>,
    /// The entries of the reindex queue that the write makes done.
    pub(super) entries: Vec<ReindexEntry>,
    pub(super) is_backfill: bool,
    pub(super) since: Instant,
    pub(super) write: Applied,
}

impl fmt::Debug for WriteInFlight {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.debug_tuple("WriteInFlight")
            .field(&self.reaches)
            .finish()
    }
}

/// The documents of the next write.
#[derive(Debug, Default)]
pub(super) struct NextWrite {
    pub(super) documents: Vec<Document>,
    /// Whether the index has every fresh change of the documents after this write.
    pub(super) is_all: bool,
    /// The entries of the reindex queue that the documents are of.
    pub(super) entries: Vec<ReindexEntry>,
    pub(super) is_backfill: bool,
}

pub(super) fn rows(documents: &[Document]) -> Vec<Row> {
    documents.iter().map(|document| document.row).collect()
}

/// Returns the parked entry of a document, without the error.
pub(super) fn parked(document: &Document) -> Parked {
    Parked {
        aggregate: AggregateId::order(&document.order.order_id),
        position: document.order.position,
        error: String::new(),
        events: 0,
    }
}
