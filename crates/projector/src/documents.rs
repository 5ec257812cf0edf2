use std::time::Duration;

use contract::orders::v1::{SubscribeRequest, SubscribeResponse};
use read_model::store::{self, Writer};
use tokio::{sync::mpsc, time::timeout};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use tonic::{Status, Streaming};

use crate::{Nodes, Progress, retry::Retry};

/// Events in a response of the stream.
const BATCH: u32 = 500;

/// Events that are applied in one transaction, or a response more.
const MOST: usize = 4000;

/// Responses that are decoded while others are being applied.
const AHEAD: usize = 4;

/// A stream that says nothing for so long is given up: three of its heartbeats are missing.
const SILENCE: Duration = Duration::from_secs(30);

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("the event stream of {0} failed: {code}: {message}", code = .1.code(), message = .1.message())]
    Stream(String, Status),
    #[error("the event stream of {0} ended")]
    Ended(String),
    #[error("the event stream of {0} says nothing")]
    Silent(String),
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// Follows the log, and makes the documents.
#[derive(Debug)]
pub struct Documents {
    nodes: Nodes,
    writer: Writer,
    progress: Progress,
}

impl Documents {
    /// Goes on where the documents are.
    #[must_use]
    pub fn new(nodes: Nodes, writer: Writer) -> Self {
        let (log_id, position, generation) = match writer.checkpoint() {
            Some(checkpoint) => (
                checkpoint.log_id.clone(),
                checkpoint.position,
                checkpoint.generation,
            ),
            None => (String::new(), 0, crate::indexer::GENERATION),
        };
        Self {
            nodes,
            writer,
            progress: Progress::new(log_id, position, generation),
        }
    }

    /// How far it is.
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.progress.clone()
    }

    /// Works until it is stopped, then closes the documents.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut retry = Retry::new("documents");
        while !stop.is_cancelled() {
            if let Err(error) = self.follow(&stop, &mut retry).await {
                if !matches!(error, Error::Store(_)) {
                    self.nodes.turn();
                }
                retry.after(&error, &self.progress, &stop).await;
            }
        }
        self.writer.close().await;
    }

    async fn follow(&mut self, stop: &CancellationToken, retry: &mut Retry) -> Result<(), Error> {
        let (log_id, after_position) = match self.writer.checkpoint() {
            Some(checkpoint) => (checkpoint.log_id.clone(), checkpoint.position),
            None => (String::new(), 0),
        };
        let request = SubscribeRequest {
            after_position,
            follow: true,
            max_batch_size: BATCH,
            log_id,
            filter: None,
        };
        let mut node = self.nodes.current();
        let subscribed = timeout(SILENCE, node.subscribe(request));
        let Some(stream) = stop.run_until_cancelled(subscribed).await else {
            return Ok(());
        };
        let name = self.nodes.name().to_owned();
        let stream = stream
            .map_err(|_| Error::Silent(name.clone()))?
            .map_err(|status| Error::Stream(name.clone(), status))?
            .into_inner();
        tracing::info!(node = name, after_position, "following");
        let (responses, mut received) = mpsc::channel(AHEAD);
        // Ends with this call, which drops it.
        let _receiver =
            AbortOnDropHandle::new(tokio::spawn(receive(name.clone(), stream, responses)));
        while let Some(next) = stop.run_until_cancelled(received.recv()).await {
            let mut response = next.unwrap_or_else(|| Err(Error::Ended(name.clone())))?;
            let mut failed = None;
            while response.events.len() < MOST && failed.is_none() {
                match received.try_recv() {
                    Ok(Ok(more)) => join(&mut response, more),
                    Ok(Err(error)) => failed = Some(error),
                    Err(_) => break,
                }
            }
            self.apply(response).await?;
            retry.succeeded();
            if let Some(error) = failed {
                return Err(error);
            }
        }
        Ok(())
    }

    /// Not to be dropped half-way: it is not raced against anything.
    async fn apply(&mut self, response: SubscribeResponse) -> Result<(), Error> {
        let SubscribeResponse {
            events,
            position,
            head_position,
            log_id,
            ..
        } = response;
        self.progress.heard();
        self.writer.apply(&log_id, &events, position).await?;
        self.progress
            .reached(&log_id, position, position, head_position);
        Ok(())
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
            Ok(Err(status)) => Err(Error::Stream(name.clone(), status)),
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
