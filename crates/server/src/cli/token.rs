//! `orderlog token`: creates, lists and revokes tokens.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use clap::{Args, Subcommand};

use super::{
    Failure,
    session::print,
    table::{self, Column},
};
use crate::access::{
    Role,
    tokens::{self, Tokens},
};

#[derive(Debug, Args)]
pub(super) struct Token {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a token, and print it: the file keeps its hash only
    New(New),
    /// List the names and roles of the tokens
    List(List),
    /// Remove a token: a running server rejects it within two seconds, and ends its streams
    Revoke(Revoke),
}

#[derive(Debug, Args)]
#[command(
    after_help = "A server that runs with --tokens FILE takes it within seconds.\n\nExample:\n  \
                        orderlog token new --name shop --role command --role query \
                        --tokens tokens > shop.token"
)]
struct New {
    /// The name in the log and in the events of its commands: up to 64 letters, digits and ._-@
    /// [default: token- and the beginning of its hash]
    #[arg(long, value_name = "NAME", value_parser = name)]
    name: Option<String>,
    /// A role that the token grants; may be given several times
    #[arg(long = "role", value_name = "ROLE", required = true)]
    roles: Vec<Role>,
    /// The file to add its hash to
    #[arg(long, value_name = "FILE")]
    tokens: PathBuf,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  orderlog token list --tokens tokens")]
struct List {
    /// The file of the tokens
    #[arg(long, value_name = "FILE")]
    tokens: PathBuf,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  orderlog token revoke shop --tokens tokens")]
struct Revoke {
    /// The name of the token
    #[arg(value_name = "NAME")]
    name: String,
    /// The file of the tokens
    #[arg(long, value_name = "FILE")]
    tokens: PathBuf,
}

fn name(name: &str) -> Result<String, String> {
    match tokens::is_name(name) {
        true => Ok(name.to_owned()),
        false => Err("must be 1 to 64 letters, digits and ._-@".to_owned()),
    }
}

impl Token {
    pub(super) fn run(self) -> Result<(), Failure> {
        match self.command {
            Command::New(New {
                name,
                roles,
                tokens,
            }) => {
                let token = tokens::add(&tokens, &roles, name.as_deref())
                    .map_err(|error| failure("write to", &tokens, &error))?;
                Ok(print(&token)?)
            }
            Command::List(List { tokens }) => {
                let text = fs::read_to_string(&tokens);
                let read = text.and_then(|it| Tokens::parse(&it).map_err(io::Error::other));
                let read = read.map_err(|error| failure("read", &tokens, &error))?;
                let rows = read.all().iter();
                let rows = rows.map(|it| [it.name().to_owned(), it.roles()]);
                Ok(print(&table::of(
                    [Column::Text("NAME"), Column::Text("ROLES")],
                    rows,
                ))?)
            }
            Command::Revoke(Revoke { name, tokens }) => {
                match tokens::remove(&tokens, &name)
                    .map_err(|error| failure("write to", &tokens, &error))?
                {
                    true => Ok(()),
                    false => Err(Failure::Operation(format!(
                        "{} has no token {name:?}",
                        tokens.display()
                    ))),
                }
            }
        }
    }
}

fn failure(what: &str, file: &Path, error: &io::Error) -> Failure {
    Failure::Operation(format!("cannot {what} {}: {error}", file.display()))
}
