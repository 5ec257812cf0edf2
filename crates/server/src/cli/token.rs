//! `orderlog token`: creates tokens.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{Failure, session::print};
use crate::access::{Role, tokens};

#[derive(Debug, Args)]
pub(super) struct Token {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a token, and print it: the file keeps its hash only
    New(New),
}

#[derive(Debug, Args)]
#[command(
    after_help = "A server that runs with --tokens FILE takes it within seconds. To take it \
                        back, delete its line.\n\nExample:\n  \
                        orderlog token new --role command --role query --tokens tokens > shop.token"
)]
struct New {
    /// A role that the token grants; may be given several times
    #[arg(long = "role", value_name = "ROLE", required = true)]
    roles: Vec<Role>,
    /// The file to add its hash to
    #[arg(long, value_name = "FILE")]
    tokens: PathBuf,
}

impl Token {
    pub(super) fn run(self) -> Result<(), Failure> {
        let Command::New(New { roles, tokens }) = self.command;
        let token = tokens::add(&tokens, &roles).map_err(|error| {
            Failure::Operation(format!("cannot write to {}: {error}", tokens.display()))
        })?;
        Ok(print(&token)?)
    }
}
