//! Rebuilds: fill the next generation of a projection, check it, and switch to it.

use std::{
    io,
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
};

use read_model::{
    generations::{Generations, NextGeneration},
    store::{self, Projection},
};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

mod documents;
mod error;
mod index;
mod index_check;

pub(crate) use error::Error;

use crate::{
    projector::{Runtimes, joined},
    read_models::ReadModels,
    verify::Verifier,
};

/// Maximum lag, in events, of the next generation at the switch. The documents' writer, or the
/// indexer, catches up on the rest.
const MAX_SWITCH_LAG: u64 = 10_000;

/// Rebuilds projections, one rebuild of each at a time. Clones share their rebuilds.
#[derive(Debug, Clone)]
pub(crate) struct Rebuilds(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    live: ReadModels,
    verifier: Verifier,
    /// The runtimes of rebuilds. They have low priority, and so have the threads that they start.
    runtimes: Runtimes,
    /// The projections that are being rebuilt. The token says that the client has gone.
    running: Mutex<Vec<(Projection, CancellationToken)>>,
    /// Notified when a rebuild ends.
    ended: Notify,
}

/// Progress of a rebuild.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RebuildProgress {
    /// The projection that is rebuilt.
    pub(crate) projection: Projection,
    /// The current stage.
    pub(crate) stage: Stage,
    /// Log position that the generation has reached.
    pub(crate) done: u64,
    /// Log position that the generation must reach. It grows with the log.
    pub(crate) total: u64,
    /// Number of the generation that is being filled.
    pub(crate) generation: u64,
}

/// The stages of a rebuild, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The rebuild fills the generation.
    Filling,
    /// The rebuild checks the generation.
    Checking,
    /// The rebuild switches to the generation.
    Switching,
    /// The generation is live.
    Done,
}

/// Registers a projection as being rebuilt, until it is dropped.
struct RunningRebuild<'a>(&'a Shared, Projection);

impl<'a> RunningRebuild<'a> {
    /// Registers a rebuild. Waits for the end of a cancelled one, which removes its generation or
    /// completes its switch.
    async fn register(
        shared: &'a Shared,
        projection: Projection,
        cancelled: &CancellationToken,
    ) -> Result<Self, Error> {
        loop {
            let mut ended = pin!(shared.ended.notified());
            // Counts an end from now on, so that none is missed.
            ended.as_mut().enable();
            {
                let mut running = shared.running();
                match running.iter().find(|(other, _)| *other == projection) {
                    None => {
                        running.push((projection, cancelled.clone()));
                        return Ok(Self(shared, projection));
                    }
                    Some((_, other)) if other.is_cancelled() => {}
                    Some(_) => return Err(Error::UnderWay),
                }
            }
            tokio::select! {
                () = ended => {}
                () = cancelled.cancelled() => return Err(Error::Cancelled),
            }
        }
    }
}

impl Drop for RunningRebuild<'_> {
    fn drop(&mut self) {
        self.0
            .running()
            .retain(|(projection, _)| *projection != self.1);
        self.0.ended.notify_waiters();
    }
}

impl Rebuilds {
    pub(crate) fn new(live: ReadModels, verifier: Verifier, runtimes: Runtimes) -> Self {
        Self(Arc::new(Shared {
            live,
            verifier,
            runtimes,
            running: Mutex::default(),
            ended: Notify::new(),
        }))
    }

    /// Waits until the indexer finds that another version made the index, so that the index needs a
    /// rebuild.
    pub(crate) async fn wait_for_outdated_index(&self) {
        self.0.live.indexer.wait_for_outdated().await;
    }

    /// Rebuilds a projection: fills a new generation, or brings the previous one up to date, and
    /// switches to it. `report` receives the progress. `cancelled` aborts the rebuild before the
    /// switching stage.
    ///
    /// # Errors
    /// Each case of [`Error`]. The live generation stays in use, and an unused new generation is
    /// removed.
    pub(crate) async fn run(
        &self,
        projection: Projection,
        next: NextGeneration,
        report: impl FnMut(RebuildProgress) + Send + 'static,
        cancelled: CancellationToken,
    ) -> Result<(), Error> {
        let runtime = match projection {
            Projection::Documents => &self.0.runtimes.documents,
            Projection::Search => &self.0.runtimes.index,
        };
        let shared = Arc::clone(&self.0);
        let rebuild = async move { shared.rebuild(projection, next, report, cancelled).await };
        let rebuilt = joined(runtime.spawn(rebuild)).await;
        rebuilt.map_err(store::Error::Files)?
    }
}

impl Shared {
    // The lock is held for one change, so no panic can poison it.
    fn running(&self) -> std::sync::MutexGuard<'_, Vec<(Projection, CancellationToken)>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn rebuild(
        &self,
        projection: Projection,
        next: NextGeneration,
        mut report: impl FnMut(RebuildProgress) + Send,
        cancelled: CancellationToken,
    ) -> Result<(), Error> {
        let _running = RunningRebuild::register(self, projection, &cancelled).await?;
        let cancelled = cancelled.cancelled_owned();
        tracing::info!(projection = projection.name(), ?next, "the rebuild begins");
        let rebuilt = match projection {
            Projection::Documents => self.rebuild_documents(next, &mut report, cancelled).await,
            Projection::Search => self.rebuild_index(next, &mut report, cancelled).await,
        };
        match &rebuilt {
            Ok(()) => tracing::info!(projection = projection.name(), "the rebuild is done"),
            Err(error) => {
                tracing::error!(projection = projection.name(), %error, "the rebuild failed");
            }
        }
        rebuilt
    }
}

/// Runs `work` on the generations, on a blocking thread.
async fn blocking<T: Send + 'static>(
    generations: &Generations,
    work: impl FnOnce(&Generations) -> io::Result<T> + Send + 'static,
) -> Result<T, Error> {
    let generations = generations.clone();
    let worked = joined(tokio::task::spawn_blocking(move || work(&generations))).await;
    Ok(worked.flatten().map_err(store::Error::Files)?)
}
