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

/// How long a node may take to tell the events of an order.
const HISTORY_TIMEOUT: Duration = Duration::from_secs(5);

/// Parked orders that are tried again when new documents are used.
const RETRIED: u32 = 1000;

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Stream(#[from] stream::Error),
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// Follows the log, and makes the documents.
#[derive(Debug)]
pub struct Documents {
    nodes: Nodes,
    writer: Writer,
    progress: Progress,
    traces: Traces,
    requests: mpsc::Receiver<Request>,
    /// Replaces the writer as soon as both are at the same position.
    successor: Option<(Successor, Replaced)>,
}

/// Another generation, nearly as far as the one that is used.
#[derive(Debug)]
pub(crate) struct Successor {
    pub(crate) writer: Writer,
    /// Its place among the files.
    pub(crate) place: (Generations, Generation),
    /// Whether its counts and sums have to be those of the generation that is used.
    pub(crate) totals: Totals,
}

/// A generation that was not put into use, with its writer.
pub(crate) type NotUsed = (store::Error, Writer);

type Replaced = oneshot::Sender<Result<(), NotUsed>>;

/// What the one who writes the documents is asked to do.
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

/// What became of parked orders that were tried again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Retried {
    /// Those that are as they should be now.
    pub projected: Vec<String>,
    /// Those that are parked still.
    pub parked: Vec<String>,
}

/// Why parked orders were not tried again.
#[derive(Debug, thiserror::Error)]
pub enum RetryError {
    /// The documents cannot be written.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The log does not answer.
    #[error("the history of order {0} cannot be read: {1}")]
    Log(String, Status),
}

/// Asks the one who writes the documents.
#[derive(Debug, Clone)]
pub struct Control(mpsc::Sender<Request>);

impl Control {
    /// One that sets aside what it is told to, which is received from the channel.
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

    /// Puts another generation, nearly as far as the one that is used, in the place of that one.
    /// Returns when it is used. `None` where the projector has stopped.
    pub(crate) async fn replace(&self, by: Successor) -> Option<Result<(), NotUsed>> {
        let (replaced, answer) = oneshot::channel();
        let request = Request::Replace(Box::new(by), replaced);
        self.0.send(request).await.ok()?;
        answer.await.ok()
    }

    /// Projects the events of parked orders again: of these, or of all.
    ///
    /// # Errors
    /// When the log does not answer or the documents cannot be written. What was tried until then
    /// is done.
    pub async fn retry(&self, order_ids: Vec<String>) -> Result<Retried, RetryError> {
        self.ask(|retried| Request::Retry { order_ids, retried })
            .await
    }

    /// Lets the index be brought orders again that it refused.
    ///
    /// # Errors
    /// When the documents cannot be written.
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
    /// Goes on where the documents are.
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

    /// Feeds the stream of a node to the generation that is behind, until that is another one.
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
                // Which is at another position than the stream.
                return Ok(());
            }
            let request = tokio::select! {
                () = stop.cancelled() => return Ok(()),
                // Nobody asks any more; the log goes on.
                Some(request) = self.requests.recv() => request,
                response = stream.next() => {
                    // Not to be dropped half-way: it is not raced against anything.
                    self.apply(response?).await?;
                    retry.succeeded();
                    continue;
                }
            };
            self.answer(request).await;
        }
    }

    /// The generation that is fed now: while another one is to replace the one that is used, each
    /// waits for the other to be as far.
    fn behind(&mut self) -> &mut Writer {
        match &mut self.successor {
            Some((next, _)) if next.writer.position() < self.writer.position() => &mut next.writer,
            _ => &mut self.writer,
        }
    }

    /// Answers who asks while something else is waited for.
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
            // Up to where both are level, and no further.
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

    /// Puts the successor in the place of the writer if both are at the same position. Returns
    /// whether there is no successor any more.
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
                // The old one is not closed but let go of: somebody may still be reading it.
                self.writer = writer;
                self.progress.is_of(generation.number);
                self.retry_parked().await;
                Ok(())
            }
            Err(error) => Err((error, writer)),
        };
        // Fails when nobody waits for it any more.
        let _ = replaced.send(result);
        true
    }

    /// Goes on with the writer that there is.
    fn give_up_successor(&mut self) {
        if let Some((successor, replaced)) = self.successor.take() {
            // Fails when nobody waits for it any more.
            let _ = replaced.send(Err((store::Error::Stopped, successor.writer)));
        }
    }

    /// An answer fails to be sent when nobody waits for it any more.
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

    /// What is parked in new documents was so when they were made; it may be right by now, as it was
    /// in the old ones.
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
                // One that cannot be read is as wrong as before.
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
