//! The orderlog binary as a library: what `main` starts.
//!
//! [`cli`] is the command line: the definitions of all commands, and the client commands
//! themselves, which know the server through the contract only. [`settings`] finds each setting in
//! flag, environment, `orderlog.toml` or default, and refuses a wrong one by name.
//!
//! [`node`] puts the server together and runs it. A connection comes in at the `listener`, a call
//! passes the `layers`, of which one asks `access` who may call what. `ops` has what operators watch.

mod access;
pub mod cli;
mod layers;
mod listener;
pub mod node;
mod ops;
pub mod settings;
