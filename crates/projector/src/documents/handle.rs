//! The handle of the documents' writer, and the requests that it sends.

use read_model::{
    AggregateId, Row,
    generations::{Generation, Generations},
    progress::Progress,
    store::{self, Parked, ReindexEntry, TotalsCheck, Writer},
};
use tokio::sync::{mpsc, oneshot};
use tonic::Status;

/// A switch to the next generation, which has almost caught up with the live one.
#[derive(Debug)]
pub(crate) struct DocumentsSwitch {
    pub(crate) writer: Writer,
    pub(crate) generations: Generations,
    pub(crate) generation: Generation,
    pub(crate) totals: TotalsCheck,
}

/// A switch that failed: the error, and the writer of the generation that did not become live.
pub(crate) type FailedSwitch = (store::Error, Writer);

pub(super) type Switched = oneshot::Sender<Result<(), FailedSwitch>>;

/// A request to the documents' writer.
#[derive(Debug)]
pub(super) enum WriterRequest {
    Switch(Box<DocumentsSwitch>, Switched),
    Retry {
        parked: Vec<AggregateId>,
        retried: oneshot::Sender<Result<Retried, RetryError>>,
    },
    Park(Parked, oneshot::Sender<Result<(), store::Error>>),
    UnparkIndexed(Vec<Row>, oneshot::Sender<Result<(), store::Error>>),
    RetryIndexing(Vec<String>, oneshot::Sender<Result<(), store::Error>>),
    RemoveReindexed(Vec<ReindexEntry>, oneshot::Sender<Result<(), store::Error>>),
}

/// The result of a retry of parked aggregates.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Retried {
    /// The number of aggregates whose events are all projected now.
    pub(crate) projected: u64,
    /// The number of aggregates that are still parked.
    pub(crate) parked: u64,
}

/// Why a retry of parked aggregates failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RetryError {
    /// The documents could not be read or written.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The events of this aggregate could not be read from the log.
    #[error("the events of {0} cannot be read: {1}")]
    Log(AggregateId, Status),
}

/// The requests to a handle of [`DocumentsHandle::that_only_parks`].
#[cfg(test)]
#[derive(Debug)]
pub(crate) struct Parking {
    /// The orders that the index refused.
    pub(crate) parked: mpsc::Receiver<Parked>,
    /// The rows of orders that the index accepted while any order was parked.
    pub(crate) unparked: mpsc::Receiver<Vec<Row>>,
}

/// Sends requests to the documents' writer, and reports its progress.
#[derive(Debug, Clone)]
pub(crate) struct DocumentsHandle {
    requests: mpsc::Sender<WriterRequest>,
    progress: Progress,
}

impl DocumentsHandle {
    pub(super) fn new(requests: mpsc::Sender<WriterRequest>, progress: Progress) -> Self {
        Self { requests, progress }
    }

    /// Returns a handle that only parks and unparks, and receives what it is asked to.
    #[cfg(test)]
    pub(crate) fn that_only_parks() -> (Self, Parking) {
        let (sender, mut requests) = mpsc::channel(1);
        let (parks, parked) = mpsc::channel(10);
        let (unparks, unparked) = mpsc::channel(10);
        tokio::spawn(async move {
            while let Some(request) = requests.recv().await {
                let done = match request {
                    WriterRequest::Park(order, done) => {
                        parks.send(order).await.unwrap();
                        done
                    }
                    WriterRequest::UnparkIndexed(rows, done) => {
                        unparks.send(rows).await.unwrap();
                        done
                    }
                    request => unreachable!("{request:?}"),
                };
                done.send(Ok(())).unwrap();
            }
        });
        let progress = Progress::new(String::new(), 0, 1);
        (Self::new(sender, progress), Parking { parked, unparked })
    }

    /// Returns the progress of the documents.
    pub(crate) fn progress(&self) -> &Progress {
        &self.progress
    }

    /// Sends a request to the writer and waits for its answer.
    async fn ask<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<T>) -> WriterRequest,
    ) -> Result<T, store::Error> {
        let (answer, answered) = oneshot::channel();
        let sent = self.requests.send(request(answer)).await;
        sent.map_err(|_| store::Error::Stopped)?;
        answered.await.map_err(|_| store::Error::Stopped)
    }

    /// Switches to the next generation. Returns after the switch.
    ///
    /// # Errors
    /// [`store::Error::Stopped`]: the projector has stopped, so the switch did not happen.
    pub(crate) async fn switch(
        &self,
        next: DocumentsSwitch,
    ) -> Result<Result<(), FailedSwitch>, store::Error> {
        self.ask(|switched| WriterRequest::Switch(Box::new(next), switched))
            .await
    }

    /// Projects the events of the given parked aggregates from the log.
    ///
    /// # Errors
    /// - [`RetryError::Log`]: the events of an aggregate cannot be read.
    /// - [`RetryError::Store`]: the documents cannot be written, or the projector has stopped.
    ///
    /// Aggregates retried before the error stay projected.
    pub(crate) async fn retry(&self, parked: Vec<AggregateId>) -> Result<Retried, RetryError> {
        self.ask(|retried| WriterRequest::Retry { parked, retried })
            .await?
    }

    /// Queues orders that the index refused, so that the indexer tries them once more.
    ///
    /// # Errors
    /// The documents cannot be written, or the projector has stopped.
    pub(crate) async fn retry_indexing(&self, order_ids: Vec<String>) -> Result<(), store::Error> {
        self.ask(|done| WriterRequest::RetryIndexing(order_ids, done))
            .await?
    }

    /// Parks an order whose document the index refused.
    pub(crate) async fn park(&self, refused: Parked) -> Result<(), store::Error> {
        self.ask(|done| WriterRequest::Park(refused, done)).await?
    }

    /// Removes the search parking of orders of which the index has accepted a document.
    pub(crate) async fn unpark_indexed(&self, rows: Vec<Row>) -> Result<(), store::Error> {
        self.ask(|done| WriterRequest::UnparkIndexed(rows, done))
            .await?
    }

    /// Removes indexed orders from the reindex queue.
    pub(crate) async fn remove_reindexed(
        &self,
        entries: Vec<ReindexEntry>,
    ) -> Result<(), store::Error> {
        self.ask(|done| WriterRequest::RemoveReindexed(entries, done))
            .await?
    }
}
