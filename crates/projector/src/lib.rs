//! Keeps the read model: follows the log through EventService, and feeds the search index.
//!
//! [`Documents`] subscribes at one of the [`Nodes`] from its checkpoint on, and applies what comes
//! to the documents, batch by batch. [`Indexer`] brings the documents that have changed since to the
//! search engine. Each says in its [`Progress`] how far it is and what keeps it from going on; both
//! try again by themselves, from what is stored. [`Rebuilds`] makes another generation of either beside
//! the one that is used, and lets them change places. [`Verifier`] looks whether everything is as
//! the log says.

/// The documents.
pub mod documents;
mod fill;
/// The search index.
pub mod indexer;
mod nodes;
mod progress;
/// Other generations.
pub mod rebuild;
mod retry;
/// The stream of events.
pub mod stream;
mod traces;
/// Whether everything is as the log says.
pub mod verify;

pub use documents::Documents;
pub use indexer::Indexer;
pub use nodes::Nodes;
pub use progress::{Progress, Report};
pub use rebuild::{Parts, Rebuilds, Stage, Step};
pub use traces::Traces;
pub use verify::{Finding, Part, Verifier};
