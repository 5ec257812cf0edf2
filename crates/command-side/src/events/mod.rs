//! EventService: the log as a stream.
//!
//! [`service`] checks a request and starts a [`subscription`] for it. That reads the log in pages
//! until it is at the head, and then the [`tail`], which holds the newest events in memory. While
//! nothing matches its [`filter`], the [`dispatch`] lets it sleep. [`follow`] pushes to the tail
//! whatever other nodes append. [`verify`] checks every stored row.

pub(crate) mod dispatch;
pub mod filter;
pub(crate) mod follow;
mod service;
pub(crate) mod subscription;
pub(crate) mod tail;
mod verify;

pub use dispatch::Dispatch;
pub use follow::Follow;
pub use service::Events;
pub use verify::verify_file;
