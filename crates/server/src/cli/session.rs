//! The connection and the output format that the client commands share.

use std::{
    io::{self, Write as _},
    time::Duration,
};

use prost::Message;
use tonic::transport::Endpoint;
use wire::{Bearer, Connection};

use super::{Failure, failure, json, text::printable_lines};
use crate::settings::Caller;

/// The server that a client command calls, and its output format.
pub(super) struct Session {
    server: Endpoint,
    caller: Caller,
    /// Prints JSON instead of tables.
    pub(super) json: bool,
}

impl Session {
    pub(super) fn new(server: Endpoint, caller: Caller, json: bool) -> Self {
        let server = server
            .connect_timeout(Duration::from_secs(5))
            // Pings detect a server that vanished silently, also while a stream is quiet.
            .http2_keep_alive_interval(Duration::from_secs(20))
            .keep_alive_timeout(Duration::from_secs(10));
        Self {
            server,
            caller,
            json,
        }
    }

    pub(super) async fn connect(&self) -> Result<Connection, Failure> {
        let token = self.caller.token.as_ref();
        let shown = token.map(|token| token.authorization()).transpose()?;
        let shown = shown.map(Bearer::of).unwrap_or_default();
        let server = self.caller.endpoint(self.server.clone())?;
        let channel = server.connect().await.map_err(|error| {
            let cause = failure::innermost(&error);
            let hint = if cause.contains("UnknownIssuer") {
                "; --tls-ca names the authorities to trust"
            } else {
                ""
            };
            Failure::Operation(format!("cannot reach {}: {cause}{hint}", self.server.uri()))
        })?;
        Ok(Connection::new(channel, shown))
    }

    /// Prints a message of the contract, as JSON or in the format of `text`.
    pub(super) fn show<M: Message>(
        &self,
        name: &str,
        message: &M,
        text: impl FnOnce(&M) -> String,
    ) -> Result<(), Failure> {
        let line = if self.json {
            json::text(name, message)?
        } else {
            text(message)
        };
        print(&line)?;
        Ok(())
    }
}

/// Prints a line to stdout. Unlike `println!` it returns an error instead of a panic.
pub(super) fn print(line: &str) -> io::Result<()> {
    writeln!(io::stdout(), "{}", printable_lines(line))
}

/// Prints a line to stderr. A closed stderr is no failure.
pub(super) fn tell(line: &str) {
    let _ = writeln!(io::stderr(), "{}", printable_lines(line));
}
