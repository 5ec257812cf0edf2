//! The index beside the one that answers, and the change of places.

use std::sync::{Arc, PoisonError};

use meilisearch_sdk::client::SwapIndexes;

use super::{
    Index, failed,
    stored::{Entry, Stored},
};
use crate::search::{Beside, Engine, Error, Live};

#[async_trait::async_trait]
impl Live for Index {
    async fn beside(&self, which: Beside) -> Result<Option<Arc<dyn Engine>>, Error> {
        let other = self.other(which == Beside::New);
        // Newer than what it takes the place of: who wrote there stops.
        let epoch = self.owned(|owned| owned.claim().map_or(0, |(epoch, _)| epoch));
        other.owned(|owned| owned.at_least(epoch));
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
        self.connection.done(task).await?;
        let theirs = other.owned(|owned| owned.clone());
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

    /// Before the index that answers is claimed: if that is the one that was beside it, the change of
    /// places was done although nobody said so; and one that nobody is making is removed.
    pub(super) async fn settle_beside(&self, live: Option<&Stored>) -> Result<(), Error> {
        let Some(beside) = self.slot(|slot| slot.clone()) else {
            return self.remove_unfinished().await;
        };
        let theirs = beside.owned(|owned| owned.clone());
        let is_theirs = |live: &Stored| theirs.claim().is_some_and(|(_, it)| it == live.owner);
        if live.is_some_and(is_theirs) {
            self.owned(|owned| *owned = theirs);
            self.owned(|owned| owned.last = None);
            self.slot(|slot| *slot = None);
        }
        Ok(())
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
