//! The generations of the embedded index: the live, the unfinished and the previous one.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use super::Index;
use crate::generations::{Generation, Generations};
use crate::search::{
    Appetite, Applied, Beside, Checkpoint, Claimed, Difference, Document, Engine, Error, Hits,
    Live, Request,
};

/// The live index, and other generations of it, each in its own folder.
#[derive(Debug)]
pub struct Indexes {
    generations: Generations,
    live: RwLock<Index>,
    beside: Mutex<Option<(Generation, Index)>>,
    /// The index that was live before. Its folder is removed when a new index is begun; until then
    /// its segments may still be merged.
    previous: Mutex<Option<Index>>,
}

impl Indexes {
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
            live: RwLock::new(Index::open(&live.path)?),
            beside: Mutex::default(),
            previous: Mutex::default(),
        })
    }

    // Each lock is held for one assignment or copy, so no panic can poison it.

    fn live(&self) -> Index {
        let live = self.live.read().unwrap_or_else(PoisonError::into_inner);
        live.clone()
    }

    fn replace_beside(&self, by: Option<(Generation, Index)>) -> Option<(Generation, Index)> {
        let mut beside = self.beside.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut beside, by)
    }

    fn replace_previous(&self, by: Option<Index>) -> Option<Index> {
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
impl Engine for Indexes {
    async fn checkpoint(&self) -> Result<Option<Checkpoint>, Error> {
        self.live().checkpoint().await
    }

    async fn claim(&self) -> Result<Claimed, Error> {
        self.live().claim().await
    }

    async fn write(
        &self,
        documents: Vec<Document>,
        checkpoint: Checkpoint,
    ) -> Result<Applied, Error> {
        self.live().write(documents, checkpoint).await
    }

    fn appetite(&self) -> Appetite {
        self.live().appetite()
    }

    async fn clear(&self) -> Result<(), Error> {
        self.live().clear().await
    }

    async fn search(&self, request: Request) -> Result<Hits, Error> {
        self.live().search(request).await
    }

    async fn compare(
        &self,
        first: u64,
        last: u64,
        documents: Vec<Document>,
    ) -> Result<Vec<Difference>, Error> {
        self.live().compare(first, last, documents).await
    }
}

#[async_trait::async_trait]
impl Live for Indexes {
    async fn beside(&self, which: Beside) -> Result<Option<Arc<dyn Engine>>, Error> {
        // Open indexes are closed before their folders are removed or reopened.
        let beside = self.replace_beside(None).map(|(_, index)| index);
        for open in [beside, self.replace_previous(None)].into_iter().flatten() {
            open.close().await?;
        }
        let opened = self.blocking(move |generations| {
            let generation = match which {
                Beside::New => Some(generations.begin()?),
                Beside::Previous => generations.previous()?,
            };
            let open = |generation: Generation| {
                let index = Index::open(&generation.path).map_err(io::Error::other)?;
                Ok::<_, io::Error>((generation, index))
            };
            generation.map(open).transpose()
        });
        let opened = opened.await?;
        let index = opened.as_ref().map(|(_, index)| index.clone());
        self.replace_beside(opened);
        Ok(index.map(|index| Arc::new(index) as Arc<dyn Engine>))
    }

    async fn switch(&self) -> Result<(), Error> {
        let (generation, index) = self
            .replace_beside(None)
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

    async fn abandon(&self) -> Result<(), Error> {
        let Some((generation, index)) = self.replace_beside(None) else {
            return Ok(());
        };
        index.close().await?;
        drop(index);
        self.blocking(move |generations| match generations.previous()? {
            Some(previous) if previous == generation => Ok(()),
            _ => generations.discard(&generation),
        })
        .await
    }
}
