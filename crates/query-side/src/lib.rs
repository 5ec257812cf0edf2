//! The read side: answers queries from the read model, and reports the position of each answer.
//!
//! The path of a request through [`Queries`] (QueryService):
//!
//! 1. [`check`] validates the request and converts it to the terms of the read model.
//! 2. [`token`] reads the page token, which holds the end of the previous page.
//! 3. `Queries::reached` waits until the documents have been compared with the log, and reach the
//!    position that the request asks for. [`wait`] bounds the time.
//! 4. The documents answer, a list within its timeout and as one of a few ([`LongReads`](long_reads::LongReads)).
//!    With free text, the search engine first finds the orders that the
//!    documents then return.
//! 5. [`Highlights`](highlights::Highlights) finds the words of the text in these orders, on request.
//!
//! The public modules need no I/O.

pub mod check;
mod get;
mod highlights;
mod long_reads;
mod queries;
mod search;
mod service;
pub mod token;
pub mod wait;
mod watch;

pub use queries::{Queries, Readers};

/// Returns the limits that clients of QueryService can meet.
pub fn limits() -> impl Iterator<Item = wire::Limit> {
    check::LIMITS.into_iter().chain(queries::LIMITS)
}
