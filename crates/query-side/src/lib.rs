//! The read side: answers from the read model, and says how far it is.
//!
//! [`Queries`] (QueryService) checks a request, waits for the position or version it asks for, and
//! answers from the documents, or, with free text, from the search engine and then the documents.
//!
//! What needs no I/O is public: [`check`] reads requests, [`wait`] how long they wait, and [`token`]
//! where their pages begin.

pub mod check;
mod query_service;
mod search;
pub mod token;
pub mod wait;
mod watch;

pub use query_service::Queries;
