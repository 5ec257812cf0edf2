//! Keeps the read model: follows the log through EventService, and feeds the search index.
//!
//! [`Documents`] subscribes at one of the [`Nodes`] from its checkpoint on, and applies what comes to
//! the documents, batch by batch. [`Indexer`] brings the documents that have changed since to the search engine. Each says
//! in its [`Progress`] how far it is and what keeps it from going on; both try again by themselves,
//! from what is stored.

mod documents;
mod indexer;
mod nodes;
mod progress;
mod retry;

pub use documents::Documents;
pub use indexer::{GENERATION, Indexer};
pub use nodes::Nodes;
pub use progress::{Progress, Report};
