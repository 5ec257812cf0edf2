//! The command line: `serve`, and a client of the server for people and scripts.
//!
//! Each command has a file that defines its arguments and implements `Run`. Commands share a
//! `Session` (the connection, and the choice between tables and JSON) and a [`Failure`] (the
//! message on stderr, and the exit code).

mod copy;
mod customer;
mod event;
mod export;
mod failure;
mod freshness;
pub mod import;
mod json;
mod money;
mod order;
mod parked;
mod product;
mod progress;
mod rebuild;
mod restore;
mod retry;
mod session;
mod statistics;
mod status;
mod table;
#[cfg(test)]
mod tests;
mod text;
mod time;
mod token;
mod verify;
mod watch;
mod write;

use std::{
    env,
    io::{self, IsTerminal as _},
};

use clap::{Args, Parser, Subcommand};

pub use failure::Failure;
use session::Session;
use tracing_subscriber::{EnvFilter, filter::LevelFilter};

use crate::{
    node,
    settings::{
        Flags, LogFormat, Sources,
        table::{CLIENT, SERVE},
    },
};

/// An order system that keeps every event.
#[derive(Debug, Parser)]
#[command(
    name = "orderlog",
    version,
    after_help = "Settings come from flags, else the environment (ORDERLOG_...), else \
                  orderlog.toml in the working folder.\n\nExample:\n  \
                  orderlog serve &\n  \
                  orderlog order create --customer ALFKI --item P1:2:9.50 --currency USD"
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server
    #[command(after_help = "Example:\n  orderlog serve --data-dir /var/lib/orderlog")]
    Serve(Flags<SERVE>),
    /// Execute the commands of a file, many in flight
    Import(Client<import::Import>),
    /// Copy a log from SQLite to Postgres, or back
    Copy(copy::Copy),
    /// Copy the log to a file, while nodes run on it
    Export(export::Export),
    /// Make a log of a file that one was exported to
    Restore(restore::Restore),
    /// Show how far the read models are
    #[command(after_help = "Example:\n  orderlog status\n  orderlog status --ready && echo up")]
    Status(Client<status::Status>),
    /// Make the read models again from the log, while the old ones answer
    Rebuild(Client<rebuild::Rebuild>),
    /// Compute everything again from the log, and name every difference
    Verify(Client<verify::Verify>),
    /// Make the tokens that clients show
    #[command(arg_required_else_help = true)]
    Token(token::Token),
    /// Orders that are set aside because they cannot be projected
    #[command(arg_required_else_help = true)]
    Parked(Client<parked::Parked>),
    /// Follow the events as they happen
    Watch(Client<watch::Watch>),
    /// Create, change and find orders
    #[command(arg_required_else_help = true)]
    Order(Client<order::Order>),
    /// Register customers, and see what they ordered
    #[command(arg_required_else_help = true)]
    Customer(Client<customer::Customer>),
    /// Register products
    #[command(arg_required_else_help = true)]
    Product(Client<product::Product>),
    /// Show all orders in numbers
    #[command(after_help = "Example:\n  orderlog statistics --by-day")]
    Statistics(Client<statistics::Statistics>),
}

/// A command that talks to a server.
#[derive(Debug, Args)]
struct Client<C: Args> {
    #[command(flatten)]
    command: C,
    #[command(flatten)]
    server: Flags<CLIENT>,
    /// Print JSON: the contract's messages in protobuf JSON
    #[arg(long, global = true)]
    json: bool,
}

/// A command that talks to a server.
trait Run {
    async fn run(self, session: &Session) -> Result<(), Failure>;
}

impl Cli {
    /// Executes the parsed command.
    ///
    /// # Errors
    /// [`Failure`] holds the message and the exit code.
    pub async fn run(self) -> Result<(), Failure> {
        let sources = Sources::new(&|name| env::var_os(name))?;
        match self.command {
            Command::Serve(flags) => {
                let settings = sources.with(flags).serve()?;
                log_to_stderr(settings.telemetry.log);
                let served = node::run(settings).await;
                served.map_err(|error| match error {
                    node::Error::Setting(error) => Failure::Setting(error),
                    error => Failure::Operation(error.to_string()),
                })
            }
            Command::Copy(copy) => copy.run().await,
            Command::Token(token) => token.run(),
            Command::Export(export) => export.run(sources).await,
            Command::Restore(restore) => restore.run(sources).await,
            Command::Import(client) => client.run(sources).await,
            Command::Status(client) => client.run(sources).await,
            Command::Rebuild(client) => client.run(sources).await,
            Command::Verify(client) => client.run(sources).await,
            Command::Parked(client) => client.run(sources).await,
            Command::Watch(client) => client.run(sources).await,
            Command::Order(client) => client.run(sources).await,
            Command::Customer(client) => client.run(sources).await,
            Command::Product(client) => client.run(sources).await,
            Command::Statistics(client) => client.run(sources).await,
        }
    }
}

/// Logs to stderr at the levels that `RUST_LOG` sets, by default INFO.
fn log_to_stderr(format: LogFormat) {
    let filter = EnvFilter::builder().with_default_directive(LevelFilter::INFO.into());
    let filter = filter.from_env_lossy();
    // The Meilisearch client warns about missing items, which are a normal answer for orderlog, and
    // h2 about whatever strangers send.
    let quiet = ["meilisearch_sdk=error", "h2=error"];
    let filter = quiet
        .into_iter()
        .fold(filter, |filter, quiet| match quiet.parse() {
            Ok(quiet) => filter.add_directive(quiet),
            Err(_) => filter,
        });
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr);
    match format {
        LogFormat::Text => log.with_ansi(io::stderr().is_terminal()).init(),
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
}

impl<C: Args + Run> Client<C> {
    async fn run(self, sources: Sources<'_>) -> Result<(), Failure> {
        let (server, caller) = sources.with(self.server).server()?;
        let session = Session::new(server, caller, self.json);
        self.command.run(&session).await
    }
}
