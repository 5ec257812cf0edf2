//! Rebuilds: another generation of a projection is filled, checked and swapped with the live one.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use read_model::{
    generations::{Generation, Generations},
    search::{self, Beside, Checkpoint, Live},
    store::{self, Projection, Reader, Totals, Writer},
};

use tokio::runtime::Handle;

mod check;

use read_model::progress::Progress;

use crate::{
    Nodes, Verifier,
    documents::{self, Successor},
    fill::{self, Fill},
    indexer,
    stream::{self, Stream},
    verify,
};

/// Maximum lag, in events, of a generation at its handover. The documents' writer, or the indexer,
/// catches up on the rest.
const NEARLY: u64 = 10_000;

/// Maximum number of consecutive failed attempts to read the log before a rebuild fails, and the
/// delay after each.
const ATTEMPTS: (u32, Duration) = (30, Duration::from_secs(1));

/// Rebuilds projections: fills another generation, checks it, and swaps it with the live one.
#[derive(Debug, Clone)]
pub struct Rebuilds(Arc<Parts>);

/// The parts of a node that a rebuild uses.
#[derive(Debug)]
pub struct Parts {
    /// The nodes that stream the log.
    pub nodes: Nodes,
    /// The generations of the documents on disk.
    pub files: Generations,
    /// The live documents, source of an index rebuild.
    pub reader: Reader,
    /// Sends requests to the documents' writer.
    pub documents: documents::Control,
    /// Progress of the live documents.
    pub documents_progress: Progress,
    /// The live search index.
    pub engine: Arc<dyn Live>,
    /// Sends requests to the index's writer.
    pub index: indexer::Control,
    /// Progress of the live index.
    pub index_progress: Progress,
    /// Compares documents with the log.
    pub verifier: Arc<Verifier>,
    /// Runtime of document rebuilds. It has low priority, and so have the threads that it starts.
    pub documents_runtime: Handle,
    /// Runtime of index rebuilds.
    pub index_runtime: Handle,
    /// Rebuilds in progress: one per projection at a time.
    pub under_way: Mutex<Vec<Projection>>,
}

/// Progress of a rebuild.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// The projection that is rebuilt.
    pub projection: Projection,
    /// The current stage.
    pub stage: Stage,
    /// Log position that the generation has reached.
    pub done: u64,
    /// Log position that the generation must reach. It grows with the log.
    pub total: u64,
    /// Number of the generation that is being filled.
    pub generation: u64,
}

/// The stages of a rebuild, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The rebuild fills the generation.
    Filling,
    /// The rebuild checks the generation.
    Checking,
    /// The rebuild swaps the generation with the live one.
    Switching,
    /// The generation is live.
    Done,
}

/// Why a rebuild failed. The live generation stays in use.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another rebuild of the same projection is in progress.
    #[error("a rebuild of it is under way")]
    UnderWay,
    /// There is no previous generation to roll back to.
    #[error("there is no previous generation of it")]
    NoPrevious,
    /// Another version of the projection made the previous generation.
    #[error("the previous generation of it is of another version")]
    Outdated,
    /// Another process writes the index.
    #[error("another node is the indexer of the search index")]
    NotIndexer,
    /// The documents are empty: they have no checkpoint yet.
    #[error("there is nothing to make it of yet")]
    Empty,
    /// The new generation failed its check.
    #[error("the new generation is not right: {0}")]
    Wrong(String),
    /// The log could not be read.
    #[error("{0}")]
    Log(String),
    /// The documents could not be read or written.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The index could not be read or written.
    #[error(transparent)]
    Engine(#[from] search::Error),
    /// The caller cancelled the rebuild.
    #[error("cancelled")]
    Cancelled,
}

impl From<verify::Error> for Error {
    fn from(error: verify::Error) -> Self {
        match error {
            verify::Error::Store(error) => error.into(),
            error => Self::Log(error.to_string()),
        }
    }
}

impl From<fill::Error> for Error {
    fn from(error: fill::Error) -> Self {
        match error {
            fill::Error::Store(error) => error.into(),
            fill::Error::Engine(error) => error.into(),
        }
    }
}

/// Registers a projection as being rebuilt, until it is dropped.
struct Place<'a>(&'a Parts, Projection);

impl<'a> Place<'a> {
    fn take(parts: &'a Parts, projection: Projection) -> Result<Self, Error> {
        let mut under_way = parts
            .under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if under_way.contains(&projection) {
            return Err(Error::UnderWay);
        }
        under_way.push(projection);
        Ok(Self(parts, projection))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut under_way = self
            .0
            .under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        under_way.retain(|projection| *projection != self.1);
    }
}

impl Rebuilds {
    /// Creates the rebuilds of the given parts.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }

    /// Waits until the indexer finds that another version made the index, so that the index needs a
    /// rebuild.
    pub async fn index_is_outdated(&self) {
        self.0.index.is_outdated().await;
    }

    /// Rebuilds a projection: fills a new generation, or brings the previous one up to date, and
    /// swaps it with the live one. `tell` receives the progress. `cancelled` aborts the rebuild
    /// before the switching stage.
    ///
    /// # Errors
    /// Each case of [`Error`]. The live generation stays in use, and an unused new generation is
    /// removed.
    pub async fn run(
        &self,
        projection: Projection,
        which: Beside,
        tell: impl FnMut(Step) + Send + 'static,
        cancelled: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), Error> {
        let runtime = match projection {
            Projection::Documents => &self.0.documents_runtime,
            Projection::Search => &self.0.index_runtime,
        };
        let this = self.clone();
        let run = runtime.spawn(async move { this.work(projection, which, tell, cancelled).await });
        run.await
            .map_err(io::Error::other)
            .map_err(store::Error::Files)?
    }

    async fn work(
        &self,
        projection: Projection,
        which: Beside,
        mut tell: impl FnMut(Step) + Send,
        cancelled: impl Future<Output = ()> + Send,
    ) -> Result<(), Error> {
        let parts = &*self.0;
        let _place = Place::take(parts, projection)?;
        tracing::info!(projection = projection.name(), ?which, "rebuilding");
        let rebuilt = match projection {
            Projection::Documents => parts.documents(which, &mut tell, cancelled).await,
            Projection::Search => parts.search(which, &mut tell, cancelled).await,
        };
        match &rebuilt {
            Ok(()) => tracing::info!(projection = projection.name(), "rebuilt"),
            Err(error) => {
                tracing::error!(projection = projection.name(), %error, "not rebuilt");
            }
        }
        rebuilt
    }
}

impl Parts {
    async fn documents(
        &self,
        which: Beside,
        tell: &mut (impl FnMut(Step) + Send),
        cancelled: impl Future<Output = ()> + Send,
    ) -> Result<(), Error> {
        let found = on_files(&self.files, move |files| match which {
            Beside::New => files.begin().map(Some),
            Beside::Previous => files.previous(),
        });
        let generation = found.await?.ok_or(Error::NoPrevious)?;
        let (path, number) = (&generation.path, generation.number);
        let mut writer = match which {
            Beside::New => Writer::open_new(path, number).await?,
            Beside::Previous => Writer::open(path, number).await?,
        };
        if writer.is_outdated() {
            writer.close().await;
            return Err(Error::Outdated);
        }
        let step = |stage, writer: &Writer| Step {
            projection: Projection::Documents,
            stage,
            done: writer.position(),
            total: self.documents_progress.report().head,
            generation: generation.number,
        };
        let made = async {
            let mut told = |writer: &Writer| tell(step(Stage::Filling, writer));
            self.fill_documents(&mut writer, &mut told).await?;
            tell(step(Stage::Checking, &writer));
            writer.finish().await?;
            match writer.check().await? {
                Some(wrong) => Err(Error::Wrong(wrong)),
                None => Ok(()),
            }
        };
        let made = tokio::select! {
            made = made => made,
            () = cancelled => Err(Error::Cancelled),
        };
        if let Err(error) = made {
            writer.close().await;
            self.discard(which, generation).await?;
            return Err(error);
        }
        let mut totals = Totals::Compared;
        loop {
            tell(step(Stage::Switching, &writer));
            let successor = Successor {
                writer,
                place: (self.files.clone(), generation.clone()),
                totals,
            };
            let replaced = self.documents.replace(successor).await;
            let (error, refused) = match replaced.ok_or(store::Error::Stopped)? {
                Ok(()) => break,
                Err(refused) => refused,
            };
            writer = refused;
            let error = match error {
                store::Error::Differs(_) if totals == Totals::Compared => {
                    tracing::warn!(%error, "the new generation is compared with the log");
                    tell(step(Stage::Checking, &writer));
                    totals = Totals::Proven;
                    match self.compare_with_log(&generation).await {
                        Ok(()) => continue,
                        Err(error) => error,
                    }
                }
                error => error.into(),
            };
            writer.close().await;
            self.discard(which, generation).await?;
            return Err(error);
        }
        let position = self.reader.position();
        tell(Step {
            projection: Projection::Documents,
            stage: Stage::Done,
            done: position,
            total: position,
            generation: generation.number,
        });
        Ok(())
    }

    /// Compares the new generation with the log after its totals differed from the live ones.
    ///
    /// # Errors
    /// [`Error::Wrong`] if the new generation differs from the log. Otherwise the live generation
    /// is the wrong one.
    async fn compare_with_log(&self, new: &Generation) -> Result<(), Error> {
        match self.verifier.first_difference(&new.path).await? {
            Some(store::Difference { subject, problem }) => {
                Err(Error::Wrong(format!("{subject} {problem}")))
            }
            None => Ok(()),
        }
    }

    /// Removes a new generation that did not become live. Keeps a previous generation.
    async fn discard(&self, which: Beside, generation: Generation) -> Result<(), Error> {
        let discarded = on_files(&self.files, move |files| {
            if which == Beside::Previous || files.live()? == generation {
                return Ok(());
            }
            files.discard(&generation)
        });
        discarded.await
    }

    /// Feeds the log to a generation until it is at most [`NEARLY`] events behind the live
    /// documents.
    async fn fill_documents(
        &self,
        writer: &mut Writer,
        tell: &mut (impl FnMut(&Writer) + Send),
    ) -> Result<(), Error> {
        let (most, pause) = ATTEMPTS;
        let mut failures = 0;
        loop {
            let mut told = |writer: &Writer| {
                failures = 0;
                tell(writer);
            };
            match self.read_log(writer, &mut told).await {
                Ok(()) => {}
                Err(Error::Log(_)) if failures < most => {
                    failures += 1;
                    self.nodes.turn();
                    tokio::time::sleep(pause).await;
                    continue;
                }
                Err(error) => return Err(error),
            }
            if writer.position() + NEARLY >= self.reader.position() {
                return Ok(());
            }
        }
    }

    async fn read_log(
        &self,
        writer: &mut Writer,
        tell: &mut (impl FnMut(&Writer) + Send),
    ) -> Result<(), Error> {
        let failed = |error: stream::Error| Error::Log(error.to_string());
        let opened = Stream::open(&self.nodes, writer.checkpoint(), false).await;
        let mut stream = opened.map_err(failed)?;
        loop {
            let response = match stream.next().await {
                Ok(response) => response,
                // The stream ends at the head at the time of the call.
                Err(stream::Error::Ended(_)) => return Ok(()),
                Err(error) => return Err(failed(error)),
            };
            let (log_id, position) = (&response.log_id, response.position);
            writer.apply(log_id, &response.events, position).await?;
            tell(writer);
        }
    }

    async fn search(
        &self,
        which: Beside,
        tell: &mut (impl FnMut(Step) + Send),
        cancelled: impl Future<Output = ()> + Send,
    ) -> Result<(), Error> {
        if !self.index.writes() {
            return Err(Error::NotIndexer);
        }
        let log_id = self.reader.checkpoint().await?.ok_or(Error::Empty)?.log_id;
        let engine = self.engine.beside(which).await?.ok_or(Error::NoPrevious)?;
        let claimed = engine.claim().await?;
        let new = Checkpoint {
            log_id,
            position: 0,
            answers: 0,
            generation: self.index_progress.report().generation + 1,
        };
        let from = match claimed.checkpoint {
            Some(previous) if previous.log_id == new.log_id && !claimed.outdated => previous,
            Some(_) => {
                self.engine.abandon().await?;
                return Err(Error::Outdated);
            }
            None => new,
        };
        let generation = from.generation;
        let step = |stage, done| Step {
            projection: Projection::Search,
            stage,
            done,
            total: self.reader.position(),
            generation,
        };
        let (documents, control) = (self.reader.clone(), self.documents.clone());
        let mut fill = Fill::new(documents, engine, control, from);
        let made = async {
            while fill.settled().position + NEARLY < self.reader.position() && fill.step().await? {
                tell(step(Stage::Filling, fill.settled().position));
            }
            fill.reach(self.reader.position()).await?;
            self.check_index(&mut fill, &mut |position| {
                tell(step(Stage::Checking, position))
            })
            .await
        };
        let made = tokio::select! {
            made = made => made,
            () = cancelled => Err(Error::Cancelled),
        };
        if let Err(error) = made {
            drop(fill);
            self.engine.abandon().await?;
            return Err(error);
        }
        tell(step(Stage::Switching, fill.settled().position));
        if let Err(error) = self.index.take_over(fill).await {
            self.engine.abandon().await?;
            return Err(error.into());
        }
        let done = self.index_progress.report().position;
        tell(step(Stage::Done, done));
        Ok(())
    }
}

async fn on_files<T: Send + 'static>(
    files: &Generations,
    work: impl FnOnce(&Generations) -> io::Result<T> + Send + 'static,
) -> Result<T, Error> {
    let files = files.clone();
    let worked = tokio::task::spawn_blocking(move || work(&files)).await;
    let worked = worked.map_err(io::Error::other).flatten();
    Ok(worked.map_err(store::Error::Files)?)
}
