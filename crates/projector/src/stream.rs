//! The event stream of a node, decoded ahead of whoever applies it.

use std::time::Duration;

use contract::orders::v1::{SubscribeRequest, SubscribeResponse};
use read_model::store::Checkpoint;
use tokio::{sync::mpsc, time::timeout};
use tokio_util::task::AbortOnDropHandle;
use tonic::{Status, Streaming};

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
        let mut node = nodes.current();
        let name = nodes.name().to_owned();
        let stream = timeout(SILENCE, node.subscribe(request))
            .await
            .map_err(|_| Error::Silent(name.clone()))?
            .map_err(|status| Error::Failed(name.clone(), status))?
            .into_inner();
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

async fn receive(
    name: String,
    mut stream: Streaming<SubscribeResponse>,
    responses: mpsc::Sender<Result<SubscribeResponse, Error>>,
) {
    loop {
        let next = match timeout(SILENCE, stream.message()).await {
            Ok(Ok(Some(response))) => Ok(response),
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
