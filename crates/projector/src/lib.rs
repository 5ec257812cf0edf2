//! Keeps the read model: follows the log through EventService, and feeds the search index.
//!
//! [`Documents`] subscribes at one of the [`Nodes`] from its checkpoint on, and applies what comes
//! to the documents, batch by batch. [`Indexer`] brings the documents that have changed since to the
//! search engine. Each reports its [`Progress`](read_model::progress::Progress) and its last error;
//! both retry by themselves, from what is stored. [`Rebuilds`] makes another generation of either beside
//! the one that is used, and lets them change places. [`Verifier`] compares everything with the log.
//! [`Projections`] (ProjectionService) offers all of this to operators.

/// The documents.
pub mod documents;
mod fill;
/// The search index.
pub mod indexer;
mod nodes;
/// Other generations.
pub mod rebuild;
mod retry;
mod service;
/// The stream of events.
pub mod stream;
mod traces;
/// Whether everything is as the log says.
pub mod verify;

pub use documents::Documents;
pub use indexer::Indexer;
pub use nodes::Nodes;
pub use rebuild::{Parts, Rebuilds, Stage, Step};
pub use service::{Projected, Projections};
pub use traces::Traces;
pub use verify::{Finding, Part, Verifier};
