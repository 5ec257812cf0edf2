//! The query side of a node: documents, search index, their projections and their services.

use std::{
    sync::{Arc, Mutex as StdMutex},
    time::Duration,
};

use projector::{
    Documents, Indexer, Parts, Projected, Projections, Rebuilds, Traces, Verifier, rebuild,
};
use query_side::Queries;
use read_model::{
    generations::{self, Generations},
    progress::Progress,
    search::{Beside, Live, embedded, meilisearch},
    store::{self, Projection, Writer},
};
use sqlite::Folder;
use tokio::sync::{Mutex, watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{Error, runtime::Threads, source::Source};
use crate::settings::Meilisearch;

/// Limit of SQLite connections that read the documents for queries.
const READERS: u32 = 4;

/// Delay before another attempt to rebuild an outdated read model.
const PAUSE: Duration = Duration::from_secs(10);

/// The running role `query`. Dropping it ends the threads of the projections.
#[derive(Debug)]
pub(crate) struct ReadSide {
    pub(crate) queries: Queries,
    pub(crate) projections: Projections,
    /// True once documents and index have caught up with the first head that the documents
    /// projection saw.
    pub(super) ready: watch::Receiver<bool>,
    _threads: [Threads; 2],
}

/// The search engine, and whether this node feeds it.
#[derive(Debug)]
pub(super) struct Engine {
    pub(super) meilisearch: Option<Meilisearch>,
    pub(super) indexer: bool,
}

impl ReadSide {
    /// Opens the read models and starts their projections. `streams` ends the streams of queries,
    /// `stop` ends the projections.
    pub(super) async fn start(
        folder: &Folder,
        source: Source,
        engine: Engine,
        streams: &CancellationToken,
        stop: &CancellationToken,
        tasks: &TaskTracker,
    ) -> Result<Self, Error> {
        let documents_thread = Threads::in_background("documents").map_err(Error::Thread)?;
        let index_thread = Threads::in_background("search").map_err(Error::Thread)?;
        // Each store opens on its projection's thread, because the store's own threads inherit that
        // thread's priority.
        let path = folder.path().to_owned();
        let (files, writer) = documents_thread
            .run(async move {
                let files = Generations::open(&path, "read.db").map_err(store::Error::Files)?;
                let live = files.live().map_err(store::Error::Files)?;
                Ok::<_, store::Error>((files, Writer::open(&live.path, live.number).await?))
            })
            .await??;
        let documents = writer.reader(READERS).await?;
        let (indexed, looked_at) = (writer.reader(1), writer.reader(1));
        let path = folder.path().to_owned();
        // An embedded index is always fed here, because no other process shares it.
        let writes = engine.meilisearch.is_none() || engine.indexer;
        let (indexed, index) = index_thread
            .run(async move {
                let index: Arc<dyn Live> = match engine.meilisearch {
                    None => Arc::new(embedded::Indexes::open(&path)?),
                    Some(Meilisearch { url, key }) => {
                        Arc::new(meilisearch::Index::new(&url, key.as_deref())?)
                    }
                };
                Ok::<_, Error>((indexed.await?, index))
            })
            .await??;
        let looked_at = documents_thread.run(looked_at).await??;

        let (until, owner) = (stop.clone(), tasks.clone());
        let nodes = documents_thread
            .run(async move { source.connect(until, &owner) })
            .await?
            .ok_or(Error::NoSource)?;
        let is_outdated = writer.is_outdated();
        let traces = Traces::default();
        let (projector, control) = Documents::new(nodes.clone(), writer, traces.clone());
        let documents_progress = projector.progress();
        tasks.spawn_on(projector.run(stop.clone()), documents_thread.handle());
        let (engine, reader) = (Arc::clone(&index), looked_at.clone());
        let (indexer, index_control) =
            Indexer::new(indexed, engine, control.clone(), writes, traces);
        let index_progress = indexer.progress();
        tasks.spawn_on(indexer.run(stop.clone()), index_thread.handle());

        let scratch = folder.file("verify.db");
        // A verification leaves this file behind if the process dies during it.
        generations::remove(&scratch).map_err(store::Error::Files)?;
        let verifier = Arc::new(Verifier {
            nodes: nodes.clone(),
            files: files.clone(),
            scratch,
            reader: looked_at.clone(),
            engine: Arc::clone(&index),
            index: index_progress.clone(),
            turn: Mutex::default(),
        });
        let rebuilds = Rebuilds::new(Parts {
            nodes: nodes.clone(),
            files,
            reader: looked_at,
            documents: control.clone(),
            documents_progress: documents_progress.clone(),
            engine: Arc::clone(&index),
            index: index_control,
            index_progress: index_progress.clone(),
            verifier: Arc::clone(&verifier),
            documents_runtime: documents_thread.handle().clone(),
            index_runtime: index_thread.handle().clone(),
            under_way: StdMutex::default(),
        });
        let again = rebuild_outdated(rebuilds.clone(), is_outdated, stop.clone());
        tasks.spawn_on(again, documents_thread.handle());

        let (is_ready, ready) = watch::channel(false);
        let progress = (documents_progress.clone(), index_progress.clone());
        let until = stop.clone();
        let made_up = async move {
            is_made_up(progress).await;
            is_ready.send_replace(true);
            // A node that was ready stays ready, so the sender lives until all receivers are gone.
            is_ready.closed().await;
        };
        tasks.spawn(async move { until.run_until_cancelled(made_up).await });
        Ok(Self {
            queries: Queries::new(documents, index, index_progress.clone(), streams.clone()),
            projections: Projections::new(Projected {
                documents: documents_progress,
                search: index_progress,
                nodes,
                reader,
                control,
                rebuilds,
                verifier,
                stop: streams.clone(),
            }),
            ready,
            _threads: [documents_thread, index_thread],
        })
    }
}

async fn is_made_up((documents, index): (Progress, Progress)) {
    let goal = documents.made_up().await;
    index.wait_for(goal).await;
    tracing::info!(position = goal, "the read models are ready");
}

/// Rebuilds read models that an older version of orderlog wrote. The outdated ones answer queries
/// meanwhile.
async fn rebuild_outdated(rebuilds: Rebuilds, documents: bool, stop: CancellationToken) {
    let again = async |projection| loop {
        let cancelled = stop.clone().cancelled_owned();
        match rebuilds
            .run(projection, Beside::New, |_| (), cancelled)
            .await
        {
            Err(rebuild::Error::Cancelled) | Ok(()) => return,
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    };
    let outdated = async {
        if documents {
            again(Projection::Documents).await;
        }
        loop {
            rebuilds.index_is_outdated().await;
            again(Projection::Search).await;
        }
    };
    stop.run_until_cancelled(outdated).await;
}
