//! The indexer: writes changed documents to the search index, or follows an index that another
//! process writes.

use std::{sync::Arc, time::Duration};

use read_model::{
    progress::{Progress, Reached, SharedHistory},
    search::{self, IndexCheckpoint, LiveIndex},
    store::{self, ChangeCursor, Checkpoint, Reader},
};
use telemetry::metrics;
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

mod handle;

pub(crate) use handle::IndexerHandle;
use handle::{IndexSwitch, State};

use crate::{
    Nodes,
    backoff::Backoff,
    documents::DocumentsHandle,
    index_updater::{Error, IndexUpdater},
    stream,
    traces::Traces,
};

/// Interval between checks of the stored checkpoint. An index may have been wiped or restored, or
/// another process may have written it.
const CHECKPOINT_VERIFY_INTERVAL: Duration = Duration::from_secs(2);

/// Interval at which a process that does not write reads the checkpoint of the index.
const CHECKPOINT_READ_INTERVAL: Duration = Duration::from_millis(200);

/// Generation number of an index that has never been rebuilt.
const FIRST_GENERATION: u64 = 1;

/// Keeps the search index current. The process that writes the index sends it each changed
/// document; any other process follows its checkpoint.
#[derive(Debug)]
pub(crate) struct Indexer {
    documents: Reader,
    nodes: Nodes,
    engine: Arc<dyn LiveIndex>,
    documents_handle: DocumentsHandle,
    progress: Progress,
    traces: Traces,
    requests: mpsc::Receiver<IndexSwitch>,
    state: watch::Sender<State>,
    /// The error that ended the writing, if another process has claimed the index.
    superseded: Option<String>,
}

impl Indexer {
    /// Creates the indexer, which resumes at the checkpoint of the index. `writes` is true if this
    /// process writes the index. `traces` are those of the documents.
    pub(crate) fn new(
        documents: Reader,
        nodes: Nodes,
        engine: Arc<dyn LiveIndex>,
        documents_handle: DocumentsHandle,
        writes: bool,
        traces: Traces,
    ) -> (Self, IndexerHandle) {
        let (sender, requests) = mpsc::channel(1);
        let progress = Progress::new(String::new(), 0, FIRST_GENERATION);
        let (state, observed) = watch::channel(State {
            writes,
            outdated: false,
        });
        let indexer = Self {
            documents,
            nodes,
            engine,
            documents_handle,
            progress: progress.clone(),
            traces,
            requests,
            state,
            superseded: None,
        };
        let handle = IndexerHandle::new(sender, observed, progress);
        (indexer, handle)
    }

    /// Runs until `stop` is cancelled.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut backoff = Backoff::new();
        while !stop.is_cancelled() {
            let writes = self.state.borrow().writes;
            let worked = async {
                if writes {
                    self.write(&mut backoff).await
                } else {
                    self.follow().await
                }
            };
            let error = match stop.run_until_cancelled(worked).await {
                None => return,
                // The documents started over.
                Some(Ok(())) => continue,
                Some(Err(error)) => error,
            };
            if writes && matches!(error, Error::Engine(_)) {
                metrics::not_indexed();
            }
            let message = error.to_string();
            let is_foreign = matches!(error, Error::Engine(search::Error::Foreign { .. }));
            if is_foreign && self.progress.report().error.as_ref() != Some(&message) {
                tracing::error!(%error, "text searches are unavailable");
            }
            if matches!(error, Error::Engine(search::Error::Superseded)) {
                self.superseded = Some(message);
                self.state.send_modify(|state| state.writes = false);
            }
            backoff
                .after_failure("search", &error, &self.progress, &stop)
                .await;
        }
    }

    /// Waits until the documents have only events of the log, and returns their checkpoint.
    async fn documents_checkpoint(&self) -> Result<Checkpoint, Error> {
        self.documents.wait_until_compared().await?;
        let mut consistent = self.documents.consistent();
        let is_consistent = consistent.wait_for(|is_consistent| *is_consistent).await;
        is_consistent.map_err(|_| store::Error::Stopped)?;
        let mut position = self.documents.subscribe();
        loop {
            if let Some(checkpoint) = self.documents.checkpoint().await? {
                return Ok(checkpoint);
            }
            position
                .changed()
                .await
                .map_err(|_| store::Error::Stopped)?;
        }
    }

    /// Claims the index for this process. Clears an index of another log or history. Returns `None`
    /// if another version made the index.
    async fn claim(&self, documents: &Checkpoint) -> Result<Option<IndexUpdater>, Error> {
        let claimed = self.engine.claim(&documents.log_id).await?;
        let found = match claimed.checkpoint {
            Some(found) if self.is_of_history(&found, documents).await? => Some(found),
            Some(_) => {
                tracing::warn!(
                    "the search index is of another history: it is cleared and filled again"
                );
                self.engine.clear(&documents.log_id).await?;
                None
            }
            None => None,
        };
        let from = IndexCheckpoint {
            history: documents.history.clone(),
            ..found.clone().unwrap_or(IndexCheckpoint {
                log_id: documents.log_id.clone(),
                history: String::new(),
                read_position: 0,
                event_id: String::new(),
                position: 0,
                answers: 0,
                names: ChangeCursor::default(),
                generation: FIRST_GENERATION,
            })
        };
        self.progress.record_generation(from.generation);
        self.report(&from);
        if claimed.outdated {
            tracing::warn!("another version made the search index: it is rebuilt");
            self.state.send_modify(|state| state.outdated = true);
            return Ok(None);
        }
        let engine: Arc<dyn search::Engine> = self.engine.clone();
        let (documents, handle) = (self.documents.clone(), self.documents_handle.clone());
        Ok(Some(IndexUpdater::new(
            documents, engine, handle, from, found,
        )))
    }

    /// Returns whether an index is made from the history of the documents. The log decides, if another
    /// process made it.
    async fn is_of_history(
        &self,
        index: &IndexCheckpoint,
        documents: &Checkpoint,
    ) -> Result<bool, Error> {
        if index.log_id != documents.log_id || index.history == documents.history {
            return Ok(index.log_id == documents.log_id);
        }
        match index.token() {
            Some(token) if index.read_position == documents.position => {
                Ok(Some(token) == documents.token())
            }
            Some(token) => Ok(stream::is_in_log(&self.nodes, &token).await?),
            None => Ok(false),
        }
    }

    async fn write(&mut self, backoff: &mut Backoff) -> Result<(), Error> {
        let mut consistent = self.documents.consistent();
        let documents = self.documents_checkpoint().await?;
        consistent.mark_unchanged();
        let mut updater = self.claim(&documents).await?;
        let mut position = self.documents.subscribe();
        let mut listed = self.documents.listed();
        let mut reindex = self.documents.subscribe_reindex();
        reindex.mark_changed();
        let mut received = None;
        let mut verified = Instant::now();
        loop {
            if consistent.has_changed().unwrap_or(true) {
                self.progress.record_shared(None);
                return Ok(());
            }
            let request = match received.take() {
                Some(request) => Some(request),
                None if updater.is_none() => self.requests.recv().await,
                None => self.requests.try_recv().ok(),
            };
            if let Some(request) = request {
                updater = self.switch(updater, request).await?;
                // This index gets the orders that are queued already.
                reindex.mark_changed();
            }
            let Some(updater) = &mut updater else {
                return Err(store::Error::Stopped.into());
            };
            if verified.elapsed() >= CHECKPOINT_VERIFY_INTERVAL {
                updater.verify_checkpoint().await?;
                verified = Instant::now();
            }
            if reindex.has_changed().unwrap_or(false) {
                reindex.mark_unchanged();
                updater.queued();
            }
            let has_more = updater.step().await?;
            self.report(updater.applied());
            backoff.reset();
            if has_more {
                continue;
            }
            let reached = updater.applied().position;
            tokio::select! {
                moved = past(&mut position, reached) => {
                    moved?;
                    self.progress.record_head(self.documents.position());
                }
                changed = reindex.changed() => {
                    changed.map_err(|_| store::Error::Stopped)?;
                    reindex.mark_changed();
                }
                // New names may have waited for the lists.
                changed = listed.changed() => changed.map_err(|_| store::Error::Stopped)?,
                Some(request) = self.requests.recv() => received = Some(request),
                // The next turn ends the writing.
                _ = consistent.changed() => consistent.mark_changed(),
                () = sleep(CHECKPOINT_VERIFY_INTERVAL) => {}
            }
        }
    }

    /// Switches to the next generation. It first reaches the documents' position, so that no reader
    /// sees an older state than before. Refuses one that may lack what is brought to the live one alone.
    async fn switch(
        &self,
        live: Option<IndexUpdater>,
        request: IndexSwitch,
    ) -> Result<Option<IndexUpdater>, Error> {
        let IndexSwitch {
            updater: mut next,
            switched,
        } = request;
        if next.is_revised() {
            // Sending fails if the caller no longer waits.
            let _ = switched.send(Err(Error::Revised));
            return Ok(live);
        }
        let result = async {
            let mut names = 0;
            if let Some(mut live) = live {
                live.finish_writes().await?;
                names = live.applied().names.position;
            }
            next.reach(self.documents.position(), names).await?;
            let documents = self.documents.checkpoint().await?;
            let history = documents.map(|documents| documents.history);
            if history.as_ref() != Some(&next.applied().history) {
                return Err(Error::OtherHistory);
            }
            self.engine.switch().await?;
            Ok::<_, Error>(())
        };
        let result = result.await;
        if result.is_ok() {
            self.progress.record_generation(next.applied().generation);
            self.state.send_modify(|state| state.outdated = false);
        }
        let reported = match &result {
            Ok(()) => Ok(()),
            Err(Error::Engine(search::Error::Failed(error))) => {
                Err(search::Error::Failed(error.to_string().into()).into())
            }
            Err(error) => Err(search::Error::Failed(error.to_string().into()).into()),
        };
        // Sending fails if the caller no longer waits.
        let _ = switched.send(reported);
        result?;
        next.engine = self.engine.clone();
        Ok(Some(next))
    }

    /// Follows the checkpoint of an index that another process writes, and reports its progress.
    async fn follow(&mut self) -> Result<(), Error> {
        self.state.send_modify(|state| state.writes = false);
        let mut consistent = self.documents.consistent();
        let documents = self.documents_checkpoint().await?;
        consistent.mark_unchanged();
        let Checkpoint {
            log_id, history, ..
        } = documents;
        loop {
            let checkpoint = self.engine.checkpoint(&log_id).await?;
            let is_known = |checkpoint: &IndexCheckpoint| {
                let report = self.progress.report();
                let shared = report.shared.as_ref();
                report.log_id == checkpoint.log_id
                    && shared.is_some_and(|shared| shared.index == checkpoint.history)
            };
            let verified = match checkpoint {
                Some(checkpoint) if is_known(&checkpoint) => Some(checkpoint),
                Some(checkpoint) => {
                    let documents = self.documents_checkpoint().await?;
                    let is_ours = self.is_of_history(&checkpoint, &documents).await?;
                    is_ours.then_some(checkpoint)
                }
                None => None,
            };
            let (generation, reached) = match &verified {
                Some(checkpoint) => (checkpoint.generation, checkpoint.reached()),
                None => (FIRST_GENERATION, Reached::default()),
            };
            self.progress
                .record_shared(verified.map(|checkpoint| SharedHistory {
                    index: checkpoint.history,
                    documents: history.clone(),
                }));
            self.progress.record_generation(generation);
            let head = self.documents.position();
            self.progress.record_position(&log_id, reached, head);
            if let Some(error) = &self.superseded {
                self.progress.record_error(error);
            }
            tokio::select! {
                Some(request) = self.requests.recv() => {
                    // Sending fails if the caller no longer waits.
                    let _ = request.switched.send(Err(search::Error::Superseded.into()));
                }
                _ = consistent.changed() => {
                    self.progress.record_shared(None);
                    return Ok(());
                }
                () = sleep(CHECKPOINT_READ_INTERVAL) => {}
            }
        }
    }

    fn report(&self, checkpoint: &IndexCheckpoint) {
        let head = self.documents.position();
        // The claim has given the index the name of the documents.
        self.progress.record_shared(Some(SharedHistory {
            index: checkpoint.history.clone(),
            documents: checkpoint.history.clone(),
        }));
        self.progress
            .record_position(&checkpoint.log_id, checkpoint.reached(), head);
        self.traces.searchable(checkpoint.answers);
    }
}

/// Waits until the documents are past a position.
async fn past(position: &mut watch::Receiver<u64>, than: u64) -> Result<(), store::Error> {
    let past = position.wait_for(|position| *position > than).await;
    past.map(|_| ()).map_err(|_| store::Error::Stopped)
}

#[cfg(test)]
mod tests;
