//! Verification: compares the log, the documents and the search index, while the node runs.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    pin::pin,
    time::Duration,
};

use contract::orders::v1::VerifyLogRequest;
use read_model::{
    generations::{self, Generations},
    search::{self, Document, Engine},
    store::{self, Comparison, Difference, Gone, Projection, Reader, Writer},
};
use tokio::sync::{Mutex, mpsc};
use tonic::Status;

use read_model::progress::Progress;

use crate::{
    Nodes,
    stream::{self, Stream},
};

/// Number of orders compared with the index in one call.
const PAGE: u32 = 1000;

/// Maximum time that the index or the documents may make no progress while the other waits. Both
/// run at low priority, so they may be slow.
const PATIENCE: Duration = Duration::from_secs(60);

/// Delay before an order that differs is compared once more.
const BETWEEN: Duration = Duration::from_millis(250);

/// Maximum number of comparisons of an order that keeps changing.
const LOOKS: u32 = 6;

/// Compares the log, the documents and the index.
#[derive(Debug)]
pub struct Verifier {
    /// The nodes that stream the log.
    pub nodes: Nodes,
    /// The generations of the documents on disk.
    pub files: Generations,
    /// Scratch file for documents projected from the log, deleted after each comparison.
    pub scratch: PathBuf,
    /// The live documents.
    pub reader: Reader,
    /// The live search index.
    pub engine: std::sync::Arc<dyn search::Live>,
    /// Progress of the live index.
    pub index: Progress,
    /// Serialises the comparisons that use the scratch file.
    pub turn: Mutex<()>,
}

/// The parts that can be verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The log.
    Log,
    /// The documents, names and statistics.
    Documents,
    /// The search index.
    Search,
}

/// A result of a verification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// The progress: the verified amount and the total, as log positions.
    Progress(u64, u64),
    /// A difference between two parts.
    Difference(Difference),
}

/// Why a verification ended early.
#[derive(Debug, thiserror::Error)]
pub enum Error {
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

impl From<Gone> for Error {
    fn from(_: Gone) -> Self {
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

async fn tell(found: &Found, finding: impl Into<Finding>) -> Result<(), Error> {
    found
        .send(finding.into())
        .await
        .map_err(|_| Error::Cancelled)
}

impl Verifier {
    /// Verifies one part and sends the findings.
    ///
    /// # Errors
    /// Each case of [`Error`]. The verification is then incomplete.
    pub async fn run(&self, part: Part, found: &Found) -> Result<(), Error> {
        match part {
            Part::Log => self.log(found).await,
            Part::Documents => self.documents(found).await,
            Part::Search => self.search(found).await,
        }
    }

    async fn log(&self, found: &Found) -> Result<(), Error> {
        let mut node = self.nodes.current();
        let looked = node.verify_log(VerifyLogRequest {}).await;
        let mut responses = looked.map_err(Error::Log)?.into_inner();
        while let Some(response) = responses.message().await.map_err(Error::Log)? {
            for difference in response.differences {
                let difference = Difference {
                    subject: difference.subject,
                    problem: difference.problem,
                };
                tell(found, difference).await?;
            }
            let (done, total) = (response.done_position, response.total_position);
            tell(found, Finding::Progress(done, total)).await?;
        }
        Ok(())
    }

    /// Projects the log to the scratch file, up to the live documents' position, and compares the
    /// two.
    async fn documents(&self, found: &Found) -> Result<(), Error> {
        let _turn = self.turn.lock().await;
        let live = self.files.live().map_err(store::Error::Files)?;
        self.compare_file(&live.path, found).await
    }

    /// Returns the first difference between a documents file and the log.
    pub(crate) async fn first_difference(&self, file: &Path) -> Result<Option<Difference>, Error> {
        let _turn = self.turn.lock().await;
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
            (compared, None) => compared.map(|()| None),
        }
    }

    async fn compare_file(&self, file: &Path, found: &Found) -> Result<(), Error> {
        generations::remove(&self.scratch).map_err(store::Error::Files)?;
        let compared = self.compare_documents(file, found).await;
        generations::remove(&self.scratch).map_err(store::Error::Files)?;
        compared
    }

    async fn compare_documents(&self, file: &Path, found: &Found) -> Result<(), Error> {
        let mut truth = Writer::open_new(&self.scratch, 0).await?;
        let comparison = Comparison::begin(file, &self.scratch).await?;
        if let Some(made) = comparison.checkpoint() {
            let mut stream = Stream::open(&self.nodes, None, false).await?;
            let mut reached = 0;
            while reached < made.position {
                let mut response = stream.next().await?;
                let behind = |position| position <= made.position;
                response.events.retain(|event| behind(event.position));
                reached = response.position.min(made.position);
                let applied = truth.apply(&made.log_id, &response.events, reached);
                match applied.await {
                    Err(store::Error::Gap { expected, .. }) => {
                        let problem = "is missing in the log: nothing behind it is compared";
                        let subject = format!("event {expected}");
                        let problem = problem.to_owned();
                        return tell(found, Difference { subject, problem }).await;
                    }
                    applied => applied?,
                }
                tell(found, Finding::Progress(reached, made.position)).await?;
            }
        }
        truth.close().await;
        Ok(comparison.run(found).await?)
    }

    async fn search(&self, found: &Found) -> Result<(), Error> {
        let engine: &dyn Engine = &*self.engine;
        let mut after = 0;
        loop {
            let (documents, as_of) = self.reader.orders_after(after, PAGE).await?;
            let is_last = documents.len() < PAGE as usize;
            let last = match documents.last() {
                Some(last) if !is_last => last.row,
                // Orders created after `as_of` are not reported as extra.
                _ => as_of,
            };
            let differences = self
                .compare(engine, after + 1, last, documents, as_of)
                .await?;
            for difference in differences {
                tell(found, difference).await?;
            }
            tell(found, Finding::Progress(last, as_of)).await?;
            if is_last {
                return Ok(());
            }
            after = last;
        }
    }

    /// Compares orders with the index. The index may be behind the documents or ahead of them.
    /// Orders that differ are compared once more when both are at the same position.
    ///
    /// An order that changed between all [`LOOKS`] comparisons is not reported: the index received
    /// each change.
    async fn compare(
        &self,
        engine: &dyn Engine,
        first: u64,
        last: u64,
        mut documents: Vec<Document>,
        mut as_of: u64,
    ) -> Result<Vec<Difference>, Error> {
        let mut suspects: Option<Vec<u64>> = None;
        let mut certain = Vec::new();
        for look in 1..=LOOKS {
            // The first comparison does not wait for the index: most orders are old and equal in
            // both.
            if look > 1 {
                let indexed = || self.index.report().position;
                awaited(as_of, indexed, self.index.wait_for(as_of)).await?;
            }
            let orders: HashMap<_, _> = documents
                .iter()
                .map(|document| (document.row, document.order.clone()))
                .collect();
            let mut found = engine.compare(first, last, documents).await?;
            if let Some(suspects) = &suspects {
                found.retain(|difference| suspects.contains(&row(difference)));
            }
            if found.is_empty() {
                break;
            }
            if look > 1 {
                tokio::time::sleep(BETWEEN).await;
            }
            let ahead = self.index.report().position;
            let made = || self.reader.position();
            awaited(ahead, made, self.reader.wait_for(ahead)).await??;
            let rows: Vec<_> = orders
                .keys()
                .copied()
                .chain(found.iter().map(row))
                .collect();
            (documents, as_of) = self.reader.documents_by_rows(&rows).await?;
            let now: HashMap<_, _> = documents.iter().map(|d| (d.row, &d.order)).collect();
            if look > 1 {
                let unchanged = |row| now.get(&row).copied() == orders.get(&row);
                let (same, changed): (Vec<_>, Vec<_>) = found
                    .into_iter()
                    .partition(|difference| unchanged(row(difference)));
                certain.extend(self.described(same, &orders).await?);
                found = changed;
            }
            suspects = Some(found.iter().map(row).collect());
        }
        Ok(certain)
    }

    /// Describes each difference. Adds the error of the engine if the order is parked.
    async fn described(
        &self,
        found: Vec<search::Difference>,
        orders: &HashMap<u64, contract::orders::v1::Order>,
    ) -> Result<Vec<Difference>, Error> {
        let mut described = Vec::new();
        for difference in found {
            let row = row(&difference);
            let subject = match orders.get(&row) {
                Some(order) => format!("order {}", order.order_id),
                None => format!("the order of event {row}"),
            };
            let mut problem = match difference {
                search::Difference::Missing(_) => "is missing in the search index",
                search::Difference::Other(_) => "is another one in the search index",
                search::Difference::Extra(_) => "is in the search index, and is no order",
            }
            .to_owned();
            if let Some(order) = orders.get(&row) {
                let refused = self
                    .reader
                    .is_parked(Projection::Search, &order.order_id)
                    .await?;
                if let Some(error) = refused {
                    problem = format!("{problem}: it refuses it: {error}");
                }
            }
            described.push(Difference { subject, problem });
        }
        Ok(described)
    }
}

/// Waits until `arrives` completes.
///
/// # Errors
/// [`Error::Behind`] if the position does not advance for [`PATIENCE`].
async fn awaited<T>(
    wanted: u64,
    reached: impl Fn() -> u64,
    arrives: impl Future<Output = T>,
) -> Result<T, Error> {
    let mut arrives = pin!(arrives);
    loop {
        let position = reached();
        match tokio::time::timeout(PATIENCE, arrives.as_mut()).await {
            Ok(arrived) => return Ok(arrived),
            Err(_) if reached() > position => {}
            Err(_) => return Err(Error::Behind { position, wanted }),
        }
    }
}

fn row(difference: &search::Difference) -> u64 {
    match difference {
        search::Difference::Missing(row)
        | search::Difference::Other(row)
        | search::Difference::Extra(row) => *row,
    }
}
