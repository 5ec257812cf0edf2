use std::sync::Arc;

use projector::{Documents, Indexer};
use query_side::{Projections, Queries};
use read_model::{
    search::{self, embedded::Index},
    store::Writer,
};
use sqlite::Folder;
use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Error,
    runtime::{Threads, Yields},
    source::Source,
};

/// Connections that queries read the documents with.
const READERS: u32 = 4;

/// The role `query`, at work. The threads of the projections end with it.
#[derive(Debug)]
pub(super) struct ReadSide {
    pub(super) queries: Queries,
    pub(super) projections: Projections,
    /// Whether documents and index have made up for the time in which this node did not run.
    pub(super) ready: watch::Receiver<bool>,
    _threads: [Threads; 2],
}

impl ReadSide {
    /// Opens the read models and starts what keeps them. `streams` ends the streams of queries,
    /// `stop` the projections.
    pub(super) async fn start(
        folder: &Folder,
        source: Source,
        streams: &CancellationToken,
        stop: &CancellationToken,
        tasks: &TaskTracker,
    ) -> Result<Self, Error> {
        // Who reads their own writes waits for the documents; the index has much to merge.
        let documents_thread =
            Threads::in_background("documents", Yields::Mostly).map_err(Error::Thread)?;
        let index_thread =
            Threads::in_background("search", Yields::Always).map_err(Error::Thread)?;
        // Opened on the threads they work on, for theirs inherit the priority.
        let read_db = folder.file("read.db");
        let documents_writer = documents_thread
            .run(async move { Writer::open(&read_db, projector::GENERATION).await })
            .await??;
        let documents = documents_writer.reader(READERS).await?;
        let indexed = documents_writer.reader(1);
        let search_folder = folder.file("search");
        let (indexed, index) = index_thread
            .run(async move { (indexed.await, Index::open(&search_folder)) })
            .await?;
        let index: Arc<dyn search::Engine> = Arc::new(index?);

        let (until, owner) = (stop.clone(), tasks.clone());
        let nodes = documents_thread
            .run(async move { source.connect(until, &owner) })
            .await?
            .ok_or(Error::NoSource)?;
        let projector = Documents::new(nodes.clone(), documents_writer);
        let documents_progress = projector.progress();
        tasks.spawn_on(projector.run(stop.clone()), documents_thread.handle());
        let indexer = Indexer::new(indexed?, Arc::clone(&index));
        let index_progress = indexer.progress();
        tasks.spawn_on(indexer.run(stop.clone()), index_thread.handle());

        let (is_ready, ready) = watch::channel(false);
        let progress = (documents_progress.clone(), index_progress.clone());
        let until = stop.clone();
        let made_up = async move {
            let (documents, index) = progress;
            let goal = documents.made_up().await;
            index.wait_for(goal).await;
            tracing::info!(position = goal, "the read models are ready");
            is_ready.send_replace(true);
            // What is ready stays so; whoever watches goes first.
            is_ready.closed().await;
        };
        tasks.spawn(async move { until.run_until_cancelled(made_up).await });
        Ok(Self {
            queries: Queries::new(documents, index, index_progress.clone(), streams.clone()),
            projections: Projections::new(documents_progress, index_progress, nodes),
            ready,
            _threads: [documents_thread, index_thread],
        })
    }
}
