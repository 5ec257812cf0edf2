//! The generations of the embedded index: the live, the unfinished and the previous one.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use tokio::sync::mpsc;

use super::TantivyIndex;
use crate::Row;
use crate::generations::{Generation, Generations, NextGeneration};
use crate::search::{
    Applied, Claimed, Document, Engine, Error, Hits, IndexCheckpoint, IndexDifference, LiveIndex,
    SearchRequest, WriteLimits, WronglyFound,
};
use crate::store::Reader;

/// The live index, and other generations of it, each in its own folder.
#[derive(Debug)]
pub struct EmbeddedIndex {
    generations: Generations,
    live: RwLock<TantivyIndex>,
    next: Mutex<Option<(Generation, TantivyIndex)>>,
    /// The index that was live before. Its folder is removed when a new index is begun; until then
    /// its segments may still be merged.
    previous: Mutex<Option<TantivyIndex>>,
}

impl EmbeddedIndex {
    /// Opens the generations in a folder that only this process uses. Blocks.
    ///
    /// # Errors
    ///
    /// [`Error::Failed`]: the folder cannot be read or written, or the live index is open already.
    pub fn open(folder: &Path) -> Result<Self, Error> {
        let generations = Generations::open(folder, "search").map_err(Error::failed)?;
        let live = generations.live().map_err(Error::failed)?;
        Ok(Self {
            generations,
            live: RwLock::new(TantivyIndex::open(&live.path)?),
            next: Mutex::default(),
            previous: Mutex::default(),
        })
    }

    // Each lock is held for one assignment or copy, so no panic can poison it.

    fn live(&self) -> TantivyIndex {
        let live = self.live.read().unwrap_or_else(PoisonError::into_inner);
        live.clone()
    }

    fn replace_next(
        &self,
        by: Option<(Generation, TantivyIndex)>,
    ) -> Option<(Generation, TantivyIndex)> {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut next, by)
    }

    fn replace_previous(&self, by: Option<TantivyIndex>) -> Option<TantivyIndex> {
        let mut previous = self.previous.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut previous, by)
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Generations) -> io::Result<T> + Send + 'static,
    ) -> Result<T, Error> {
        let generations = self.generations.clone();
        let worked = tokio::task::spawn_blocking(move || work(&generations)).await;
        worked.map_err(Error::failed)?.map_err(Error::failed)
    }
}

#[async_trait::async_trait]
impl Engine for EmbeddedIndex {
    fn name(&self) -> &'static str {
        self.live().name()
    }

    async fn checkpoint(&self, log_id: &str) -> Result<Option<IndexCheckpoint>, Error> {
        self.live().checkpoint(log_id).await
    }

    async fn claim(&self, log_id: &str) -> Result<Claimed, Error> {
        self.live().claim(log_id).await
    }

    async fn write(
        &self,
        documents: Vec<Document>,
        checkpoint: IndexCheckpoint,
    ) -> Result<Applied, Error> {
        self.live().write(documents, checkpoint).await
    }

    fn write_limits(&self) -> WriteLimits {
        self.live().write_limits()
    }

    async fn clear(&self, log_id: &str) -> Result<(), Error> {
        self.live().clear(log_id).await
    }

    async fn search(&self, request: SearchRequest) -> Result<Hits, Error> {
        self.live().search(request).await
    }

    async fn compare(
        &self,
        first: Row,
        last: Row,
        documents: Vec<Document>,
    ) -> Result<Vec<IndexDifference>, Error> {
        self.live().compare(first, last, documents).await
    }

    async fn inspect(
        &self,
        documents: &Reader,
        found: mpsc::Sender<WronglyFound>,
    ) -> Result<(), Error> {
        self.live().inspect(documents, found).await
    }
}

#[async_trait::async_trait]
impl LiveIndex for EmbeddedIndex {
    async fn open_next(&self, next: NextGeneration) -> Result<Option<Arc<dyn Engine>>, Error> {
        // Open indexes are closed before their folders are removed or reopened.
        let opened = self.replace_next(None).map(|(_, index)| index);
        for open in [opened, self.replace_previous(None)].into_iter().flatten() {
            open.close().await?;
        }
        let opened = self.blocking(move |generations| {
            let generation = generations.open_next(next)?;
            let open = |generation: Generation| {
                let index = TantivyIndex::open(&generation.path).map_err(io::Error::other)?;
                Ok::<_, io::Error>((generation, index))
            };
            generation.map(open).transpose()
        });
        let opened = opened.await?;
        let index = opened.as_ref().map(|(_, index)| index.clone());
        self.replace_next(opened);
        Ok(index.map(|index| Arc::new(index) as Arc<dyn Engine>))
    }

    async fn switch(&self) -> Result<(), Error> {
        let (generation, index) = self
            .replace_next(None)
            .ok_or_else(|| Error::failed("there is no index to switch to"))?;
        self.blocking(move |generations| generations.switch(&generation))
            .await?;
        let previous = {
            let mut live = self.live.write().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *live, index)
        };
        self.replace_previous(Some(previous));
        Ok(())
    }

    async fn discard_next(&self) -> Result<(), Error> {
        let Some((generation, index)) = self.replace_next(None) else {
            return Ok(());
        };
        index.close().await?;
        drop(index);
        self.blocking(move |generations| generations.discard_unfinished(&generation))
            .await
    }
}
