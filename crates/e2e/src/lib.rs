//! The harness of end-to-end tests: real servers, driven through the contract.
//!
//! - [`Server`] runs one node in this process, on a real socket and in its own data folder.
//!   [`Node`] configures it.
//! - [`Process`] runs the program as a child process that a test can kill, measure and call on the
//!   command line.
//! - [`Clients`] holds a client of every service, with one method for each call.
//! - [`Events`] reads a subscription.

mod calls;
mod clients;
mod events;
mod process;
mod server;

pub use clients::Clients;
pub use events::{Events, end_of, positions};
pub use process::{Process, command, serve};
pub use server::{Node, Server, meilisearch};
