//! The read side: answers from the read model, and says how far it is.
//!
//! [`Queries`] (QueryService) checks a request, waits for the position or version it asks for, and
//! answers from the documents, or, with free text, from the search engine and then the documents.
//! [`Projections`] (ProjectionService) tells operators how the projections are doing, makes them
//! again, looks whether they are right, and tries again what is set aside.
//!
//! What needs no I/O is public: [`check`] reads requests, [`wait`] how long they wait, and [`token`]
//! where their pages begin.

pub mod check;
mod operations;
mod parked;
mod projection_service;
mod query_service;
mod search;
pub mod token;
pub mod wait;
mod watch;

pub use projection_service::{Projected, Projections};
pub use query_service::Queries;

/// Logs why the read model failed; clients are only told that it did.
fn store_error(error: &read_model::store::Error) -> wire::Error {
    tracing::error!(%error, "the read model failed");
    wire::Error::StoreUnavailable
}
