//! Keeps the read model current: follows the log through EventService and feeds the search index.
//!
//! The path of an event:
//!
//! 1. [`Documents`] subscribes at one of the [`Nodes`] after its checkpoint. The [`stream`] decodes
//!    events ahead.
//! 2. [`Documents`] applies the events to the documents, batch by batch.
//! 3. [`Indexer`] writes each changed document to the search engine.
//! 4. [`Traces`] records a span for each of these steps.
//!
//! [`Documents`] and [`Indexer`] report their [`Progress`](read_model::progress::Progress) and last
//! error. Both retry by themselves and resume from their stored checkpoints.
//!
//! [`Rebuilds`] fills another generation of a projection, checks it and swaps it with the live one.
//! [`Verifier`] compares the log, the documents and the index. [`Projections`] (ProjectionService)
//! offers these operations to operators.

pub mod documents;
mod fill;
pub mod indexer;
mod nodes;
pub mod rebuild;
mod retry;
mod service;
pub mod stream;
mod traces;
pub mod verify;

pub use documents::Documents;
pub use indexer::Indexer;
pub use nodes::Nodes;
pub use rebuild::{Parts, Rebuilds, Stage, Step};
pub use service::{Projected, Projections};
pub use traces::Traces;
pub use verify::{Finding, Part, Verifier};
