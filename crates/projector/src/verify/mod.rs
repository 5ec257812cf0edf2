//! Verification: compares the log, the documents and the search index, while the node runs.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use contract::orders::v1::{AggregateType, VerifyLogRequest};
use read_model::{
    AggregateId, search,
    store::{self, Difference, Parked, Projection},
};
use tokio::sync::{Mutex, mpsc};
use tonic::Status;

mod against_log;
mod documents;
mod fold;
mod index;
mod record;
mod samples;
mod spill;
mod statistics;

pub(crate) use index::OrderPage;

use crate::{read_models::ReadModels, stream};

/// Time in which the documents may catch up before they are compared.
const CATCH_UP_TIME: Duration = Duration::from_secs(10);

/// Maximum number of parked aggregates read in one call.
const MAX_READ_PARKED: u32 = 1000;

/// Compares the log, the documents and the index. Clones share the scratch folder.
#[derive(Debug, Clone)]
pub(crate) struct Verifier {
    live: ReadModels,
    /// The folder of the records that are compared, deleted after each comparison. The lock
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
    /// The event stream failed while the log was compared with the documents.
    #[error("{0}")]
    Stream(String),
    /// The documents could not be read, or the scratch folder could not be written.
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

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Store(store::Error::Files(error))
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
    /// Creates the verifier of the live read models. Nothing else may be at the path `scratch`.
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
            Part::Search => match self.verify_index(found).await {
                // The comparison with the log names it too, and goes on behind it. This one cannot.
                Err(Error::Store(damaged @ store::Error::Damaged { .. })) => {
                    let subject = "the search index".to_owned();
                    let problem = format!("cannot be compared any further: {damaged}");
                    send(found, Difference { subject, problem }).await
                }
                verified => verified,
            },
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

    /// Compares the documents with the log, and the lists with the documents. Reports what is parked.
    async fn verify_documents(&self, found: &Found) -> Result<(), Error> {
        if let Some(head) = self.live.head().await {
            // Documents that fail do not get there. They are compared as far as they are.
            let reached = self.live.reader.wait_for(head);
            let _ = tokio::time::timeout(CATCH_UP_TIME, reached).await;
        }
        let live = self.live.generations.live()?;
        if self.compare_file(&live.path, found).await? {
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
                let (position, error) = (parked.position, parked.error);
                let subject = parked.aggregate.to_string();
                let problem = format!("is parked since event {position}: {error}");
                send(found, Difference { subject, problem }).await?;
            }
        }
    }

    /// Returns the first difference between a documents file and the log.
    pub(crate) async fn first_difference(&self, file: &Path) -> Result<Option<Difference>, Error> {
        let (sender, mut found) = mpsc::channel(1);
        let first = async move {
            while let Some(finding) = found.recv().await {
                if let Finding::Difference(difference) = finding {
                    return Some(difference);
                }
            }
            None
        };
        let compared = async move { self.compare_file(file, &sender).await };
        match tokio::join!(compared, first) {
            // The received difference ended the comparison, so its `Cancelled` is no error.
            (_, Some(difference)) => Ok(Some(difference)),
            (compared, None) => compared.map(|_| None),
        }
    }
}

#[cfg(test)]
mod tests;
