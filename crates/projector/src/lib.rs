//! Keeps the read model current: follows the log through EventService and feeds the search index.
//!
//! The server opens a [`Projector`] from its [`Settings`], runs it, and passes its
//! [`ProjectorHandle`] to [`Projections`] (ProjectionService).
//!
//! The path of an event:
//!
//! 1. `documents` subscribes at one of the [`Nodes`] after its checkpoint. The [`stream`] decodes
//!    events ahead. If the log lacks the checkpoint's event, `documents` starts over (G12).
//! 2. `documents` applies the events to the documents, batch by batch.
//! 3. `indexer` writes each changed document to the search engine, through `index_updater`.
//! 4. `traces` records a span for each of these steps.
//!
//! Documents and indexer report their [`Progress`](read_model::progress::Progress) and last error.
//! Both retry by themselves and resume from their stored checkpoints.
//!
//! `rebuild` fills the next generation of a projection, checks it and switches to it.
//! `verify` compares the log, the documents and the index. [`Projections`] offers these operations
//! to operators.

mod backoff;
mod documents;
mod index_updater;
mod indexer;
mod nodes;
mod projector;
mod read_models;
mod rebuild;
mod service;
pub mod stream;
#[cfg(test)]
mod test_events;
mod traces;
mod verify;

pub use nodes::Nodes;
pub use projector::{Projector, ProjectorHandle, Runtimes, Settings};
pub use service::Projections;
