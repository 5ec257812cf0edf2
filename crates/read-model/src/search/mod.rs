//! Free-text search: the trait of the engines, the embedded one, and Meilisearch.

#[cfg(test)]
mod contract_suite;
pub mod embedded;
pub mod meilisearch;
mod tokens;

use std::{cmp::Reverse, fmt, sync::Arc};

use contract::orders::v1::{Facet, FacetValue, Order};
use futures_util::future::BoxFuture;

use crate::request::{Cursor, FACET_VALUES, FacetField, Filter, Sort};

/// How far an index has come. It is stored in the index, together with what it speaks of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The log whose events the documents come from.
    pub log_id: String,
    /// The log position up to which it has been brought what changed; of an order that changed
    /// again later, only that later state, which is still to come.
    pub position: u64,
    /// The position it answers from: everything up to there is as it was then, or newer. On the way
    /// `position` passes changes that are still to come, so this one stays behind until all is there.
    pub answers: u64,
    /// Which build of the index this is.
    pub generation: u64,
}

/// An order as an engine is given it.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// The position of the event that created the order: its key in the index, for ever.
    pub row: u64,
    /// The order, with the names it shows.
    pub order: Order,
}

/// What to find.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// The words; every one must be found. Without any word, every order matches.
    pub query: String,
    /// Conditions besides.
    pub filter: Filter,
    /// `None`: best matches first, equally good ones newest first.
    pub sort: Option<Sort>,
    /// Only what comes behind this.
    pub after: Option<Cursor>,
    /// At most this many.
    pub limit: usize,
    /// What to count by.
    pub facets: Vec<FacetField>,
    /// Orders created after this position need not be found.
    pub newest: u64,
}

/// What was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Hits {
    /// The orders' rows, in the order asked for.
    pub rows: Vec<u64>,
    /// The last of them, if more follow.
    pub next: Option<Cursor>,
    /// How many match in all.
    pub total: u64,
    /// The counts asked for.
    pub facets: Vec<Facet>,
    /// Whether the engine gave up before it had looked at everything, so that there may be better
    /// or other matches.
    pub degraded: bool,
    /// The checkpoint of the state of the index that was searched; `None` where it has none, or was
    /// wiped or replaced during the search.
    pub checkpoint: Option<Checkpoint>,
}

/// Why an engine did not do it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It failed, does not answer, or lost what it was given: it may do it later.
    #[error("the search index failed: {0}")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It will never take one of these documents; it has taken none.
    #[error("the search index refuses a document: {0}")]
    Refused(String),
    /// Another process has become the one that writes.
    #[error("another process has become the indexer of this search index")]
    Superseded,
}

impl Error {
    pub(crate) fn failed(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Failed(error.into())
    }
}

/// What the writer of an index finds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimed {
    /// How far the index has come; `None` while it is empty.
    pub checkpoint: Option<Checkpoint>,
    /// It was made by a version that makes other documents: it answers, but is to be made again.
    pub outdated: bool,
}

/// Ends when a write has been applied, so that searches find it, or not.
pub type Applied = BoxFuture<'static, Result<(), Error>>;

/// How much an engine takes at a time.
#[derive(Debug, Clone, Copy)]
pub struct Appetite {
    /// Documents in a write at most.
    pub documents: usize,
    /// Writes under way at most.
    pub writes: usize,
}

/// What to go on with beside the index that answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beside {
    /// A new, empty index.
    New,
    /// The one that answered before.
    Previous,
}

/// What the index has instead of what it should.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// It has no document of this row.
    Missing(u64),
    /// It has another document of this row.
    Other(u64),
    /// It has a document of this row, and there is no such order.
    Extra(u64),
}

/// A search engine that holds the newest state of every order.
///
/// One process writes: it begins with [`Engine::claim`].
#[async_trait::async_trait]
pub trait Engine: fmt::Debug + Send + Sync {
    /// How far the index has come; `None` while it is empty.
    async fn checkpoint(&self) -> Result<Option<Checkpoint>, Error>;

    /// Makes the caller the one that writes, and the index ready for that. What writes of others
    /// after the checkpoint may have spoilt is written again from there on.
    async fn claim(&self) -> Result<Claimed, Error>;

    /// Hands over documents that come in the place of those with their rows, and a checkpoint in the
    /// place of the last one: both or neither. Writes are applied in the order in which they are
    /// handed over; one may fail and a later one succeed.
    async fn write(
        &self,
        documents: Vec<Document>,
        checkpoint: Checkpoint,
    ) -> Result<Applied, Error>;

    /// How much it takes at a time.
    fn appetite(&self) -> Appetite;

    /// Empties the index, its checkpoint too.
    async fn clear(&self) -> Result<(), Error>;

    /// Finds orders.
    async fn search(&self, request: Request) -> Result<Hits, Error>;

    /// What of the documents is missing or different in the index, and what it has besides them:
    /// they are all there are from row `first` to row `last`.
    async fn compare(
        &self,
        first: u64,
        last: u64,
        documents: Vec<Document>,
    ) -> Result<Vec<Difference>, Error>;
}

/// The index that answers. Beside it there can be another one, which is filled and then put in its
/// place.
#[async_trait::async_trait]
pub trait Live: Engine {
    /// Opens an index beside this one, to be filled; `None` if there is no previous one to open. A
    /// new one takes the place of whatever lies there.
    async fn beside(&self, which: Beside) -> Result<Option<Arc<dyn Engine>>, Error>;

    /// Puts the index beside in the place of this one, at once for everybody; this one is the
    /// previous one then. Nothing may be under way in either.
    async fn switch(&self) -> Result<(), Error>;

    /// Removes a new index beside that has not been switched to.
    async fn abandon(&self) -> Result<(), Error>;
}

/// The counts of a facet: those with the most orders first, equal ones by value.
fn facet(field: FacetField, counts: impl IntoIterator<Item = (String, u64)>) -> Facet {
    let values = counts.into_iter();
    let mut values: Vec<_> = values
        .map(|(value, count)| FacetValue { value, count })
        .collect();
    values.sort_unstable_by(|a, b| (Reverse(a.count), &a.value).cmp(&(Reverse(b.count), &b.value)));
    values.truncate(FACET_VALUES);
    Facet {
        field: field.name().to_owned(),
        values,
    }
}
