//! The one that writes: batches of events in, documents and checkpoint in one transaction.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use contract::orders::v1::RecordedEvent;
use sqlx::SqliteConnection;
use tokio::sync::watch;

use super::{
    Checkpoint, DURABILITY, Error, MIGRATIONS, Projection, Reader,
    batch::{Batch, order_ids},
    json,
    reader::{Pool, decode},
    script::Script,
};
use crate::{projection::SCHEMA, search::Document};

/// A batch changes a page of nearly every index for each of its orders, so the cache holds those
/// pages (32 MiB at most).
const CACHE: &str = "PRAGMA cache_size = -32768";

/// Applies events to the documents.
#[derive(Debug)]
pub struct Writer {
    pub(super) connection: SqliteConnection,
    pub(super) generation: u64,
    pub(super) checkpoint: Option<Checkpoint>,
    /// Whether any order is parked.
    pub(super) has_parked: bool,
    /// Whether a transaction may have been left open, by an error or because a caller stopped
    /// waiting for it.
    pub(super) unsettled: bool,
    pub(super) position: watch::Sender<u64>,
    pub(super) again: watch::Sender<()>,
    /// What the readers read with, to be led to another file.
    pub(super) pools: Arc<Mutex<Vec<Pool>>>,
    pub(super) path: PathBuf,
    /// The statements that make the indexes which a file in the making does without.
    pub(super) indexes: Vec<String>,
}

impl Writer {
    /// Opens the file, or makes it. `generation` is which build of the read model a new file is;
    /// one that has applied events before keeps its own. The thread that writes inherits the
    /// priority of the one that this is called on.
    ///
    /// # Errors
    /// When it is not a read model's file, or cannot be opened.
    pub async fn open(path: &Path, generation: u64) -> Result<Self, Error> {
        let connection = sqlite::writer(path, &MIGRATIONS, DURABILITY).await?;
        let mut writer = Self {
            connection,
            generation,
            checkpoint: None,
            has_parked: false,
            unsettled: false,
            position: watch::Sender::new(0),
            again: watch::Sender::new(()),
            pools: Arc::default(),
            path: path.to_owned(),
            indexes: Vec::new(),
        };
        sqlx::raw_sql(CACHE).execute(&mut writer.connection).await?;
        writer.load_checkpoint().await?;
        Ok(writer)
    }

    /// One that reads what this one writes, over so many connections. Their threads inherit the
    /// priority of the one that the future runs on.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn reader(&self, connections: u32) -> impl Future<Output = Result<Reader, Error>> + use<> {
        let path = self.path.clone();
        let (position, again) = (self.position.subscribe(), self.again.subscribe());
        let pools = Arc::clone(&self.pools);
        async move {
            let pool = Pool::open(&path, connections).await?;
            let mut pools = pools.lock().unwrap_or_else(PoisonError::into_inner);
            pools.push(pool.clone());
            Ok(Reader::new(pool, position, again))
        }
    }

    /// Which build of the documents this is.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Whether it is a build of an older version of the projection.
    #[must_use]
    pub fn is_outdated(&self) -> bool {
        self.checkpoint
            .as_ref()
            .is_some_and(|made| made.schema != SCHEMA)
    }

    /// Up to where the documents are made; `None` while nothing has been applied.
    #[must_use]
    pub fn checkpoint(&self) -> Option<&Checkpoint> {
        self.checkpoint.as_ref()
    }

    /// Applies the events up to `position` and moves the checkpoint there: all of it, or nothing.
    /// Skips events at or below the checkpoint, so that a batch can be given again.
    ///
    /// An event that does not fit parks its order.
    ///
    /// # Errors
    /// - [`Error::LogMismatch`]: the events are another log's.
    /// - [`Error::Gap`]: an event between the checkpoint and `position` is missing in the batch.
    /// - The file cannot be written.
    ///
    /// Nothing has changed then.
    pub async fn apply(
        &mut self,
        log_id: &str,
        events: &[RecordedEvent],
        position: u64,
    ) -> Result<(), Error> {
        self.settle().await?;
        let done = match &self.checkpoint {
            Some(checkpoint) if checkpoint.log_id != log_id => {
                return Err(Error::LogMismatch {
                    given: log_id.to_owned(),
                    actual: checkpoint.log_id.clone(),
                });
            }
            Some(checkpoint) if checkpoint.position >= position => return Ok(()),
            Some(checkpoint) => checkpoint.position,
            None => 0,
        };
        let new: Vec<_> = events
            .iter()
            .filter(|event| event.position > done)
            .collect();
        check_dense(done, &new, position)?;
        let checkpoint = Checkpoint {
            log_id: log_id.to_owned(),
            position,
            generation: self.generation,
            schema: self.checkpoint.as_ref().map_or(SCHEMA, |made| made.schema),
        };
        let stored = self.stored(&new).await?;
        let parked = self.parked(&new).await?;
        let batch = Batch::new(stored, parked, &new);
        for (order_id, aside) in &batch.parked {
            if let Some(error) = &aside.error {
                tracing::error!(order_id, %error, "the order is parked");
            }
        }
        self.has_parked |= !batch.parked.is_empty();
        let script = Script::begin()
            .with(batch, Some(&checkpoint))
            .map_err(sqlx::Error::Encode)?;
        self.run(script).await?;
        self.checkpoint = Some(checkpoint);
        self.position.send_replace(position);
        Ok(())
    }

    /// Closes the file.
    pub async fn close(self) {
        sqlite::close(self.connection).await;
    }

    pub(super) async fn stored(
        &mut self,
        events: &[&RecordedEvent],
    ) -> Result<Vec<Document>, Error> {
        let ids: Vec<_> = order_ids(events).into_iter().collect();
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let rows: Vec<(i64, Vec<u8>)> = sqlx::query_as(
            "SELECT row, body FROM orders WHERE order_id IN (SELECT value FROM json_each(?))",
        )
        .bind(json(&ids)?)
        .fetch_all(&mut self.connection)
        .await?;
        rows.into_iter()
            .map(|(row, body)| decode(row, &body))
            .collect()
    }

    /// Those of the events' orders that are parked.
    pub(super) async fn parked(&mut self, events: &[&RecordedEvent]) -> Result<Vec<String>, Error> {
        if !self.has_parked {
            return Ok(Vec::new());
        }
        let ids: Vec<_> = order_ids(events).into_iter().collect();
        Ok(sqlx::query_scalar(
            "SELECT order_id FROM parked WHERE projection = ? \
             AND order_id IN (SELECT value FROM json_each(?))",
        )
        .bind(Projection::Documents.name())
        .bind(json(&ids)?)
        .fetch_all(&mut self.connection)
        .await?)
    }

    pub(super) async fn run(&mut self, script: Script) -> Result<(), Error> {
        self.unsettled = true;
        if let Err(error) = script.run(&mut self.connection).await {
            // Should this fail as well, the next batch begins with it.
            let _ = self.settle().await;
            return Err(error.into());
        }
        self.unsettled = false;
        Ok(())
    }

    /// Ends a transaction that was left open, and finds out what was committed.
    pub(super) async fn settle(&mut self) -> Result<(), Error> {
        if self.unsettled {
            // It fails when there is none open, which is as good.
            let _ = sqlx::raw_sql("ROLLBACK")
                .execute(&mut self.connection)
                .await;
            self.load_checkpoint().await?;
            self.unsettled = false;
        }
        Ok(())
    }

    /// The log position up to which the documents are made.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.checkpoint.as_ref().map_or(0, |made| made.position)
    }

    async fn load_checkpoint(&mut self) -> Result<(), Error> {
        self.checkpoint = super::checkpoint(&mut self.connection).await?;
        if let Some(checkpoint) = &self.checkpoint {
            self.generation = checkpoint.generation;
            self.has_parked = sqlx::query_scalar("SELECT EXISTS (SELECT * FROM parked)")
                .fetch_one(&mut self.connection)
                .await?;
            self.position.send_replace(checkpoint.position);
        }
        Ok(())
    }
}

/// Checks that the events are those of every position after `done` up to `position`: the log is
/// dense (G3), so that anything else is a batch that belongs behind another checkpoint.
fn check_dense(done: u64, events: &[&RecordedEvent], position: u64) -> Result<(), Error> {
    let mut expected = done + 1;
    for event in events {
        if event.position != expected {
            let given = event.position;
            return Err(Error::Gap { expected, given });
        }
        expected += 1;
    }
    if expected != position + 1 {
        let given = position + 1;
        return Err(Error::Gap { expected, given });
    }
    Ok(())
}
