//! The indexer: writes changed documents to the search index, or follows an index that another
//! process writes.

use std::{sync::Arc, time::Duration};

use read_model::{
    search::{self, Checkpoint, Live},
    store::{self, Reader},
};
use telemetry::metrics;
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

use read_model::progress::Progress;

use crate::{
    Traces, documents,
    fill::{Error, Fill},
    retry::Retry,
};

/// Interval between checks of the stored checkpoint. An index may have been wiped or restored, or
/// another process may have written it.
const LOOK: Duration = Duration::from_secs(2);

/// Interval at which a process that does not write reads the checkpoint of the index.
const GLANCE: Duration = Duration::from_millis(200);

/// Generation number of an index that has never been rebuilt.
const FIRST: u64 = 1;

/// Keeps the search index current. The process that writes the index sends it each changed
/// document; any other process follows its checkpoint.
#[derive(Debug)]
pub struct Indexer {
    documents: Reader,
    engine: Arc<dyn Live>,
    control: documents::Control,
    progress: Progress,
    traces: Traces,
    requests: mpsc::Receiver<TakeOver>,
    state: watch::Sender<State>,
    /// The error that ended the writing, if another process has claimed the index.
    superseded: Option<String>,
}

/// The state that a [`Control`] reads.
#[derive(Debug, Clone, Copy)]
struct State {
    /// True if this process writes the index.
    writes: bool,
    /// True if another version made the index, so that it needs a rebuild.
    outdated: bool,
}

/// A request to swap the live index with another one that has almost caught up.
#[derive(Debug)]
struct TakeOver {
    fill: Fill,
    taken_over: oneshot::Sender<Result<(), Error>>,
}

/// Sends requests to the index's writer.
#[derive(Debug, Clone)]
pub struct Control {
    requests: mpsc::Sender<TakeOver>,
    state: watch::Receiver<State>,
}

impl Control {
    /// Swaps the live index with another one that has almost caught up. Returns after the swap.
    pub(crate) async fn take_over(&self, fill: Fill) -> Result<(), Error> {
        let (taken_over, answered) = oneshot::channel();
        let request = TakeOver { fill, taken_over };
        let sent = self.requests.send(request).await;
        sent.map_err(|_| store::Error::Stopped)?;
        answered.await.map_err(|_| store::Error::Stopped)?
    }

    /// Returns whether this process writes the index.
    #[must_use]
    pub fn writes(&self) -> bool {
        self.state.borrow().writes
    }

    /// Waits until the indexer finds that another version made the index.
    pub async fn is_outdated(&self) {
        let mut state = self.state.clone();
        // The indexer has ended, and the process ends soon. Never return, since the index is not
        // known to be outdated.
        if state.wait_for(|state| state.outdated).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl Indexer {
    /// Creates the indexer, which resumes at the checkpoint of the index. `writes` is true if this
    /// process writes the index. `traces` are those of the documents.
    pub fn new(
        documents: Reader,
        engine: Arc<dyn Live>,
        control: documents::Control,
        writes: bool,
        traces: Traces,
    ) -> (Self, Control) {
        let (sender, requests) = mpsc::channel(1);
        let (state, told) = watch::channel(State {
            writes,
            outdated: false,
        });
        let indexer = Self {
            documents,
            engine,
            control,
            progress: Progress::new(String::new(), 0, FIRST),
            traces,
            requests,
            state,
            superseded: None,
        };
        let control = Control {
            requests: sender,
            state: told,
        };
        (indexer, control)
    }

    /// Returns the progress of the index.
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.progress.clone()
    }

    /// Runs until `stop` is cancelled.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut retry = Retry::new("search");
        while !stop.is_cancelled() {
            let writes = self.state.borrow().writes;
            let worked = async {
                if writes {
                    self.write(&mut retry).await
                } else {
                    self.look().await
                }
            };
            let Some(Err(error)) = stop.run_until_cancelled(worked).await else {
                return;
            };
            if writes && matches!(error, Error::Engine(_)) {
                metrics::not_indexed();
            }
            if matches!(error, Error::Engine(search::Error::Superseded)) {
                self.superseded = Some(error.to_string());
                self.state.send_modify(|state| state.writes = false);
            }
            retry.after(&error, &self.progress, &stop).await;
        }
    }

    /// Waits until the documents have a checkpoint, and returns the id of their log.
    async fn log_id(&self) -> Result<String, Error> {
        let mut position = self.documents.subscribe();
        loop {
            if let Some(made) = self.documents.checkpoint().await? {
                return Ok(made.log_id);
            }
            position
                .changed()
                .await
                .map_err(|_| store::Error::Stopped)?;
        }
    }

    /// Claims the index for this process. Clears an index of another log. Returns `None` if another
    /// version made the index.
    async fn claim(&self, log_id: &str) -> Result<Option<Fill>, Error> {
        let claimed = self.engine.claim().await?;
        let nothing = Checkpoint {
            log_id: log_id.to_owned(),
            position: 0,
            answers: 0,
            generation: FIRST,
        };
        let from = match claimed.checkpoint {
            Some(made) if made.log_id == log_id => made,
            Some(_) => {
                tracing::warn!("the search index is of other documents: it is made again");
                self.engine.clear().await?;
                nothing
            }
            None => nothing,
        };
        self.progress.is_of(from.generation);
        self.tell(&from);
        if claimed.outdated {
            tracing::warn!("the search index is of another version: it is made again");
            self.state.send_modify(|state| state.outdated = true);
            return Ok(None);
        }
        let engine: Arc<dyn search::Engine> = self.engine.clone();
        let (documents, control) = (self.documents.clone(), self.control.clone());
        Ok(Some(Fill::new(documents, engine, control, from)))
    }

    async fn write(&mut self, retry: &mut Retry) -> Result<(), Error> {
        let log_id = self.log_id().await?;
        let mut fill = self.claim(&log_id).await?;
        let mut position = self.documents.subscribe();
        let mut again = self.documents.subscribe_again();
        again.mark_changed();
        let mut asked = None;
        let mut looked = Instant::now();
        loop {
            let request = match asked.take() {
                Some(request) => Some(request),
                None if fill.is_none() => self.requests.recv().await,
                None => self.requests.try_recv().ok(),
            };
            if let Some(request) = request {
                fill = Some(self.take_over(fill, request).await?);
            }
            let Some(fill) = &mut fill else {
                return Err(store::Error::Stopped.into());
            };
            if looked.elapsed() >= LOOK {
                fill.look().await?;
                looked = Instant::now();
            }
            if again.has_changed().unwrap_or(false) {
                again.mark_unchanged();
                fill.again().await?;
            }
            if fill.step().await? {
                self.tell(fill.settled());
                retry.succeeded();
                continue;
            }
            self.tell(fill.settled());
            retry.succeeded();
            let reached = fill.settled().position;
            tokio::select! {
                moved = past(&mut position, reached) => {
                    moved?;
                    self.progress.heard(self.documents.position());
                }
                changed = again.changed() => {
                    changed.map_err(|_| store::Error::Stopped)?;
                    again.mark_changed();
                }
                Some(request) = self.requests.recv() => asked = Some(request),
                () = sleep(LOOK) => {}
            }
        }
    }

    /// Swaps the live index with another one. The other index first reaches the documents'
    /// position, so that no reader sees an older state than before.
    async fn take_over(&self, live: Option<Fill>, request: TakeOver) -> Result<Fill, Error> {
        let TakeOver {
            mut fill,
            taken_over,
        } = request;
        let taken = async {
            if let Some(mut live) = live {
                live.rest().await?;
            }
            fill.reach(self.documents.position()).await?;
            self.engine.switch().await?;
            Ok::<_, Error>(())
        };
        let taken = taken.await;
        if taken.is_ok() {
            self.progress.is_of(fill.settled().generation);
            self.state.send_modify(|state| state.outdated = false);
        }
        let told = match &taken {
            Ok(()) => Ok(()),
            Err(Error::Engine(search::Error::Failed(error))) => {
                Err(search::Error::Failed(error.to_string().into()).into())
            }
            Err(error) => Err(search::Error::Failed(error.to_string().into()).into()),
        };
        // Sending fails if the caller no longer waits.
        let _ = taken_over.send(told);
        taken?;
        fill.engine = self.engine.clone();
        Ok(fill)
    }

    /// Follows the checkpoint of an index that another process writes, and reports its progress.
    async fn look(&mut self) -> Result<(), Error> {
        self.state.send_modify(|state| state.writes = false);
        let log_id = self.log_id().await?;
        loop {
            let made = self.engine.checkpoint().await?;
            let (generation, position, answers) = match made {
                Some(made) if made.log_id == log_id => {
                    (made.generation, made.position, made.answers)
                }
                _ => (FIRST, 0, 0),
            };
            self.progress.is_of(generation);
            let head = self.documents.position();
            self.progress.reached(&log_id, position, answers, head);
            if let Some(error) = &self.superseded {
                self.progress.failed(error);
            }
            tokio::select! {
                Some(request) = self.requests.recv() => {
                    // Sending fails if the caller no longer waits.
                    let _ = request.taken_over.send(Err(search::Error::Superseded.into()));
                }
                () = sleep(GLANCE) => {}
            }
        }
    }

    fn tell(&self, made: &Checkpoint) {
        let head = self.documents.position();
        self.progress
            .reached(&made.log_id, made.position, made.answers, head);
        self.traces.searchable(made.answers);
    }
}

/// Waits until the documents are past a position.
async fn past(position: &mut watch::Receiver<u64>, than: u64) -> Result<(), store::Error> {
    let past = position.wait_for(|position| *position > than).await;
    past.map(|_| ()).map_err(|_| store::Error::Stopped)
}

#[cfg(test)]
mod tests;
