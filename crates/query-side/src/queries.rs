//! The state that all queries share: the documents, the search engine, and the limits.

use std::sync::Arc;

use read_model::{progress::Progress, search::Engine, store::Reader};
use tokio::{sync::Semaphore, time::timeout_at};
use tokio_util::sync::CancellationToken;
use wire::{Error, Limit};

use crate::wait::Wait;

/// Maximum number of concurrent text searches. The engine runs fewer at a time, and the others
/// wait.
const MAX_SEARCHES: usize = 256;

/// Maximum number of open streams: each reads the changes whenever the documents advance.
const MAX_WATCHERS: usize = 1000;

pub(crate) const LIMITS: [Limit; 2] = [
    Limit::new(
        "text searches, of which one for each processor runs",
        MAX_SEARCHES as u64,
        "`OVERLOADED`",
    ),
    Limit::new("`WatchOrders` streams", MAX_WATCHERS as u64, "`OVERLOADED`"),
];

/// Implements QueryService from the documents and the search engine.
#[derive(Debug, Clone)]
pub struct Queries {
    pub(crate) documents: Reader,
    pub(crate) engine: Arc<dyn Engine>,
    pub(crate) index: Progress,
    pub(crate) stop: CancellationToken,
    pub(crate) watchers: Arc<Semaphore>,
    pub(crate) searches: Arc<Semaphore>,
}

impl Queries {
    /// Creates the service from the documents and the search engine. `index` is the progress of the
    /// engine's index. `stop` ends the streams.
    pub fn new(
        documents: Reader,
        engine: Arc<dyn Engine>,
        index: Progress,
        stop: CancellationToken,
    ) -> Self {
        Self {
            documents,
            engine,
            index,
            stop,
            watchers: Arc::new(Semaphore::new(MAX_WATCHERS)),
            searches: Arc::new(Semaphore::new(MAX_SEARCHES)),
        }
    }

    /// Returns the number of open WatchOrders streams.
    #[must_use]
    pub fn watching(&self) -> usize {
        MAX_WATCHERS - self.watchers.available_permits()
    }

    /// Waits until the documents have been compared with the log and reach the request's position.
    ///
    /// # Errors
    /// - [`Error::StoreUnavailable`]: no node has streamed the log since the start, so that the
    ///   documents have not been compared with it.
    /// - [`Error::ReadModelDiverged`]: the documents have events that the log no longer has.
    /// - [`Error::ReadModelBehind`]: the deadline passes.
    pub(crate) async fn reached(&self, wait: Wait) -> Result<(), Error> {
        let compared = timeout_at(wait.deadline, self.documents.wait_until_compared());
        if !matches!(compared.await, Ok(Ok(()))) {
            return Err(Error::StoreUnavailable);
        }
        // Documents that differ from the log may never get to the position.
        self.check_consistent()?;
        let reached = async {
            if self.documents.wait_for(wait.position).await.is_err() {
                // The projector has ended, and the process ends soon. The request's deadline still
                // applies.
                std::future::pending::<()>().await;
            }
        };
        wait.until(reached, || self.documents.position()).await?;
        self.check_consistent()
    }

    fn check_consistent(&self) -> Result<(), Error> {
        match self.documents.is_consistent() {
            true => Ok(()),
            false => Err(Error::ReadModelDiverged),
        }
    }
}
