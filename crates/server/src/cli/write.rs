//! The options of all commands that change something, their call and their reply.

use std::{error::Error as _, mem};

use clap::Args;
use contract::{CommandRequest, orders::v1::command_service_client::CommandServiceClient};
use prost::Message;
use prost_types::Timestamp;
use tonic::{Code, Response, Status};
use uuid::Uuid;
use wire::Connection;

use super::{Failure, Session, time};

/// The client that [`execute`] calls.
pub(super) type Client = CommandServiceClient<Connection>;

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

/// Sends a command by `method`, and prints its reply as JSON or in the format of `text`.
///
/// # Errors
/// - [`Failure::OutcomeUnknown`]: the server may have executed the command.
/// - [`Failure::Refused`]: the server rejected the command.
pub(super) async fn execute<C: CommandRequest<Reply: Message> + Clone>(
    session: &Session,
    request: C,
    method: impl AsyncFnOnce(&mut Client, C) -> Result<Response<C::Reply>, Status>,
    text: impl FnOnce(&C::Reply) -> String,
) -> Result<(), Failure> {
    let mut client = Client::new(session.connect().await?);
    let mut command = request.clone().into();
    match method(&mut client, request).await {
        Ok(reply) => session.show(&format!("{}Response", C::NAME), reply.get_ref(), text),
        // The client makes such a status when the connection broke, or the server sends
        // `UNAVAILABLE`.
        Err(status) if status.source().is_some() || status.code() == Code::Unavailable => {
            Err(Failure::OutcomeUnknown {
                status: Box::new(status),
                request_id: mem::take(command.request_id_mut()),
            })
        }
        Err(status) => Err(status.into()),
    }
}

/// Formats the outcome of a command as one line.
pub(super) fn told(kind: &str, id: &str, version: u64, position: u64) -> String {
    format!("{kind} {id} is at version {version} (position {position})")
}
