//! Free-text search: the trait of the engines, and the embedded one.

#[cfg(test)]
mod contract_suite;
pub mod embedded;

use std::fmt;

use contract::orders::v1::{Facet, Order};

use crate::request::{Cursor, FacetField, Filter, Sort};

/// How far an index has come. It is stored in the index, together with what it speaks of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The log whose events the documents come from.
    pub log_id: String,
    /// The log position up to which it has been brought what changed; of an order that changed
    /// again later, only that later state, which is still to come.
    pub position: u64,
    /// Which build of the read model this is.
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
}

/// Why an engine did not do it.
#[derive(Debug, thiserror::Error)]
#[error("the search index failed: {0}")]
pub struct Error(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// A search engine that holds the newest state of every order.
#[async_trait::async_trait]
pub trait Engine: fmt::Debug + Send + Sync {
    /// How far the index has come; `None` while it is empty.
    async fn checkpoint(&self) -> Result<Option<Checkpoint>, Error>;

    /// Puts documents in the place of those with their rows, and the checkpoint in the place of
    /// the last one, both or neither. When it returns, searches find them.
    async fn write(&self, documents: Vec<Document>, checkpoint: Checkpoint) -> Result<(), Error>;

    /// Empties the index, its checkpoint too.
    async fn clear(&self) -> Result<(), Error>;

    /// Finds orders.
    async fn search(&self, request: Request) -> Result<Hits, Error>;
}
