//! Verification: compares the log, the documents and the search index, while the node runs.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use contract::orders::v1::{AggregateType, VerifyLogRequest};
use read_model::{
    AggregateId, generations, search,
    store::{self, Checkpoint, Comparison, Difference, Parked, Projection, ReceiverClosed, Writer},
};
use tokio::sync::{Mutex, mpsc};
use tonic::Status;

mod index;

pub(crate) use index::OrderPage;

use crate::{
    read_models::ReadModels,
    stream::{self, Stream},
};

/// Maximum number of parked aggregates read in one call.
const MAX_READ_PARKED: u32 = 1000;

/// Compares the log, the documents and the index. Clones share the scratch file.
#[derive(Debug, Clone)]
pub(crate) struct Verifier {
    live: ReadModels,
    /// Path of the documents projected from the log, deleted after each comparison. The lock
    /// serialises the comparisons.
    scratch: Arc<Mutex<PathBuf>>,
}

/// The parts that can be verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// The log.
    Log,
    /// The documents, names and statistics.
    Documents,
    /// The search index.
    Search,
}

/// A result of a verification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Finding {
    /// The progress: the verified amount and the total, as log positions.
    Progress(u64, u64),
    /// A difference between two parts.
    Difference(Difference),
}

/// Why a verification ended early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The node failed to verify the log.
    #[error("the log cannot be looked at: {0}")]
    Log(Status),
    /// The event stream failed while the log was projected to the scratch file.
    #[error("{0}")]
    Stream(String),
    /// The documents could not be read, or the scratch file could not be written.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The index failed.
    #[error(transparent)]
    Engine(#[from] search::Error),
    /// The index or the documents made no progress for 60 s before they reached the position of the
    /// other.
    #[error("a read model stands still at position {position}, before {wanted}")]
    Behind {
        /// The position of the one that lags behind.
        position: u64,
        /// The position that it had to reach.
        wanted: u64,
    },
    /// The receiver of the findings is gone.
    #[error("cancelled")]
    Cancelled,
}

impl From<stream::Error> for Error {
    fn from(error: stream::Error) -> Self {
        Self::Stream(error.to_string())
    }
}

impl From<ReceiverClosed> for Error {
    fn from(_: ReceiverClosed) -> Self {
        Self::Cancelled
    }
}

impl From<Difference> for Finding {
    fn from(difference: Difference) -> Self {
        Self::Difference(difference)
    }
}

/// Receives the findings of a verification.
type Found = mpsc::Sender<Finding>;

async fn send(found: &Found, finding: impl Into<Finding>) -> Result<(), Error> {
    found
        .send(finding.into())
        .await
        .map_err(|_| Error::Cancelled)
}

impl Verifier {
    /// Creates the verifier of the live read models. No other file may be at the path `scratch`.
    pub(crate) fn new(live: ReadModels, scratch: PathBuf) -> Self {
        Self {
            live,
            scratch: Arc::new(Mutex::new(scratch)),
        }
    }

    /// Verifies one part and sends the findings.
    ///
    /// # Errors
    /// Each case of [`Error`]. The verification is then incomplete.
    pub(crate) async fn run(&self, part: Part, found: &Found) -> Result<(), Error> {
        match part {
            Part::Log => self.verify_log(found).await,
            Part::Documents => self.verify_documents(found).await,
            Part::Search => self.verify_index(found).await,
        }
    }

    async fn verify_log(&self, found: &Found) -> Result<(), Error> {
        let mut node = self.live.nodes.current();
        let verified = node.verify_log(VerifyLogRequest {}).await;
        let mut responses = verified.map_err(Error::Log)?.into_inner();
        while let Some(response) = responses.message().await.map_err(Error::Log)? {
            for difference in response.differences {
                let difference = Difference {
                    subject: difference.subject,
                    problem: difference.problem,
                };
                send(found, difference).await?;
            }
            let (done, total) = (response.done_position, response.total_position);
            send(found, Finding::Progress(done, total)).await?;
        }
        Ok(())
    }

    /// Projects the log to the scratch file, up to the live documents' position, and compares the
    /// two.
    async fn verify_documents(&self, found: &Found) -> Result<(), Error> {
        let scratch = self.scratch.lock().await;
        let live = self.live.generations.live().map_err(store::Error::Files)?;
        if self.compare_file(&live.path, &scratch, found).await? {
            // Lists are compared with the documents, which must be right themselves.
            match self.live.reader.compare_lists(found).await {
                // The receiver is gone, as the comparison of the file would say.
                Err(_) if found.is_closed() => return Err(Error::Cancelled),
                compared => compared?,
            }
        }
        self.report_parked(found).await
    }

    /// Reports each parked customer and product: orders show their older names, and do not say so. A
    /// parked order says so in every reply.
    async fn report_parked(&self, found: &Found) -> Result<(), Error> {
        let mut after = AggregateId::default();
        loop {
            let reader = &self.live.reader;
            let page = reader.parked(Projection::Documents, &after, MAX_READ_PARKED);
            let page = page.await?;
            let Some(last) = page.last() else {
                return Ok(());
            };
            after.clone_from(&last.aggregate);
            let is_order = |parked: &Parked| parked.aggregate.kind == AggregateType::Order;
            for parked in page.into_iter().filter(|parked| !is_order(parked)) {
                let problem = format!(
                    "is parked since event {}: {}",
                    parked.position, parked.error
                );
                let subject = parked.aggregate.to_string();
                send(found, Difference { subject, problem }).await?;
            }
        }
    }

    /// Returns the first difference between a documents file and the log.
    pub(crate) async fn first_difference(&self, file: &Path) -> Result<Option<Difference>, Error> {
        let scratch = self.scratch.lock().await;
        let (sender, mut found) = mpsc::channel(1);
        let first = async move {
            while let Some(finding) = found.recv().await {
                if let Finding::Difference(difference) = finding {
                    return Some(difference);
                }
            }
            None
        };
        let scratch = &*scratch;
        let compared = async move { self.compare_file(file, scratch, &sender).await };
        match tokio::join!(compared, first) {
            // The received difference ended the comparison, so its `Cancelled` is no error.
            (_, Some(difference)) => Ok(Some(difference)),
            (compared, None) => compared.map(|_| None),
        }
    }

    /// Projects the log to the scratch file, and compares a file with it. Returns whether it is as it
    /// should be.
    async fn compare_file(
        &self,
        file: &Path,
        scratch: &Path,
        found: &Found,
    ) -> Result<bool, Error> {
        generations::remove(scratch).map_err(store::Error::Files)?;
        let compared = self.compare_documents(file, scratch, found).await;
        generations::remove(scratch).map_err(store::Error::Files)?;
        compared
    }

    async fn compare_documents(
        &self,
        file: &Path,
        scratch: &Path,
        found: &Found,
    ) -> Result<bool, Error> {
        let mut truth = Writer::open_scratch(scratch).await?;
        let comparison = Comparison::begin(file, scratch).await?;
        let mut is_same = true;
        if let Some(checkpoint) = comparison.checkpoint() {
            let mut stream = Stream::open(&self.live.nodes, None, false).await?;
            let mut reached = 0;
            while reached < checkpoint.position {
                let mut response = match stream.next().await {
                    Err(stream::Error::Ended(_)) => {
                        send(found, of_another_history(checkpoint)).await?;
                        return Ok(false);
                    }
                    response => response?,
                };
                let behind = |position| position <= checkpoint.position;
                response.events.retain(|event| behind(event.position));
                reached = response.position.min(checkpoint.position);
                let applied = truth.apply(&response.log_id, &response.events, reached);
                match applied.await {
                    Err(store::Error::Gap { expected, .. }) => {
                        let problem = "is missing in the log: nothing behind it is compared";
                        let subject = format!("event {expected}");
                        let problem = problem.to_owned();
                        send(found, Difference { subject, problem }).await?;
                        return Ok(false);
                    }
                    applied => applied?,
                }
                send(found, Finding::Progress(reached, checkpoint.position)).await?;
            }
            let is_other = |truth: &Checkpoint| {
                // A file of an older version does not know the event.
                let has_id = !checkpoint.event_id.is_empty();
                truth.log_id != checkpoint.log_id || has_id && truth.event_id != checkpoint.event_id
            };
            if truth.checkpoint().is_some_and(is_other) {
                is_same = false;
                send(found, of_another_history(checkpoint)).await?;
            }
        }
        truth.close().await;
        Ok(comparison.run(found).await? && is_same)
    }
}

/// Returns the difference of documents that are made from another history than the log's.
fn of_another_history(checkpoint: &Checkpoint) -> Difference {
    let position = checkpoint.position;
    Difference {
        subject: "the documents".to_owned(),
        problem: format!(
            "are made from another history: event {position} of the log is another one, or missing"
        ),
    }
}
