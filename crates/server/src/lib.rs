//! The `orderlog` binary as a library: settings, command line and node. The binary's `main` parses
//! a [`cli::Cli`] and runs it.
//!
//! [`cli`] defines all commands. `orderlog serve` runs a node. Every client command talks to a
//! server through the gRPC contract only.
//!
//! [`settings`] reads each setting from its flag, the environment, `orderlog.toml` or its default.
//! An invalid setting is an error that names the setting.
//!
//! [`node`] starts the roles of a node, serves gRPC and drains at shutdown. A request passes these
//! modules:
//!
//! - `listener` accepts connections, limits their number, terminates TLS and serves each one on the
//!   threads for its calls.
//! - `console` answers browsers with the files of the web page.
//! - `layers` is the middleware: browser origins, metrics, limits, credentials and traces, in that
//!   order.
//! - `access` decides for the layer of credentials which role may call which method.
//!
//! `ops` serves health checks and Prometheus metrics. [`limits()`] lists all limits on clients.

mod access;
pub mod cli;
mod console;
mod layers;
mod limits;
mod listener;
pub mod node;
mod ops;
pub mod settings;

pub use limits::limits;
