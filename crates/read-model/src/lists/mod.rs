//! The index of lists: filters, sorts, counts and sums orders without reading their documents.
//!
//! - [`Entry`] is what it knows of an order, and [`Conditions`] is a filter in its terms.
//! - A tantivy index of columns and postings ([`index`], [`schema`]) holds the entries of all orders up to a
//!   position, its base.
//! - The changes after the base are kept in memory. A [`Snapshot`] is a base with those changes, so
//!   that a list is exact at the documents' position, however rarely the index is committed.
//! - [`Writer`] publishes a snapshot for each batch. It brings the changes to the index in the
//!   background, once there are many. The documents can fill the index again.
//! - [`page`], [`figure`] and [`rows`] answer from a snapshot. [`scan`] shows them the matches, which
//!   [`predicates`] and [`crate::columns`] read in blocks.
//! - [`misfiled`] compares the postings with the columns.

mod entry;
mod figure;
mod index;
mod misfiled;
mod page;
mod predicates;
mod rows;
mod scan;
mod schema;
mod snapshot;
#[cfg(test)]
mod tests;
mod writer;

pub(crate) use entry::{Conditions, Entry, sorted};
pub(crate) use page::{Counts, PageRequest};
pub(crate) use rows::GivenName;
pub(crate) use snapshot::{Change, Snapshot, View};
pub(crate) use writer::{State, Writer};
