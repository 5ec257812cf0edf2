//! The next generation of the index, and the switch to it: the server swaps the two indexes.

use std::sync::{Arc, PoisonError};

use meilisearch_sdk::client::SwapIndexes;

use super::{
    MeilisearchIndex, failed,
    ownership::Ownership,
    stored::{Entry, StoredCheckpoint},
};
use crate::generations::NextGeneration;
use crate::search::{Engine, Error, LiveIndex};

#[async_trait::async_trait]
impl LiveIndex for MeilisearchIndex {
    async fn open_next(&self, next: NextGeneration) -> Result<Option<Arc<dyn Engine>>, Error> {
        self.owned().await?;
        let other = self.other(next == NextGeneration::New);
        match next {
            NextGeneration::New => other.delete().await?,
            NextGeneration::Previous if other.stored().await?.is_none() => return Ok(None),
            NextGeneration::Previous => {}
        }
        let other = Arc::new(other);
        self.with_next(|slot| *slot = Some(Arc::clone(&other)));
        Ok(Some(other))
    }

    async fn switch(&self) -> Result<(), Error> {
        let other = self.with_next(|slot| slot.clone());
        let other = other.ok_or_else(|| Error::failed("there is no index to switch to"))?;
        other.finish().await?;
        self.owned().await?;
        let swap = SwapIndexes {
            indexes: (self.uid.clone(), other.uid.clone()),
            rename: None,
        };
        let task = self.server.client.swap_indexes([&swap]).await;
        let task = task.map_err(failed)?.task_uid;
        let theirs = other.ownership(|ownership| ownership.clone());
        self.switched(task, &theirs).await?;
        self.ownership(|ownership| {
            *ownership = theirs;
            ownership.last = Some(task);
        });
        self.with_next(|slot| *slot = None);
        Ok(())
    }

    async fn discard_next(&self) -> Result<(), Error> {
        self.with_next(|slot| *slot = None);
        self.remove_unfinished().await
    }
}

impl MeilisearchIndex {
    /// Rewrites the checkpoint without its `unfinished` flag.
    async fn finish(&self) -> Result<(), Error> {
        let stored = self.stored().await?;
        let stored = stored.ok_or_else(|| Error::failed("the new index is gone"))?;
        let finished = Entry::Checkpoint(StoredCheckpoint {
            unfinished: false,
            ..stored
        });
        self.submit(&[finished], 0).await?.await
    }

    /// Waits until the server has run a swap of the indexes, and checks the result.
    ///
    /// A key for some indexes cannot see the swap's task, which belongs to no index. But the server
    /// runs the tasks of an index in sequence. So the swap has ended when a later task has, or both
    /// are lost.
    async fn switched(&self, swap: u32, theirs: &Ownership) -> Result<(), Error> {
        if self.is_held_by(theirs).await? {
            return Ok(());
        }
        self.create().await?;
        if self.is_held_by(theirs).await? {
            return Ok(());
        }
        self.server.check_not_failed(swap).await?;
        Err(Error::failed("the server has lost the swap of the indexes"))
    }

    async fn is_held_by(&self, owner: &Ownership) -> Result<bool, Error> {
        let held = self.stored().await?.map(|it| (it.epoch, it.owner));
        Ok(held == owner.claim())
    }

    /// Removes an unfinished index before a claim of the live one, unless this process is building
    /// it.
    pub(super) async fn remove_unfinished_unless_open(&self) -> Result<(), Error> {
        if self.with_next(|slot| slot.is_some()) {
            return Ok(());
        }
        self.remove_unfinished().await
    }

    async fn remove_unfinished(&self) -> Result<(), Error> {
        let other = self.other(false);
        match other.stored().await {
            Ok(Some(stored)) if stored.unfinished => other.delete().await,
            // The live index works without the other one. A rebuild reports who owns it.
            Ok(_) | Err(Error::Foreign { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn with_next<T>(&self, access: impl FnOnce(&mut Option<Arc<Self>>) -> T) -> T {
        access(&mut self.next.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
