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

/// Orders that are compared with the index in one go.
const PAGE: u32 = 1000;

/// How long the index, or the documents, may stand still before they are where the other was. They may
/// be slow: both give way to everything else.
const PATIENCE: Duration = Duration::from_secs(60);

/// From one look at an order to the next, where it is not as it should be.
const BETWEEN: Duration = Duration::from_millis(250);

/// Times that an order is looked at again which has changed while it was.
const LOOKS: u32 = 6;

/// Looks whether everything is as the log says.
#[derive(Debug)]
pub struct Verifier {
    /// Where the log is read.
    pub nodes: Nodes,
    /// Where the documents are.
    pub files: Generations,
    /// Where others are made, to compare them.
    pub scratch: PathBuf,
    /// The documents.
    pub reader: Reader,
    /// The index.
    pub engine: std::sync::Arc<dyn search::Live>,
    /// How far it is.
    pub index: Progress,
    /// One at a time has the scratch file.
    pub turn: Mutex<()>,
}

/// What is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The log itself.
    Log,
    /// The documents, names and statistics.
    Documents,
    /// The search index.
    Search,
}

/// What a look has come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// How far it is: so much of so much.
    Progress(u64, u64),
    /// Something is not as it should be.
    Difference(Difference),
}

/// Why it was not looked at to the end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The log does not answer.
    #[error("the log cannot be looked at: {0}")]
    Log(Status),
    /// The same, while the documents are made anew.
    #[error("{0}")]
    Stream(String),
    /// The documents cannot be read, or others not be made.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The index does not answer.
    #[error(transparent)]
    Engine(#[from] search::Error),
    /// The index does not get as far as the documents, or they as far as it.
    #[error("a read model stands still at position {position}, before {wanted}")]
    Behind {
        /// Where it is.
        position: u64,
        /// Where it should be.
        wanted: u64,
    },
    /// Nobody listens any more.
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

/// Where what is found is sent to.
type Found = mpsc::Sender<Finding>;

async fn tell(found: &Found, finding: impl Into<Finding>) -> Result<(), Error> {
    found
        .send(finding.into())
        .await
        .map_err(|_| Error::Cancelled)
}

impl Verifier {
    /// Looks at a part as it is now.
    ///
    /// # Errors
    /// When it could not be looked at to the end.
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

    /// Projects the log anew, as far as the documents are, and compares.
    async fn documents(&self, found: &Found) -> Result<(), Error> {
        let _turn = self.turn.lock().await;
        let live = self.files.live().map_err(store::Error::Files)?;
        self.compare_file(&live.path, found).await
    }

    /// The first difference between a file of documents and the log.
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
            // Cancelled by the difference, which was received.
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
                // Orders created since then are not extra.
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

    /// Compares orders with the index. It may be behind them, or ahead: those that differ are compared
    /// again when both are as far. One that has changed at every look has been brought to the index
    /// anew each time.
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
            // Most orders are old: they are the same in both, wherever the index is.
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

    /// What differs, in words; of what the index refuses, that it does.
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

/// Waits until it arrives at the wanted position, or stands still.
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
