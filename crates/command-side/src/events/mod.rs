//! EventService: streams the log to subscribers.
//!
//! [`service`] checks a request and starts a [`subscription`] for it. The subscription catches up
//! in pages of the log, and at the head it reads the [`tail`], which holds the newest events in
//! memory. The [`dispatch`] wakes it only for events that its [`filter`] may match. [`follow`]
//! pushes the events of other nodes to the tail. [`verify`] checks every stored row.

pub(crate) mod dispatch;
pub mod filter;
pub(crate) mod follow;
mod service;
pub(crate) mod subscription;
pub(crate) mod tail;
mod verify;

/// The reason for which a stream ends early.
pub(crate) enum StreamEnd<E> {
    /// The client has gone.
    Gone,
    /// The stream ends with this error.
    Failed(E),
}

pub use dispatch::Dispatch;
pub use follow::Follow;
pub use service::Events;
pub(crate) use service::LIMITS;
pub use verify::verify_file;
