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

/// How often an index that is at rest is looked at: it may have been wiped, or put back to what it
/// was once, or be written by somebody else.
const LOOK: Duration = Duration::from_secs(2);

/// How often one looks that does not write: how far the index is, whose writer is elsewhere.
const GLANCE: Duration = Duration::from_millis(200);

/// What a generation of the index is built of at first.
const FIRST: u64 = 1;

/// Keeps the search index: brings it the documents that have changed, if this is the process that
/// writes it, and else looks how far it is.
#[derive(Debug)]
pub struct Indexer {
    documents: Reader,
    engine: Arc<dyn Live>,
    control: documents::Control,
    progress: Progress,
    traces: Traces,
    requests: mpsc::Receiver<TakeOver>,
    state: watch::Sender<State>,
    /// Why it does not write any more.
    superseded: Option<String>,
}

/// What others have to know of it.
#[derive(Debug, Clone, Copy)]
struct State {
    /// Whether this is the process that writes the index.
    writes: bool,
    /// Whether the index is of another version, and has to be made again.
    outdated: bool,
}

/// An index that is to take the place of the one that answers, nearly as far.
#[derive(Debug)]
struct TakeOver {
    fill: Fill,
    taken_over: oneshot::Sender<Result<(), Error>>,
}

/// Asks the one who writes the index.
#[derive(Debug, Clone)]
pub struct Control {
    requests: mpsc::Sender<TakeOver>,
    state: watch::Receiver<State>,
}

impl Control {
    /// Lets an index that is nearly as far take the place of the one that answers. Returns when it
    /// has.
    pub(crate) async fn take_over(&self, fill: Fill) -> Result<(), Error> {
        let (taken_over, answered) = oneshot::channel();
        let request = TakeOver { fill, taken_over };
        let sent = self.requests.send(request).await;
        sent.map_err(|_| store::Error::Stopped)?;
        answered.await.map_err(|_| store::Error::Stopped)?
    }

    /// Whether this is the process that writes the index.
    #[must_use]
    pub fn writes(&self) -> bool {
        self.state.borrow().writes
    }

    /// Waits until it is known that the index is of another version.
    pub async fn is_outdated(&self) {
        let mut state = self.state.clone();
        // The sender is gone when the indexer has ended, and with it the system soon.
        if state.wait_for(|state| state.outdated).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl Indexer {
    /// Goes on where the index is. `writes`: this is the process that writes it. `traces` are those
    /// of the documents.
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

    /// How far it is.
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.progress.clone()
    }

    /// Works until it is stopped.
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

    /// What the documents are of, once that is known.
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

    /// Makes this process the one that writes; `None` if the index is of another version.
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

    /// Puts another index in the place of the one that answers. Nobody is told of one older than
    /// what they have seen.
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
        // Fails when nobody waits for it any more.
        let _ = taken_over.send(told);
        taken?;
        fill.engine = self.engine.clone();
        Ok(fill)
    }

    /// Says how far an index is that another process writes.
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
                    // Fails when nobody waits for it any more.
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
