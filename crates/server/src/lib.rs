//! The orderlog binary as a library: what `main` starts.
//!
//! [`cli`] is the command line: the definitions of all commands, and the client commands
//! themselves, which know the server through the contract only. [`settings`] finds each setting in
//! flag, environment, `orderlog.toml` or default, and refuses a wrong one by name. [`serve`] puts
//! the server together and runs it; `access` is who may call what.

mod access;
pub mod cli;
pub mod serve;
pub mod settings;
mod until;
