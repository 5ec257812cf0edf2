use std::{sync::Arc, time::Duration};

use read_model::{
    search::{self, Checkpoint, Engine},
    store::{self, ChangeCursor, Reader},
};
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{Progress, retry::Retry};

/// The generation of a read model that has never been rebuilt.
pub const GENERATION: u64 = 1;

/// Documents brought to the engine at once.
const BATCH: usize = 5000;

/// Time from one write to the next at least: under a steady trickle of changes this is what bounds
/// the work of the engine, which costs more for each write than for each document.
const PACE: Duration = Duration::from_millis(40);

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error(transparent)]
    Engine(#[from] search::Error),
}

/// Brings the documents that have changed to the search engine. All it knows is in the two: the
/// engine says how far it is, the documents what has changed since.
#[derive(Debug)]
pub struct Indexer {
    documents: Reader,
    engine: Arc<dyn Engine>,
    progress: Progress,
    batch: usize,
}

impl Indexer {
    /// Goes on where the index is.
    pub fn new(documents: Reader, engine: Arc<dyn Engine>) -> Self {
        Self {
            documents,
            engine,
            progress: Progress::new(String::new(), 0, GENERATION),
            batch: BATCH,
        }
    }

    /// How far it is.
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.progress.clone()
    }

    /// Works until it is stopped.
    pub async fn run(self, stop: CancellationToken) {
        let mut retry = Retry::new("search");
        while !stop.is_cancelled() {
            if let Err(error) = self.follow(&stop, &mut retry).await {
                retry.after(&error, &self.progress, &stop).await;
            }
        }
    }

    async fn follow(&self, stop: &CancellationToken, retry: &mut Retry) -> Result<(), Error> {
        let mut position = self.documents.subscribe();
        // Before anything was applied it is not known which log the documents are of.
        if !past(&mut position, 0, stop).await? {
            return Ok(());
        }
        let Some(documents) = self.documents.checkpoint().await? else {
            return Ok(());
        };
        let Checkpoint {
            log_id, generation, ..
        } = documents;
        let mut cursor = self.start(&log_id, generation).await?;
        let mut answers = 0;
        while !stop.is_cancelled() {
            let next = Instant::now() + PACE;
            let changes = self.documents.changed_since(cursor, self.batch).await?;
            let head = changes.as_of;
            if changes.next != cursor {
                cursor = changes.next;
                let checkpoint = Checkpoint {
                    log_id: log_id.clone(),
                    position: cursor.position,
                    generation,
                };
                self.engine.write(changes.documents, checkpoint).await?;
            }
            let is_whole = cursor.position >= head;
            if is_whole {
                answers = cursor.position;
            }
            self.progress
                .reached(&log_id, cursor.position, answers, head);
            retry.succeeded();
            if is_whole && past(&mut position, cursor.position, stop).await? {
                self.progress.heard();
                // Stopped or not: the loop looks.
                let _ = stop
                    .run_until_cancelled(tokio::time::sleep_until(next))
                    .await;
            }
        }
        Ok(())
    }

    /// Where the index is; at the beginning if it is of another log or build.
    async fn start(&self, log_id: &str, generation: u64) -> Result<ChangeCursor, Error> {
        match self.engine.checkpoint().await? {
            Some(checkpoint)
                if (checkpoint.log_id.as_str(), checkpoint.generation) == (log_id, generation) =>
            {
                Ok(ChangeCursor {
                    position: checkpoint.position,
                    row: 0,
                })
            }
            Some(_) => {
                tracing::warn!("the search index is of other documents: it is made again");
                self.engine.clear().await?;
                Ok(ChangeCursor::default())
            }
            None => Ok(ChangeCursor::default()),
        }
    }
}

/// Waits until the documents are past a position; false if it is stopped before.
async fn past(
    position: &mut watch::Receiver<u64>,
    than: u64,
    stop: &CancellationToken,
) -> Result<bool, Error> {
    match stop
        .run_until_cancelled(position.wait_for(|position| *position > than))
        .await
    {
        None => Ok(false),
        Some(Ok(_)) => Ok(true),
        Some(Err(_)) => Err(store::Error::Stopped.into()),
    }
}

#[cfg(test)]
mod tests;
