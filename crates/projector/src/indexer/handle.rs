//! The handle of the indexer: its progress, and switches to another generation.

use read_model::{progress::Progress, store};
use tokio::sync::{mpsc, oneshot, watch};

use crate::index_updater::{Error, IndexUpdater};

/// The state that an [`IndexerHandle`] reads.
#[derive(Debug, Clone, Copy)]
pub(super) struct State {
    /// True if this process writes the index.
    pub(super) writes: bool,
    /// True if another version made the index, so that it needs a rebuild.
    pub(super) outdated: bool,
}

/// A switch to the next generation, which has almost caught up with the live one.
#[derive(Debug)]
pub(super) struct IndexSwitch {
    pub(super) updater: IndexUpdater,
    pub(super) switched: oneshot::Sender<Result<(), Error>>,
}

/// Sends requests to the indexer, and reports its progress.
#[derive(Debug, Clone)]
pub(crate) struct IndexerHandle {
    requests: mpsc::Sender<IndexSwitch>,
    state: watch::Receiver<State>,
    progress: Progress,
}

impl IndexerHandle {
    pub(super) fn new(
        requests: mpsc::Sender<IndexSwitch>,
        state: watch::Receiver<State>,
        progress: Progress,
    ) -> Self {
        Self {
            requests,
            state,
            progress,
        }
    }

    /// Returns the progress of the index.
    pub(crate) fn progress(&self) -> &Progress {
        &self.progress
    }

    /// Switches to the next generation, which `updater` writes. Returns after the switch.
    pub(crate) async fn switch(&self, updater: IndexUpdater) -> Result<(), Error> {
        let (switched, answered) = oneshot::channel();
        let request = IndexSwitch { updater, switched };
        let sent = self.requests.send(request).await;
        sent.map_err(|_| store::Error::Stopped)?;
        answered.await.map_err(|_| store::Error::Stopped)?
    }

    /// Returns whether this process writes the index.
    pub(crate) fn writes(&self) -> bool {
        self.state.borrow().writes
    }

    /// Waits until the indexer finds that another version made the index.
    pub(crate) async fn wait_for_outdated(&self) {
        let mut state = self.state.clone();
        // The indexer has ended, and the process ends soon. Never return, since the index is not
        // known to be outdated.
        if state.wait_for(|state| state.outdated).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
