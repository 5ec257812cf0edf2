//! The rebuild of the search index.

use read_model::{
    generations::NextGeneration,
    search::IndexCheckpoint,
    store::{ChangeCursor, Projection},
};

use super::{Error, MAX_SWITCH_LAG, RebuildProgress, Shared, Stage};
use crate::index_updater::IndexUpdater;

/// Lag, in events, at which the next index takes over. It writes the rest in less than 100 ms.
const MAX_INDEX_LAG: u64 = 500;

/// Maximum number of attempts to come that close to documents that keep changing.
const MAX_ROUNDS: u32 = 20;

impl Shared {
    pub(super) async fn rebuild_index(
        &self,
        next: NextGeneration,
        report: &mut (impl FnMut(RebuildProgress) + Send),
        cancelled: impl Future<Output = ()> + Send,
    ) -> Result<(), Error> {
        if !self.live.indexer.writes() {
            return Err(Error::NotIndexer);
        }
        let mut updater = self.open_index(next).await?;
        let generation = updater.applied().generation;
        let mut report = |stage, done| {
            report(RebuildProgress {
                projection: Projection::Search,
                stage,
                done,
                total: self.live.reader.position(),
                generation,
            });
        };
        let filled = tokio::select! {
            filled = self.fill_and_check_index(&mut updater, &mut report) => filled,
            () = cancelled => Err(Error::Cancelled),
        };
        let switched = match filled {
            Ok(()) => {
                report(Stage::Switching, updater.applied().position);
                self.live.indexer.switch(updater).await.map_err(Error::from)
            }
            Err(error) => {
                drop(updater);
                Err(error)
            }
        };
        if let Err(error) = switched {
            self.live.engine.discard_next().await?;
            return Err(error);
        }
        report(Stage::Done, self.live.indexer.progress().report().position);
        Ok(())
    }

    /// Opens the next generation, and claims it for this process.
    async fn open_index(&self, next: NextGeneration) -> Result<IndexUpdater, Error> {
        let documents = self.live.reader.checkpoint().await?.ok_or(Error::Empty)?;
        let opened = self.live.engine.open_next(next).await?;
        let engine = opened.ok_or(Error::NoPrevious)?;
        let claimed = engine.claim(&documents.log_id).await?;
        let from = match claimed.checkpoint {
            Some(previous) if previous.history == documents.history && !claimed.outdated => {
                previous
            }
            Some(_) => {
                self.live.engine.discard_next().await?;
                return Err(Error::Outdated);
            }
            None => IndexCheckpoint {
                log_id: documents.log_id,
                history: documents.history,
                read_position: 0,
                event_id: String::new(),
                position: 0,
                answers: 0,
                names: ChangeCursor::default(),
                generation: self.live.indexer.progress().report().generation + 1,
            },
        };
        let (reader, handle) = (self.live.reader.clone(), self.live.documents.clone());
        Ok(IndexUpdater::new(reader, engine, handle, from, None))
    }

    async fn fill_and_check_index(
        &self,
        updater: &mut IndexUpdater,
        report: &mut (impl FnMut(Stage, u64) + Send),
    ) -> Result<(), Error> {
        let reader = &self.live.reader;
        while updater.applied().position + MAX_SWITCH_LAG < reader.position()
            && updater.step().await?
        {
            report(Stage::Filling, updater.applied().position);
        }
        updater.reach(reader.position(), 0).await?;
        self.check_index(updater, &mut |position| report(Stage::Checking, position))
            .await?;
        // The live index stands still while the rest is written.
        for _ in 0..MAX_ROUNDS {
            let position = reader.position();
            updater.reach(position, 0).await?;
            if position + MAX_INDEX_LAG >= reader.position() {
                break;
            }
        }
        Ok(())
    }
}
