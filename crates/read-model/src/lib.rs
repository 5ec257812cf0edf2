//! The read model: order documents with exact statistics, and free-text search over them.
//!
//! An event takes this path:
//!
//! - [`store::Writer::apply`] receives events in batches. [`projection::evolve`] computes each
//!   order's next document, and one transaction commits the documents, the statistics and the
//!   checkpoint.
//! - [`store::Reader::changed_since`] returns the newest documents, with which
//!   [`search::Engine::write`] updates the search index.
//! - [`progress::Progress`] reports how far each of the two projections is.
//!
//! A query takes this path:
//!
//! - [`request`] holds its filter, sort order and cursor, in types that the store and the search
//!   engines share.
//! - [`store::Reader::list`] answers a list from the index of lists and `read.db`. [`search::Engine::search`] answers a
//!   free-text search with rows, and [`store::Reader::orders_by_rows`] reads their documents.
//!
//! [`generations`] keeps several generations of a file or folder. A rebuild fills the next one.
//! [`store::Writer::replace_live`] and [`search::LiveIndex::switch`] then switch to it. Documents that
//! start over because the log went back are switched to by [`store::Writer::replace_unchecked`].
//!
//! This crate knows events only through the contract, never the log that stores them.

mod aggregate;
mod columns;
pub mod digest;
mod first;
pub mod generations;
mod lists;
mod merges;
mod postings;
pub mod progress;
pub mod projection;
pub mod request;
mod row;
pub mod search;
mod sorted_page;
pub mod store;

pub use aggregate::AggregateId;
pub use row::Row;
