//! The index beside the one that answers, and the change of places.

use std::{
    sync::{Arc, PoisonError},
    time::Duration,
};

use meilisearch_sdk::client::SwapIndexes;

use super::{
    Index, failed,
    ownership::Ownership,
    stored::{Entry, Stored},
};
use crate::search::{Beside, Engine, Error, Live};

/// Between two looks whether the indexes have changed places.
const PAUSE: Duration = Duration::from_millis(20);

#[async_trait::async_trait]
impl Live for Index {
    async fn beside(&self, which: Beside) -> Result<Option<Arc<dyn Engine>>, Error> {
        let other = self.other(which == Beside::New);
        match which {
            Beside::New => other.delete().await?,
            Beside::Previous if other.stored().await?.is_none() => return Ok(None),
            Beside::Previous => {}
        }
        let other = Arc::new(other);
        self.slot(|slot| *slot = Some(Arc::clone(&other)));
        Ok(Some(other))
    }

    async fn switch(&self) -> Result<(), Error> {
        let other = self.slot(|slot| slot.clone());
        let other = other.ok_or_else(|| Error::failed("there is no index to switch to"))?;
        other.finish().await?;
        let swap = SwapIndexes {
            indexes: (self.uid.clone(), other.uid.clone()),
            rename: None,
        };
        let task = self.connection.client.swap_indexes([&swap]).await;
        let task = task.map_err(failed)?.task_uid;
        let theirs = other.owned(|owned| owned.clone());
        self.switched(task, &theirs).await?;
        self.owned(|owned| {
            *owned = theirs;
            owned.last = Some(task);
        });
        self.slot(|slot| *slot = None);
        Ok(())
    }

    async fn abandon(&self) -> Result<(), Error> {
        self.slot(|slot| *slot = None);
        self.remove_unfinished().await
    }
}

impl Index {
    /// Asks for the entry of a checkpoint that is that of the index which answers.
    async fn finish(&self) -> Result<(), Error> {
        let stored = self.stored().await?;
        let stored = stored.ok_or_else(|| Error::failed("the new index is gone"))?;
        let finished = Entry::Checkpoint(Stored {
            unfinished: false,
            ..stored
        });
        self.hand_over(&[finished], 0).await?.await
    }

    /// Waits until the indexes have changed places. A key that is for some indexes only does not show
    /// the task, which is of none; so the checkpoint tells.
    async fn switched(&self, task: u32, theirs: &Ownership) -> Result<(), Error> {
        loop {
            let live = self.stored().await?.map(|live| live.epoch);
            if live == theirs.claim().map(|(epoch, _)| epoch) {
                return Ok(());
            }
            self.connection.not_failed(task).await?;
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Before the index that answers is claimed: one beside it that nobody is making is removed.
    pub(super) async fn tidy(&self) -> Result<(), Error> {
        if self.slot(|slot| slot.is_some()) {
            return Ok(());
        }
        self.remove_unfinished().await
    }

    async fn remove_unfinished(&self) -> Result<(), Error> {
        let other = self.other(false);
        if other
            .stored()
            .await?
            .is_some_and(|stored| stored.unfinished)
        {
            other.delete().await?;
        }
        Ok(())
    }

    fn slot<T>(&self, look: impl FnOnce(&mut Option<Arc<Self>>) -> T) -> T {
        look(&mut self.beside.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
