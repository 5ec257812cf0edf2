//! The documents: follows the log through EventService and applies its events.

use std::{
    pin::pin,
    time::{Duration, SystemTime},
};

use contract::orders::v1::{GetOrderHistoryRequest, SubscribeResponse};
use read_model::{
    generations::{Generation, Generations},
    store::{self, Parked, Totals, Writer},
};
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};

use read_model::progress::Progress;

use crate::{
    Nodes, Traces,
    retry::Retry,
    stream::{self, Stream},
};

/// Maximum time for a node to return the history of an order.
const HISTORY_TIMEOUT: Duration = Duration::from_secs(5);

/// Maximum number of parked orders that are retried after a swap.
const RETRIED: u32 = 1000;

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Stream(#[from] stream::Error),
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// Follows the log and writes the documents.
#[derive(Debug)]
pub struct Documents {
    nodes: Nodes,
    writer: Writer,
    progress: Progress,
    traces: Traces,
    requests: mpsc::Receiver<Request>,
    /// A generation that replaces the writer as soon as both are at the same position.
    successor: Option<(Successor, Replaced)>,
}

/// Another generation, which has almost caught up with the live one.
#[derive(Debug)]
pub(crate) struct Successor {
    pub(crate) writer: Writer,
    /// The folder of the generations, and this generation in it.
    pub(crate) place: (Generations, Generation),
    /// The rule for its counts and sums compared with the live generation's.
    pub(crate) totals: Totals,
}

/// A generation that did not become live: the reason, and its writer.
pub(crate) type NotUsed = (store::Error, Writer);

type Replaced = oneshot::Sender<Result<(), NotUsed>>;

/// A request to the documents' writer.
#[derive(Debug)]
enum Request {
    Replace(Box<Successor>, Replaced),
    Retry {
        order_ids: Vec<String>,
        retried: oneshot::Sender<Result<Retried, RetryError>>,
    },
    Park(Parked, oneshot::Sender<Result<(), store::Error>>),
    OfferAgain(Vec<String>, oneshot::Sender<Result<(), store::Error>>),
    Brought(Vec<(u64, i64)>, oneshot::Sender<Result<(), store::Error>>),
}

/// The result of a retry of parked orders.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Retried {
    /// Ids of the orders whose events are all projected now.
    pub projected: Vec<String>,
    /// Ids of the orders that are still parked.
    pub parked: Vec<String>,
}

/// Why a retry of parked orders failed.
#[derive(Debug, thiserror::Error)]
pub enum RetryError {
    /// The documents could not be read or written.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The history of this order could not be read from the log.
    #[error("the history of order {0} cannot be read: {1}")]
    Log(String, Status),
}

/// Sends requests to the documents' writer.
#[derive(Debug, Clone)]
pub struct Control(mpsc::Sender<Request>);

impl Control {
    /// Returns a control that only parks, and the receiver of the parked orders.
    #[cfg(test)]
    pub(crate) fn that_parks() -> (Self, mpsc::Receiver<Parked>) {
        let (control, mut requests) = mpsc::channel(1);
        let (parks, parked) = mpsc::channel(10);
        tokio::spawn(async move {
            while let Some(Request::Park(order, done)) = requests.recv().await {
                parks.send(order).await.unwrap();
                done.send(Ok(())).unwrap();
            }
        });
        (Self(control), parked)
    }

    async fn ask<T, E: From<store::Error>>(
        &self,
        request: impl FnOnce(oneshot::Sender<Result<T, E>>) -> Request,
    ) -> Result<T, E> {
        let (answer, answered) = oneshot::channel();
        let stopped = || E::from(store::Error::Stopped);
        self.0.send(request(answer)).await.map_err(|_| stopped())?;
        answered.await.map_err(|_| stopped())?
    }

    /// Swaps the live generation with another one that has almost caught up. Returns after the
    /// swap, or `None` if the projector has stopped.
    pub(crate) async fn replace(&self, by: Successor) -> Option<Result<(), NotUsed>> {
        let (replaced, answer) = oneshot::channel();
        let request = Request::Replace(Box::new(by), replaced);
        self.0.send(request).await.ok()?;
        answer.await.ok()
    }

    /// Projects the events of the given parked orders from their histories.
    ///
    /// # Errors
    /// * [`RetryError::Log`]: the history of an order cannot be read.
    /// * [`RetryError::Store`]: the documents cannot be written, or the projector has stopped.
    ///
    /// Orders retried before the error stay projected.
    pub async fn retry(&self, order_ids: Vec<String>) -> Result<Retried, RetryError> {
        self.ask(|retried| Request::Retry { order_ids, retried })
            .await
    }

    /// Queues orders that the index refused, so that the indexer tries them once more.
    ///
    /// # Errors
    /// The documents cannot be written, or the projector has stopped.
    pub async fn offer_again(&self, order_ids: Vec<String>) -> Result<(), store::Error> {
        self.ask(|done| Request::OfferAgain(order_ids, done)).await
    }

    pub(crate) async fn park(&self, refused: Parked) -> Result<(), store::Error> {
        self.ask(|done| Request::Park(refused, done)).await
    }

    pub(crate) async fn brought(&self, marks: Vec<(u64, i64)>) -> Result<(), store::Error> {
        self.ask(|done| Request::Brought(marks, done)).await
    }
}

impl Documents {
    /// Creates the projection, which resumes at the documents' checkpoint.
    #[must_use]
    pub fn new(nodes: Nodes, writer: Writer, traces: Traces) -> (Self, Control) {
        let (log_id, position) = match writer.checkpoint() {
            Some(made) => (made.log_id.clone(), made.position),
            None => (String::new(), 0),
        };
        let (control, requests) = mpsc::channel(1);
        let documents = Self {
            nodes,
            traces,
            progress: Progress::new(log_id, position, writer.generation()),
            writer,
            requests,
            successor: None,
        };
        (documents, Control(control))
    }

    /// Returns the progress of the documents.
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.progress.clone()
    }

    /// Runs until `stop` is cancelled, then closes the documents.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut retry = Retry::new("documents");
        while !stop.is_cancelled() {
            if let Err(error) = self.follow(&stop, &mut retry).await {
                match error {
                    Error::Store(_) => self.give_up_successor(),
                    Error::Stream(_) => self.nodes.turn(),
                }
                let progress = self.progress.clone();
                self.answer_while(retry.after(&error, &progress, &stop))
                    .await;
            }
        }
        self.writer.close().await;
    }

    /// Applies the stream of a node to the generation that is behind. Returns when the other
    /// generation is behind.
    async fn follow(&mut self, stop: &CancellationToken, retry: &mut Retry) -> Result<(), Error> {
        let generation = self.behind().generation();
        let made = self.behind().checkpoint().cloned();
        let nodes = self.nodes.clone();
        let subscribed = stop.run_until_cancelled(Stream::open(&nodes, made.as_ref(), true));
        let Some(stream) = self.answer_while(subscribed).await else {
            return Ok(());
        };
        let mut stream = stream?;
        loop {
            self.replace_if_level().await;
            if self.behind().generation() != generation {
                // The other generation is at another position than the stream.
                return Ok(());
            }
            let request = tokio::select! {
                () = stop.cancelled() => return Ok(()),
                // A closed request channel disables this branch, and the stream goes on.
                Some(request) = self.requests.recv() => request,
                response = stream.next() => {
                    // The body of a `select!` branch is not raced against the others, so nothing
                    // drops `apply` half-way.
                    self.apply(response?).await?;
                    retry.succeeded();
                    continue;
                }
            };
            self.answer(request).await;
        }
    }

    /// Returns the generation to apply events to: the one at the lower position, if a successor
    /// waits. Both must reach the same position before the swap.
    fn behind(&mut self) -> &mut Writer {
        match &mut self.successor {
            Some((next, _)) if next.writer.position() < self.writer.position() => &mut next.writer,
            _ => &mut self.writer,
        }
    }

    /// Answers requests until `work` completes.
    async fn answer_while<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        loop {
            let request = tokio::select! {
                worked = &mut work => return worked,
                Some(request) = self.requests.recv() => request,
            };
            self.answer(request).await;
        }
    }

    async fn apply(&mut self, response: SubscribeResponse) -> Result<(), Error> {
        if let Some((next, _)) = &self.successor {
            // Applies no event past the higher of the two positions, where the swap happens.
            let level = self.writer.position().max(next.writer.position());
            let count = response.events.partition_point(|it| it.position <= level);
            let position = response.position.min(level);
            let events = &response.events[..count];
            let behind = self.behind();
            behind.apply(&response.log_id, events, position).await?;
            if !self.replace_if_level().await {
                return Ok(());
            }
        }
        let (log_id, position) = (&response.log_id, response.position);
        self.progress.heard(response.head_position.max(position));
        self.traces.received(&response.events);
        let began = SystemTime::now();
        self.writer
            .apply(log_id, &response.events, position)
            .await?;
        self.traces.projected(&response.events, began);
        let reached = self.writer.position();
        self.progress
            .reached(log_id, reached, reached, response.head_position);
        Ok(())
    }

    /// Swaps the writer with the successor if both are at the same position. Returns whether there
    /// is no successor left.
    async fn replace_if_level(&mut self) -> bool {
        let position = self.writer.position();
        let level = |next: &mut (Successor, Replaced)| next.0.writer.position() == position;
        let Some((successor, replaced)) = self.successor.take_if(level) else {
            return self.successor.is_none();
        };
        let Successor {
            mut writer,
            place: (generations, generation),
            totals,
        } = successor;
        let switch = || generations.switch(&generation);
        let result = match writer.succeed(&self.writer, totals, switch).await {
            Ok(()) => {
                // The old writer is dropped, not closed: a reader may still use its file.
                self.writer = writer;
                self.progress.is_of(generation.number);
                self.retry_parked().await;
                Ok(())
            }
            Err(error) => Err((error, writer)),
        };
        // Sending fails if the caller no longer waits.
        let _ = replaced.send(result);
        true
    }

    /// Returns the successor to its rebuild as a failed swap.
    fn give_up_successor(&mut self) {
        if let Some((successor, replaced)) = self.successor.take() {
            // Sending fails if the caller no longer waits.
            let _ = replaced.send(Err((store::Error::Stopped, successor.writer)));
        }
    }

    /// Performs a request. Sending the answer fails if the caller no longer waits.
    async fn answer(&mut self, request: Request) {
        match request {
            Request::Replace(by, replaced) => self.successor = Some((*by, replaced)),
            Request::Retry { order_ids, retried } => {
                let _ = retried.send(self.retry(order_ids).await);
            }
            Request::Park(refused, done) => {
                let _ = done.send(self.writer.park(&refused).await);
            }
            Request::OfferAgain(order_ids, done) => {
                let mut offered = Ok(());
                for order_id in order_ids {
                    if offered.is_ok() {
                        offered = self.writer.offer_again(&order_id).await;
                    }
                }
                let _ = done.send(offered);
            }
            Request::Brought(marks, done) => {
                let _ = done.send(self.writer.brought(&marks).await);
            }
        }
    }

    /// Retries the orders that the new generation parked while it was filled. The old generation
    /// may have projected them by a later retry.
    async fn retry_parked(&mut self) {
        let parked = match self.writer.parked_orders(RETRIED).await {
            Ok(parked) => parked,
            Err(error) => return tracing::warn!(%error, "parked orders are not tried again"),
        };
        if let Err(error) = self.retry(parked).await {
            tracing::warn!(%error, "parked orders are not tried again");
        }
    }

    async fn retry(&mut self, order_ids: Vec<String>) -> Result<Retried, RetryError> {
        let mut retried = Retried::default();
        for order_id in order_ids {
            let request = GetOrderHistoryRequest {
                order_id: order_id.clone(),
            };
            let mut node = self.nodes.current();
            let asked = timeout(HISTORY_TIMEOUT, node.get_order_history(request)).await;
            let late = |_| Err(Status::deadline_exceeded("no answer"));
            let events = match asked.unwrap_or_else(late) {
                Ok(history) => history.into_inner().events,
                // The node cannot read the history, so the order stays parked.
                Err(status) if status.code() == Code::Internal => {
                    retried.parked.push(order_id);
                    continue;
                }
                Err(status) => return Err(RetryError::Log(order_id, status)),
            };
            if self.writer.retry(&order_id, &events).await? {
                retried.projected.push(order_id);
            } else {
                retried.parked.push(order_id);
            }
        }
        Ok(retried)
    }
}
