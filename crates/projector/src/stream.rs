//! The event stream of a node, decoded ahead of whoever applies it.

use std::time::Duration;

use contract::{
    encoded,
    orders::v1::{RecordedEvent, SubscribeRequest, SubscribeResponse},
};
use http::uri::PathAndQuery;
use prost::Message as _;
use read_model::store::Checkpoint;
use tokio::{sync::mpsc, time::timeout};
use tokio_util::task::AbortOnDropHandle;
use tonic::{Status, Streaming, client::Grpc};
use tonic_prost::ProstCodec;
use wire::Connection;

use crate::Nodes;

/// Events in a response of the stream.
const BATCH: u32 = 500;

/// Events that are taken at once, or a response more.
const MOST: usize = 8000;

/// Responses that are decoded while others are being applied.
const AHEAD: usize = 16;

/// A stream that says nothing for so long is given up: three of its heartbeats are missing.
const SILENCE: Duration = Duration::from_secs(30);

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("the event stream of {0} failed: {code}: {message}", code = .1.code(), message = .1.message())]
    Failed(String, Status),
    #[error("the event stream of {0} ended")]
    Ended(String),
    #[error("the event stream of {0} says nothing")]
    Silent(String),
}

/// What comes after a checkpoint.
#[derive(Debug)]
pub(crate) struct Stream {
    responses: mpsc::Receiver<Result<SubscribeResponse, Error>>,
    failed: Option<Error>,
    name: String,
    _receiver: AbortOnDropHandle<()>,
}

impl Stream {
    /// Subscribes at the node that is followed now: for ever, or up to the head of the moment.
    pub(crate) async fn open(
        nodes: &Nodes,
        after: Option<&Checkpoint>,
        follow: bool,
    ) -> Result<Self, Error> {
        let after_position = after.map_or(0, |made| made.position);
        let request = SubscribeRequest {
            after_position,
            follow,
            max_batch_size: BATCH,
            log_id: after.map(|made| made.log_id.clone()).unwrap_or_default(),
            filter: None,
        };
        let name = nodes.name().to_owned();
        let stream = timeout(SILENCE, subscribe(nodes.connection(), request))
            .await
            .map_err(|_| Error::Silent(name.clone()))?
            .map_err(|status| Error::Failed(name.clone(), status))?;
        tracing::info!(node = name, after_position, "following");
        let (sender, responses) = mpsc::channel(AHEAD);
        let receiver = tokio::spawn(receive(name.clone(), stream, sender));
        Ok(Self {
            responses,
            failed: None,
            name,
            _receiver: AbortOnDropHandle::new(receiver),
        })
    }

    /// What has come, as if in one response.
    ///
    /// Nothing is lost when the future is dropped.
    pub(crate) async fn next(&mut self) -> Result<SubscribeResponse, Error> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        let next = self.responses.recv().await;
        let mut response = next.unwrap_or_else(|| Err(Error::Ended(self.name.clone())))?;
        while response.events.len() < MOST && self.failed.is_none() {
            match self.responses.try_recv() {
                Ok(Ok(more)) => join(&mut response, more),
                Ok(Err(error)) => self.failed = Some(error),
                Err(_) => break,
            }
        }
        Ok(response)
    }
}

/// The same call as the generated client's, but for the events, which come as they are: one that
/// cannot be decoded is not to be the end of all others.
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

/// What even an event that cannot be decoded says of itself.
#[derive(Clone, PartialEq, prost::Message)]
struct Header {
    #[prost(uint64, tag = "1")]
    position: u64,
    #[prost(int32, tag = "3")]
    aggregate_type: i32,
    #[prost(string, tag = "4")]
    aggregate_id: String,
    #[prost(uint64, tag = "5")]
    version: u64,
}

/// A recorded event, as it is sent. One that cannot be decoded comes without its time and what it
/// says, so that it cannot be projected.
///
/// # Errors
/// DATA_LOSS when it does not even say where it is.
pub fn decode(event: &[u8]) -> Result<RecordedEvent, Status> {
    let error = match RecordedEvent::decode(event) {
        Ok(event) => return Ok(event),
        Err(error) => error,
    };
    let damaged = |_| Status::data_loss(format!("an event cannot be decoded: {error}"));
    let header = Header::decode(event).map_err(damaged)?;
    tracing::error!(position = header.position, %error, "the event cannot be decoded");
    Ok(RecordedEvent {
        position: header.position,
        aggregate_type: header.aggregate_type,
        aggregate_id: header.aggregate_id,
        version: header.version,
        ..RecordedEvent::default()
    })
}

fn decoded(response: &encoded::SubscribeResponse) -> Result<SubscribeResponse, Status> {
    Ok(SubscribeResponse {
        events: response
            .events
            .iter()
            .map(|event| decode(event))
            .collect::<Result<_, _>>()?,
        position: response.position,
        head_position: response.head_position,
        caught_up: response.caught_up,
        log_id: response.log_id.clone(),
    })
}

async fn receive(
    name: String,
    mut stream: Streaming<encoded::SubscribeResponse>,
    responses: mpsc::Sender<Result<SubscribeResponse, Error>>,
) {
    loop {
        let next = match timeout(SILENCE, stream.message()).await {
            Ok(Ok(Some(response))) => {
                decoded(&response).map_err(|status| Error::Failed(name.clone(), status))
            }
            Ok(Ok(None)) => Err(Error::Ended(name.clone())),
            Ok(Err(status)) => Err(Error::Failed(name.clone(), status)),
            Err(_) => Err(Error::Silent(name.clone())),
        };
        let ends = next.is_err();
        if responses.send(next).await.is_err() || ends {
            return;
        }
    }
}

/// What comes next, as if it had come in one response.
fn join(response: &mut SubscribeResponse, next: SubscribeResponse) {
    response.events.extend(next.events);
    response.position = next.position;
    response.head_position = next.head_position;
}
