//! A node's event stream, decoded by a task of its own ahead of the projection.

use std::time::Duration;

use contract::{
    encoded,
    orders::v1::{RecordedEvent, SubscribeRequest, SubscribeResponse},
};
use http::uri::PathAndQuery;
use prost::{
    Message as _,
    encoding::{self, DecodeContext},
};
use read_model::store::Checkpoint;
use tokio::{sync::mpsc, time::timeout};
use tokio_util::task::AbortOnDropHandle;
use tonic::{Status, Streaming, client::Grpc};
use tonic_prost::ProstCodec;
use wire::{Connection, ResumeToken};

use crate::Nodes;

/// Maximum number of events in one response: the `max_batch_size` of the subscription.
const MAX_RESPONSE_EVENTS: u32 = 500;

/// Number of events after which [`Stream::next`] stops joining responses. The last response may
/// exceed it.
const MAX_JOINED_EVENTS: usize = 8000;

/// Maximum number of decoded responses that wait for the projection.
const DECODED_CAPACITY: usize = 16;

/// Maximum silence of a stream: three missed heartbeats of 10 s. The stream then fails with
/// [`Error::Silent`].
const SILENCE_TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("the event stream of {0} failed: {code}: {message}", code = .1.code(), message = .1.message())]
    Failed(String, Status),
    /// The log went back: it no longer has the event at the checkpoint.
    #[error("the event stream of {0} is of another history: {1}")]
    Diverged(String, String),
    /// The checkpoint is that of another log.
    #[error("the event stream of {0} is of another log: {1}")]
    OtherLog(String, String),
    #[error("the event stream of {0} ended")]
    Ended(String),
    #[error("the event stream of {0} says nothing")]
    Silent(String),
}

impl Error {
    /// Makes the error of a stream that ended with this status.
    fn of(node: &str, status: Status) -> Self {
        let node = node.to_owned();
        match wire::reason(&status).as_deref() {
            // A checkpoint without an event id, of an older version, is only a position.
            Some("LOG_DIVERGED" | "POSITION_BEYOND_HEAD") => {
                Self::Diverged(node, status.message().to_owned())
            }
            Some("LOG_MISMATCH") => Self::OtherLog(node, status.message().to_owned()),
            _ => Self::Failed(node, status),
        }
    }
}

/// The events after a checkpoint.
#[derive(Debug)]
pub(crate) struct Stream {
    responses: mpsc::Receiver<Result<SubscribeResponse, Error>>,
    failed: Option<Error>,
    name: String,
    _receiver: AbortOnDropHandle<()>,
}

impl Stream {
    /// Subscribes at the current node after the given checkpoint. With `follow` the stream has no
    /// end; without it, the stream ends at the head at the time of the call.
    pub(crate) async fn open(
        nodes: &Nodes,
        after: Option<&Checkpoint>,
        follow: bool,
    ) -> Result<Self, Error> {
        let after_position = after.map_or(0, |checkpoint| checkpoint.position);
        let request = SubscribeRequest {
            follow,
            max_batch_size: MAX_RESPONSE_EVENTS,
            ..resume(after)
        };
        let name = nodes.name().to_owned();
        let stream = timeout(SILENCE_TIMEOUT, subscribe(nodes.connection(), request))
            .await
            .map_err(|_| Error::Silent(name.clone()))?
            .map_err(|status| Error::of(&name, status))?;
        tracing::info!(node = name, after_position, "the projector follows the log");
        let (sender, responses) = mpsc::channel(DECODED_CAPACITY);
        let receiver = tokio::spawn(receive(name.clone(), stream, sender));
        Ok(Self {
            responses,
            failed: None,
            name,
            _receiver: AbortOnDropHandle::new(receiver),
        })
    }

    /// Waits for a response, and joins arrived ones to it until it has [`MAX_JOINED_EVENTS`]
    /// events.
    ///
    /// Cancel safe: dropping the future loses no response.
    pub(crate) async fn next(&mut self) -> Result<SubscribeResponse, Error> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        let next = self.responses.recv().await;
        let mut response = next.unwrap_or_else(|| Err(Error::Ended(self.name.clone())))?;
        while response.events.len() < MAX_JOINED_EVENTS && self.failed.is_none() {
            match self.responses.try_recv() {
                Ok(Ok(more)) => join(&mut response, more),
                Ok(Err(error)) => self.failed = Some(error),
                Err(_) => break,
            }
        }
        Ok(response)
    }
}

/// Returns a request for the events after a checkpoint. A checkpoint of an older version has no event
/// id, and so no token.
fn resume(after: Option<&Checkpoint>) -> SubscribeRequest {
    let mut request = SubscribeRequest::default();
    let Some(checkpoint) = after else {
        return request;
    };
    match checkpoint.token() {
        Some(token) => request.resume_token = token.to_string(),
        None => {
            request.after_position = checkpoint.position;
            request.log_id.clone_from(&checkpoint.log_id);
        }
    }
    request
}

/// Returns whether the log has the point that a token names.
pub(crate) async fn is_in_log(nodes: &Nodes, token: &ResumeToken) -> Result<bool, Error> {
    let request = SubscribeRequest {
        resume_token: token.to_string(),
        max_batch_size: 1,
        ..SubscribeRequest::default()
    };
    let name = nodes.name().to_owned();
    let subscribed = timeout(SILENCE_TIMEOUT, subscribe(nodes.connection(), request)).await;
    let subscribed = subscribed.map_err(|_| Error::Silent(name.clone()))?;
    match subscribed.map_err(|status| Error::of(&name, status)) {
        Ok(_) => Ok(true),
        Err(Error::Diverged(..)) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Returns the event at a position.
///
/// # Errors
/// - `INTERNAL`: the log has no event there.
/// - `DATA_LOSS`: not even the event's header can be decoded.
/// - The status of the stream.
pub(crate) async fn event(nodes: &Nodes, position: u64) -> Result<RecordedEvent, Status> {
    let request = SubscribeRequest {
        after_position: position.saturating_sub(1),
        max_batch_size: 1,
        ..SubscribeRequest::default()
    };
    let mut stream = subscribe(nodes.connection(), request).await?;
    while let Some(response) = stream.message().await? {
        let Some(event) = response.events.first() else {
            continue;
        };
        let event = decode(event)?;
        if event.position == position {
            return Ok(event);
        }
        break;
    }
    Err(Status::internal(format!("event {position} is missing")))
}

/// Calls `Subscribe` like the generated client, but keeps the events encoded. One event that cannot
/// be decoded must not end the stream of all others.
async fn subscribe(
    channel: Connection,
    request: SubscribeRequest,
) -> Result<Streaming<encoded::SubscribeResponse>, Status> {
    let mut client = Grpc::new(channel);
    client
        .ready()
        .await
        .map_err(|error| Status::unavailable(error.to_string()))?;
    let path = PathAndQuery::from_static("/orders.v1.EventService/Subscribe");
    let codec = ProstCodec::default();
    let stream = client.server_streaming(tonic::Request::new(request), path, codec);
    Ok(stream.await?.into_inner())
}

/// Decodes a recorded event. An event that cannot be decoded keeps only the fields of its header:
/// without time and payload, it cannot be projected.
///
/// # Errors
/// `DATA_LOSS`: even the header cannot be decoded.
pub fn decode(event: &[u8]) -> Result<RecordedEvent, Status> {
    let error = match RecordedEvent::decode(event) {
        Ok(event) => return Ok(event),
        Err(error) => error,
    };
    let header = header(event);
    if header.event_id.is_empty() || header.aggregate_id.is_empty() || header.version == 0 {
        return Err(Status::data_loss(format!(
            "event {} cannot be decoded: {error}",
            header.position
        )));
    }
    tracing::error!(position = header.position, %error, "the event cannot be decoded");
    Ok(header)
}

/// Returns the header of a record: its first fields, up to the damage. A field that stands behind it
/// has a tag that a header does not have, or is in no sound message.
fn header(mut record: &[u8]) -> RecordedEvent {
    let mut header = RecordedEvent::default();
    let context = DecodeContext::default;
    while let Ok((tag, wire_type)) = encoding::decode_key(&mut record) {
        let from = &mut record;
        let read = match tag {
            1 => encoding::uint64::merge(wire_type, &mut header.position, from, context()),
            2 => encoding::string::merge(wire_type, &mut header.event_id, from, context()),
            3 => encoding::int32::merge(wire_type, &mut header.aggregate_type, from, context()),
            4 => encoding::string::merge(wire_type, &mut header.aggregate_id, from, context()),
            5 => encoding::uint64::merge(wire_type, &mut header.version, from, context()),
            _ => break,
        };
        if read.is_err() {
            break;
        }
    }
    header
}

/// Decodes a response, up to the first event that cannot be decoded. Then returns its error too.
fn decoded(response: &encoded::SubscribeResponse) -> (SubscribeResponse, Option<Status>) {
    let mut decoded = SubscribeResponse {
        events: Vec::with_capacity(response.events.len()),
        position: response.position,
        head_position: response.head_position,
        caught_up: response.caught_up,
        log_id: response.log_id.clone(),
        resume_token: response.resume_token.clone(),
    };
    for event in &response.events {
        match decode(event) {
            Ok(event) => decoded.events.push(event),
            Err(error) => {
                decoded.position = decoded.events.last().map_or(0, |event| event.position);
                decoded.resume_token = String::new();
                return (decoded, Some(error));
            }
        }
    }
    (decoded, None)
}

async fn receive(
    name: String,
    mut stream: Streaming<encoded::SubscribeResponse>,
    responses: mpsc::Sender<Result<SubscribeResponse, Error>>,
) {
    loop {
        let error = match timeout(SILENCE_TIMEOUT, stream.message()).await {
            Ok(Ok(Some(response))) => {
                let (decoded, damaged) = decoded(&response);
                let is_empty = damaged.is_some() && decoded.events.is_empty();
                if !is_empty && responses.send(Ok(decoded)).await.is_err() {
                    return;
                }
                let Some(damaged) = damaged else { continue };
                Error::Failed(name, damaged)
            }
            Ok(Ok(None)) => Error::Ended(name),
            Ok(Err(status)) => Error::of(&name, status),
            Err(_) => Error::Silent(name),
        };
        // Sending fails if the projection has left the stream.
        let _ = responses.send(Err(error)).await;
        return;
    }
}

/// Appends `next` to `response`, as if both had arrived in one response.
fn join(response: &mut SubscribeResponse, next: SubscribeResponse) {
    response.events.extend(next.events);
    response.position = next.position;
    response.resume_token = next.resume_token;
    response.head_position = next.head_position;
}
