//! The query side of a node: the projector with its read models, and the services.

use std::{path::Path, sync::Arc, time::Duration};

use projector::{Projections, Projector, ProjectorHandle, Runtimes, Settings};
use query_side::{Queries, Readers};
use read_model::search::{LiveIndex, embedded::EmbeddedIndex, meilisearch::MeilisearchIndex};
use sqlite::Folder;
use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{Error, runtime::Threads, source::Source};
use crate::settings::Meilisearch;

/// The running role `query`. Dropping it ends the threads of the projections.
#[derive(Debug)]
pub(crate) struct ReadSide {
    pub(crate) queries: Queries,
    pub(crate) projections: Projections,
    /// True once documents and index have caught up with the first head that the documents
    /// projection saw.
    pub(super) ready: watch::Receiver<bool>,
    /// False while the documents have events that the log no longer has.
    pub(super) consistent: watch::Receiver<bool>,
    /// False while the index of lists is filled, and lists fail.
    pub(super) listed: watch::Receiver<bool>,
    _threads: [Threads; 2],
}

/// The search engine, and whether this node feeds it.
#[derive(Debug)]
pub(super) struct Engine {
    pub(super) meilisearch: Option<Meilisearch>,
    pub(super) indexer: bool,
}

impl ReadSide {
    /// Opens the read models and starts their projections. `query_timeout` bounds
    /// lists and searches. `streams` ends the streams of queries,
    /// `stop` ends the projections.
    pub(super) async fn start(
        folder: &Folder,
        source: Source,
        engine: Engine,
        query_timeout: Duration,
        streams: &CancellationToken,
        stop: &CancellationToken,
        tasks: &TaskTracker,
    ) -> Result<Self, Error> {
        let documents_thread = Threads::in_background("documents").map_err(Error::Thread)?;
        let index_thread = Threads::in_background("search").map_err(Error::Thread)?;
        let (until, owner) = (stop.clone(), tasks.clone());
        let nodes = documents_thread
            .run(async move { source.connect(until, &owner) })
            .await?
            .ok_or(Error::NoSource)?;
        // An embedded index is always fed here, because no other process shares it.
        let writes_index = engine.meilisearch.is_none() || engine.indexer;
        let index = open_index(folder.path(), engine.meilisearch, &index_thread).await?;
        let projector = Projector::open(Settings {
            folder: folder.path().to_owned(),
            nodes,
            engine: Arc::clone(&index),
            writes_index,
            runtimes: Runtimes {
                documents: documents_thread.handle().clone(),
                index: index_thread.handle().clone(),
            },
        })
        .await?;
        let open = async |connections| projector.reader(connections).await;
        let readers = Readers::open(query_timeout, open).await?;
        let handle = projector.handle();
        tasks.spawn_on(projector.run(stop.clone()), documents_thread.handle());
        let index_progress = handle.index_progress().clone();
        let (consistent, listed) = (readers.consistent(), readers.listed());
        let queries = Queries::new(readers, index, index_progress, streams.clone());
        tasks.spawn(queries.dispatch(stop.clone()));
        Ok(Self {
            consistent,
            listed,
            queries,
            ready: readiness(handle.clone(), stop.clone(), tasks),
            projections: Projections::new(handle, streams.clone()),
            _threads: [documents_thread, index_thread],
        })
    }
}

/// Opens the live index on its projection's thread, because the index's own threads inherit that
/// thread's priority.
async fn open_index(
    folder: &Path,
    meilisearch: Option<Meilisearch>,
    thread: &Threads,
) -> Result<Arc<dyn LiveIndex>, Error> {
    let folder = folder.to_owned();
    let opened = thread.run(async move {
        let index: Arc<dyn LiveIndex> = match meilisearch {
            None => Arc::new(EmbeddedIndex::open(&folder)?),
            Some(Meilisearch { url, key, index }) => {
                Arc::new(MeilisearchIndex::new(&url, key.as_deref(), &index)?)
            }
        };
        Ok(index)
    });
    opened.await?
}

/// Returns a receiver that becomes true once the read models have caught up.
fn readiness(
    projector: ProjectorHandle,
    stop: CancellationToken,
    tasks: &TaskTracker,
) -> watch::Receiver<bool> {
    let (is_ready, ready) = watch::channel(false);
    let caught_up = async move {
        let position = projector.wait_until_caught_up().await;
        tracing::info!(position, "the read models are ready");
        is_ready.send_replace(true);
        // A node that was ready stays ready, so the sender lives until all receivers are gone.
        is_ready.closed().await;
    };
    tasks.spawn(async move { stop.run_until_cancelled(caught_up).await });
    ready
}
