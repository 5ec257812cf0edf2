//! The projector of a node: settings, the running tasks, and the handle.

use std::{io, path::PathBuf, sync::Arc, time::Duration};

use read_model::{
    generations::{self, Generations, NextGeneration},
    progress::Progress,
    search::LiveIndex,
    store::{self, Projection, Reader, Writer},
};
use tokio::{runtime::Handle, task::JoinHandle};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    Nodes,
    documents::Documents,
    indexer::Indexer,
    read_models::ReadModels,
    rebuild::{self, Rebuilds},
    traces::Traces,
    verify::Verifier,
};

/// Delay before another attempt to rebuild an outdated read model.
const REBUILD_RETRY_INTERVAL: Duration = Duration::from_secs(10);

/// The settings of a [`Projector`].
#[derive(Debug)]
pub struct Settings {
    /// The folder of the documents, which only this process uses.
    pub folder: PathBuf,
    /// The nodes that stream the log.
    pub nodes: Nodes,
    /// The live search index.
    pub engine: Arc<dyn LiveIndex>,
    /// Whether this process writes the index. If not, it follows the index of another process.
    pub writes_index: bool,
    /// The runtimes of the projections.
    pub runtimes: Runtimes,
}

/// The runtimes of the two projections and of their rebuilds. The stores open there, because their
/// own threads inherit the priority of the runtime's threads.
#[derive(Debug, Clone)]
pub struct Runtimes {
    /// The runtime of the documents.
    pub documents: Handle,
    /// The runtime of the search index.
    pub index: Handle,
}

/// Keeps the documents and the search index of a node current.
#[derive(Debug)]
pub struct Projector {
    documents: Documents,
    indexer: Indexer,
    documents_outdated: bool,
    handle: ProjectorHandle,
    runtimes: Runtimes,
}

impl Projector {
    /// Opens the live generation of the documents, which resumes at its checkpoint.
    ///
    /// # Errors
    /// - [`store::Error::Files`]: the folder cannot be read or changed.
    /// - [`store::Error::File`] or [`store::Error::Sqlite`]: the documents cannot be opened.
    pub async fn open(settings: Settings) -> Result<Self, store::Error> {
        let Settings {
            folder,
            nodes,
            engine,
            writes_index,
            runtimes,
        } = settings;
        let scratch = folder.join("verify");
        // A verification leaves this folder behind if the process dies during it, and one of an older
        // version a file.
        for left in [&scratch, &folder.join("verify.db")] {
            generations::remove(left)?;
        }
        let opened = runtimes.documents.spawn(async move {
            let generations = Generations::open(&folder, "read.db")?;
            let live = generations.live()?;
            let writer = Writer::open(&live.path, live.number).await?;
            let reader = writer.reader(1).await?;
            Ok::<_, store::Error>((generations, writer, reader))
        });
        let (generations, writer, reader) = joined(opened).await??;
        let index_reader = joined(runtimes.index.spawn(writer.reader(1))).await??;
        let documents_outdated = writer.is_outdated();
        let traces = Traces::default();
        let (documents, documents_handle) =
            Documents::new(nodes.clone(), generations.clone(), writer, traces.clone());
        let (indexer, indexer_handle) = Indexer::new(
            index_reader,
            nodes.clone(),
            Arc::clone(&engine),
            documents_handle.clone(),
            writes_index,
            traces,
        );
        let live = ReadModels {
            nodes,
            generations,
            reader,
            documents: documents_handle,
            engine,
            indexer: indexer_handle,
        };
        let verifier = Verifier::new(live.clone(), scratch);
        let rebuilds = Rebuilds::new(live.clone(), verifier.clone(), runtimes.clone());
        Ok(Self {
            documents,
            indexer,
            documents_outdated,
            handle: ProjectorHandle {
                live,
                rebuilds,
                verifier,
            },
            runtimes,
        })
    }

    /// Opens a reader of the live documents with this many connections. Their threads inherit the
    /// priority of the thread that runs the future.
    ///
    /// # Errors
    /// [`store::Error::File`]: the file cannot be opened.
    pub fn reader(
        &self,
        connections: u32,
    ) -> impl Future<Output = Result<Reader, store::Error>> + use<> {
        self.documents.reader(connections)
    }

    /// Returns a handle of the projector.
    #[must_use]
    pub fn handle(&self) -> ProjectorHandle {
        self.handle.clone()
    }

    /// Runs until `stop` is cancelled, then closes the documents. Rebuilds read models that another
    /// version of orderlog wrote; the outdated ones answer queries meanwhile.
    pub async fn run(self, stop: CancellationToken) {
        let tasks = TaskTracker::new();
        let Runtimes { documents, index } = &self.runtimes;
        tasks.spawn_on(self.documents.run(stop.clone()), documents);
        tasks.spawn_on(self.indexer.run(stop.clone()), index);
        let rebuilds = rebuild_outdated(self.handle.rebuilds, self.documents_outdated, stop);
        tasks.spawn_on(rebuilds, documents);
        tasks.close();
        tasks.wait().await;
    }
}

/// Reports the state of the projections, and rebuilds and verifies them.
#[derive(Debug, Clone)]
pub struct ProjectorHandle {
    pub(crate) live: ReadModels,
    pub(crate) rebuilds: Rebuilds,
    pub(crate) verifier: Verifier,
}

impl ProjectorHandle {
    /// Returns the progress of the search index.
    #[must_use]
    pub fn index_progress(&self) -> &Progress {
        self.live.indexer.progress()
    }

    /// Waits until documents and index have caught up with the first head that the documents
    /// projection saw. Returns that head.
    pub async fn wait_until_caught_up(&self) -> u64 {
        let head = self.live.documents.progress().wait_until_caught_up().await;
        self.index_progress().wait_for(head).await;
        head
    }
}

async fn rebuild_outdated(rebuilds: Rebuilds, documents: bool, stop: CancellationToken) {
    let rebuild = async |projection| loop {
        let next = NextGeneration::New;
        match rebuilds.run(projection, next, |_| (), stop.clone()).await {
            Err(rebuild::Error::Cancelled) | Ok(()) => return,
            Err(_) => tokio::time::sleep(REBUILD_RETRY_INTERVAL).await,
        }
    };
    let outdated = async {
        if documents {
            rebuild(Projection::Documents).await;
        }
        loop {
            rebuilds.wait_for_outdated_index().await;
            rebuild(Projection::Search).await;
        }
    };
    stop.run_until_cancelled(outdated).await;
}

/// Waits for a task, and turns its panic into an error.
pub(crate) async fn joined<T>(task: JoinHandle<T>) -> io::Result<T> {
    task.await.map_err(io::Error::other)
}
