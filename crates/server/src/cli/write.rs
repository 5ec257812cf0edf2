//! The options and the replies of all commands that change something.

use std::error::Error as _;

use clap::Args;
use prost_types::Timestamp;
use tonic::{Code, Response, Status};
use uuid::Uuid;

use super::{Failure, time};

/// The options of every command that changes something.
#[derive(Debug, Args)]
pub(super) struct Write {
    /// Makes the command safe to run again: with the same id it has one effect only
    /// [default: a new UUIDv7]
    #[arg(long, value_name = "ID")]
    request_id: Option<String>,
    /// When it happened, for importing history: an RFC 3339 time, or a date [default: now]
    #[arg(long, value_name = "TIME", value_parser = time::parse)]
    pub(super) occurred_at: Option<Timestamp>,
}

impl Write {
    pub(super) fn request_id(&self) -> String {
        // The log appends time-ordered ids fastest.
        self.request_id
            .clone()
            .unwrap_or_else(|| Uuid::now_v7().to_string())
    }
}

/// Returns the reply to a command.
///
/// # Errors
/// - [`Failure::OutcomeUnknown`]: the server may have executed the command.
/// - [`Failure::Refused`]: the server rejected the command.
pub(super) fn answered<T>(
    reply: Result<Response<T>, Status>,
    request_id: String,
) -> Result<T, Failure> {
    match reply {
        Ok(reply) => Ok(reply.into_inner()),
        // The client makes such a status when the connection broke, or the server sends
        // `UNAVAILABLE`.
        Err(status) if status.source().is_some() || status.code() == Code::Unavailable => {
            let status = Box::new(status);
            Err(Failure::OutcomeUnknown { status, request_id })
        }
        Err(status) => Err(status.into()),
    }
}

/// Formats the outcome of a command as one line.
pub(super) fn told(kind: &str, id: &str, version: u64, position: u64) -> String {
    format!("{kind} {id} is at version {version} (position {position})")
}
