//! Free-text search: the [`Engine`] trait, the [`embedded`] engine, and [`meilisearch`].
//! [`highlights()`] finds the words of a query in the orders found, for both engines.

#[cfg(test)]
mod contract_suite;
pub mod embedded;
mod highlights;
pub mod meilisearch;
mod tokens;

use std::{cmp::Reverse, collections::BTreeMap, fmt, sync::Arc, time::Duration};

use contract::orders::v1::{Facet, FacetValue, Order};
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use wire::ResumeToken;

pub use self::highlights::{MAX_HIGHLIGHTS, highlights, names_with_words};
use crate::{
    Row,
    generations::NextGeneration,
    progress::Reached,
    request::{Cursor, FacetField, MAX_FACET_VALUES, OrderFilter, Sort},
    store::{self, ChangeCursor},
};

/// The state of an index in terms of the log. The index stores it together with its documents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexCheckpoint {
    /// The log whose events made the documents.
    pub log_id: String,
    /// The name of the history that the documents are made from
    /// ([`Checkpoint::history`](crate::store::Checkpoint::history)).
    pub history: String,
    /// The position of the newest documents of which any were written. The index may have changes up
    /// to it, also while `position` is behind.
    pub read_position: u64,
    /// The id of the event at `read_position`. Empty if it is unknown.
    pub event_id: String,
    /// The log position up to which the orders' own events have been written. An order that changed
    /// later still is written only in its later state, which then follows.
    pub position: u64,
    /// The cursor up to which every order shows its new names. An index of an older version has
    /// none, so every name counts as new.
    #[serde(default)]
    pub names: ChangeCursor,
    /// The position up to which answers are complete but for `names`: they include every own event
    /// of an order at or below it.
    ///
    /// During catch-up `position` passes changes that follow later, so `answers` stays behind until
    /// the index has them all.
    pub answers: u64,
    /// The generation of the index.
    pub generation: u64,
}

impl IndexCheckpoint {
    /// Returns the positions that the index has reached.
    #[must_use]
    pub fn reached(&self) -> Reached {
        Reached {
            position: self.position,
            answers: self.answers,
            names: self.names.position,
        }
    }

    /// Returns the token of the newest event that the index may have a change of. `None` if the id of
    /// the event is unknown.
    #[must_use]
    pub fn token(&self) -> Option<ResumeToken> {
        store::token(&self.log_id, self.read_position, &self.event_id)
    }
}

/// An order in the form that an engine indexes.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// The order's row: its permanent key in the index.
    pub row: Row,
    /// The order, including its names.
    pub order: Order,
}

/// A search.
#[derive(Debug, Clone, PartialEq)]
pub struct SearchRequest {
    /// The words, each of which must match. Every order matches a query without words.
    pub query: String,
    /// Exact conditions that must hold as well.
    pub filter: OrderFilter,
    /// The sort order. `None` puts the best matches first, and equally good ones newest first.
    pub sort: Option<Sort>,
    /// Returns only hits after this cursor.
    pub after: Option<Cursor>,
    /// Limits the number of hits.
    pub limit: usize,
    /// The fields whose values are counted.
    pub facets: Vec<FacetField>,
    /// The search may omit orders created after this position.
    pub newest: u64,
    /// Time after which the search fails with [`Error::TooSlow`], including its wait for a processor.
    /// Meilisearch has a limit of its own, at which it returns what it has found.
    pub timeout: Duration,
}

/// An order that a search found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hit {
    /// The order's row.
    pub row: Row,
    /// The cursor of a page that ends with this hit.
    pub cursor: Cursor,
}

/// The result of a search.
#[derive(Debug, Clone, PartialEq)]
pub struct Hits {
    /// The orders, in the requested order.
    pub hits: Vec<Hit>,
    /// Whether more hits follow the last one.
    pub more: bool,
    /// The number of matches over all pages.
    pub total: u64,
    /// The requested counts.
    pub facets: Vec<Facet>,
    /// Whether the engine stopped before it had examined everything. Better or other matches may
    /// then exist.
    pub degraded: bool,
    /// The checkpoint of the searched state. `None` if the index has none, or was wiped or replaced
    /// during the search.
    pub checkpoint: Option<IndexCheckpoint>,
}

impl Hits {
    /// Returns the rows of the orders, in the requested order.
    #[must_use]
    pub fn rows(&self) -> Vec<Row> {
        self.hits.iter().map(|hit| hit.row).collect()
    }

    /// Returns the cursor of a page of the first `count` hits, if more follow.
    #[must_use]
    pub fn cursor(&self, count: usize) -> Option<Cursor> {
        let last = self.hits.iter().take(count).next_back()?;
        (self.more || count < self.hits.len()).then_some(last.cursor)
    }
}

/// A reason why an engine did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The engine failed, does not answer, or lost its input; a retry may succeed.
    #[error("the search index failed: {0}")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The engine will never accept one of these documents, and has accepted none of them.
    #[error("the search index refuses a document: {0}")]
    Refused(String),
    /// The documents of a write are too large together; the engine has accepted none of them. Fewer
    /// may fit. One that does not fit alone meets a limit that operators must raise.
    #[error("the search index refuses a write for its size: {0}")]
    TooLarge(String),
    /// The index belongs to another log, or to another application.
    #[error(
        "the index {index} in Meilisearch belongs to {owner}: set meilisearch-index to a name of \
         your own, or delete the index if it is no longer used, as after a restore with a new log id"
    )]
    Foreign {
        /// The name of the index.
        index: String,
        /// The owner, in words.
        owner: String,
    },
    /// The search did not finish within its timeout.
    #[error("the search did not finish in time")]
    TooSlow,
    /// Another process has become the indexer.
    #[error("another process has become the indexer of this search index")]
    Superseded,
}

impl Error {
    pub(crate) fn failed(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Failed(error.into())
    }
}

/// The state of an index at the moment of its claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimed {
    /// The index's checkpoint; `None` while it is empty.
    pub checkpoint: Option<IndexCheckpoint>,
    /// Whether another version made the index from other documents. Such an index still answers,
    /// but must be rebuilt.
    pub outdated: bool,
}

/// Completes when a write has been applied, so that searches find it, or has failed.
pub type Applied = BoxFuture<'static, Result<(), Error>>;

/// Limits of the writes that an engine accepts at a time.
#[derive(Debug, Clone, Copy)]
pub struct WriteLimits {
    /// The maximum number of documents in a write.
    pub documents: usize,
    /// The maximum number while no write is in flight, so that the engine begins early. As many are
    /// also enough for a write beside others.
    pub first: usize,
    /// The maximum number of writes in flight.
    pub writes: usize,
}

/// One way in which the index differs from the given documents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IndexDifference {
    /// The index has no document of this row.
    Missing(Row),
    /// The index has a different document of this row.
    Other(Row),
    /// The index has a document of this row, but no such order exists.
    Extra(Row),
}

impl IndexDifference {
    /// Returns the row that differs.
    #[must_use]
    pub fn row(&self) -> Row {
        match self {
            Self::Missing(row) | Self::Other(row) | Self::Extra(row) => *row,
        }
    }
}

/// An order that the index finds by other words or values than those of its document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WronglyFound {
    /// The order's id.
    pub order_id: String,
    /// The fault, as a predicate of the order.
    pub problem: String,
}

/// A search engine that holds the newest state of every order.
///
/// Only one process writes an index, and it begins with [`Engine::claim`]. Every method returns
/// [`Error::Failed`] if the engine fails or does not answer.
#[async_trait::async_trait]
pub trait Engine: fmt::Debug + Send + Sync {
    /// Returns the name of the engine. A page of one engine goes on in no other.
    fn name(&self) -> &'static str;

    /// Returns the checkpoint of this log's index; `None` while it is empty.
    ///
    /// # Errors
    /// - [`Error::Foreign`]: the index belongs to another log or application.
    /// - [`Error::Superseded`]: another process has claimed the index since.
    async fn checkpoint(&self, log_id: &str) -> Result<Option<IndexCheckpoint>, Error>;

    /// Makes the caller the writer for this log, and prepares the index for its writes.
    ///
    /// Writes of other processes may have damaged documents. The returned checkpoint is early
    /// enough that writing from there repairs them.
    ///
    /// # Errors
    /// - [`Error::Foreign`]: the index belongs to another log or application. It stays as it is.
    /// - [`Error::Superseded`]: another process has claimed the index since.
    async fn claim(&self, log_id: &str) -> Result<Claimed, Error>;

    /// Replaces the documents of these rows together with the checkpoint: both or neither.
    ///
    /// Writes apply in the order of the calls. One write may fail and a later one succeed.
    ///
    /// # Errors
    /// [`Error::TooLarge`]: the documents are too large for one write.
    ///
    /// The returned future completes with [`Error::Refused`] if the engine rejects a document.
    async fn write(
        &self,
        documents: Vec<Document>,
        checkpoint: IndexCheckpoint,
    ) -> Result<Applied, Error>;

    /// Returns the limits of a write.
    fn write_limits(&self) -> WriteLimits;

    /// Removes all documents and the checkpoint, and claims the index for this log.
    async fn clear(&self, log_id: &str) -> Result<(), Error>;

    /// Searches the index.
    async fn search(&self, request: SearchRequest) -> Result<Hits, Error>;

    /// Returns each difference between the index and the given documents, which are all orders from
    /// row `first` to row `last`.
    async fn compare(
        &self,
        first: Row,
        last: Row,
        documents: Vec<Document>,
    ) -> Result<Vec<IndexDifference>, Error>;

    /// Sends each order that the index finds by other words or values than those of its document. An
    /// engine that does not show what leads to a document sends none.
    ///
    /// Only an order that the index has as it is now can be inspected. The others differ for
    /// [`Engine::compare`].
    async fn inspect(
        &self,
        documents: &store::Reader,
        found: mpsc::Sender<WronglyFound>,
    ) -> Result<(), Error>;
}

/// The live generation of an index. A rebuild opens and fills the next generation, and then
/// switches to it.
#[async_trait::async_trait]
pub trait LiveIndex: Engine {
    /// Opens the next generation. Returns `None` if there is no previous one. A new one replaces
    /// the previous and any unfinished one.
    async fn open_next(&self, next: NextGeneration) -> Result<Option<Arc<dyn Engine>>, Error>;

    /// Makes the next generation the live one, in one step for all readers.
    ///
    /// The live generation becomes the previous one. No write may be in flight in either.
    ///
    /// # Errors
    /// [`Error::Failed`]: no next generation is open, or the switch failed.
    async fn switch(&self) -> Result<(), Error>;

    /// Closes the next generation, and removes it if it has never been live.
    async fn discard_next(&self) -> Result<(), Error>;
}

/// Returns the number of words that the engines search for a text.
#[must_use]
pub fn count_words(text: &str) -> usize {
    tokens::segments(text).len()
}

/// Builds a facet: the largest counts first, and equal counts by value.
fn facet<V: Ord>(
    field: FacetField,
    counts: impl IntoIterator<Item = (V, u64)>,
    name: impl Fn(V) -> String,
) -> Facet {
    let counts = counts.into_iter();
    let mut counts: Vec<_> = counts
        .map(|(value, count)| (Reverse(count), value))
        .collect();
    // There may be a million values.
    if counts.len() > MAX_FACET_VALUES {
        counts.select_nth_unstable(MAX_FACET_VALUES);
        counts.truncate(MAX_FACET_VALUES);
    }
    counts.sort_unstable();
    let values = counts.into_iter().map(|(count, value)| FacetValue {
        value: name(value),
        count: count.0,
    });
    Facet {
        field: field.name().to_owned(),
        values: values.collect(),
    }
}

/// Compares the content of an index, by row, with the expected documents.
fn differences<T>(
    mut indexed: BTreeMap<Row, T>,
    documents: &[Document],
    is_equal: impl Fn(&T, &Document) -> bool,
) -> Vec<IndexDifference> {
    let mut differences = Vec::new();
    for document in documents {
        match indexed.remove(&document.row) {
            None => differences.push(IndexDifference::Missing(document.row)),
            Some(indexed) if !is_equal(&indexed, document) => {
                differences.push(IndexDifference::Other(document.row));
            }
            Some(_) => {}
        }
    }
    differences.extend(indexed.into_keys().map(IndexDifference::Extra));
    differences
}
