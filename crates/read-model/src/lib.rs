//! The read model: order documents with exact statistics, and free-text search over them.
//!
//! [`store`] keeps the documents, the names and the statistics in one SQLite file, `read.db`,
//! together with the position of the log up to which they are made. [`search`] is the trait of
//! the search engines, with the embedded one and Meilisearch. [`generations`] are builds of either
//! beside each other. [`request`] says which orders, in which order, in the
//! words both understand.
//!
//! It knows events only through the contract, never the log they come from.

pub mod generations;
pub mod progress;
pub mod projection;
pub mod request;
pub mod search;
pub mod store;
