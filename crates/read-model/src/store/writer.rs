//! The only writer: applies batches of events, and commits documents and checkpoint in one
//! transaction.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use contract::orders::v1::RecordedEvent;
use sqlite::WalLimit;
use sqlx::SqliteConnection;
use tokio::sync::watch;
use uuid::Uuid;

use super::{
    Checkpoint, Error, MIGRATIONS, Projection, Reader, SYNCHRONOUS,
    batch::{Batch, order_ids},
    json,
    list_index::Filling,
    numbers::Numbers,
    reader::{History, Pool},
    script::Script,
    snapshot::decode,
};
use crate::{AggregateId, Row, generations, lists, projection::SCHEMA, search::Document};

/// Caches up to 32 MiB of pages, because a batch changes a page of the ids for each new order, unless
/// they are ordered by time, and a page of documents for each other one.
const SET_CACHE_SIZE: &str = "PRAGMA cache_size = -32768";

/// The time for which a reset of the write-ahead log may wait for reads, while the documents stop. It
/// outlasts the lists and searches of queries, which end after 2 s by default, and is shorter than most
/// queries wait for their position.
const WAL_RESET_WAIT: Duration = Duration::from_millis(2500);

/// The time until the next attempt after a read has prevented a reset. The comparison of a verification
/// may last for minutes, and the log grows meanwhile.
const WAL_RESET_INTERVAL: Duration = Duration::from_secs(60);

/// Applies events to the documents.
#[derive(Debug)]
pub struct Writer {
    pub(super) connection: SqliteConnection,
    wal_limit: WalLimit,
    pub(super) generation: u64,
    /// The history of a file without a checkpoint.
    pub(super) new_history: String,
    pub(super) checkpoint: Option<Checkpoint>,
    /// Whether an aggregate may be parked. False saves a query for each batch.
    pub(super) has_parked: bool,
    /// Whether a transaction may still be open, after an error or a dropped future.
    pub(super) rollback_pending: bool,
    pub(super) position: watch::Sender<u64>,
    pub(super) reindex: watch::Sender<()>,
    /// False while the documents have events that the log no longer has, and until documents that
    /// started over have caught up.
    pub(super) consistent: watch::Sender<bool>,
    /// False until the documents have been compared with the log, and `consistent` is known.
    pub(super) compared: watch::Sender<bool>,
    /// Notified when orders change otherwise than by a new event, and when `consistent` changes.
    pub(super) revised: watch::Sender<()>,
    /// False while the index of lists is filled.
    pub(super) listed: watch::Sender<bool>,
    /// The readers' connections. A switch replaces them by connections to the next generation.
    pub(super) pools: Arc<Mutex<Vec<Pool>>>,
    pub(super) path: PathBuf,
    /// The statements that create the indexes which an unfinished file lacks.
    pub(super) indexes: Vec<String>,
    /// The documents have been compared with the live ones up to this position, before a switch.
    pub(super) compared_until: u64,
    pub(super) numbers: Numbers,
    /// The index of lists.
    pub(super) lists: lists::Writer,
    /// Until the index of lists is complete, how far it is filled.
    pub(super) filling: Option<Filling>,
}

impl Writer {
    /// Opens the file, or creates it.
    ///
    /// A new file gets `generation`; a file with a checkpoint keeps its own. The writing thread
    /// inherits the priority of the calling thread.
    ///
    /// # Errors
    /// - [`Error::File`]: the file is not a read model, or cannot be opened.
    /// - [`Error::Sqlite`]: the file cannot be read.
    /// - [`Error::Lists`]: the index of lists cannot be written.
    pub async fn open(path: &Path, generation: u64) -> Result<Self, Error> {
        let mut connection = sqlite::writer(path, &MIGRATIONS, SYNCHRONOUS).await?;
        let wal_limit =
            WalLimit::new(path, &mut connection, WAL_RESET_WAIT, WAL_RESET_INTERVAL).await?;
        let folder = generations::lists_folder(path);
        let lists = tokio::task::spawn_blocking(move || lists::Writer::open(&folder)).await;
        let mut writer = Self {
            connection,
            wal_limit,
            generation,
            new_history: Uuid::now_v7().to_string(),
            checkpoint: None,
            has_parked: false,
            rollback_pending: false,
            position: watch::Sender::new(0),
            reindex: watch::Sender::new(()),
            consistent: watch::Sender::new(true),
            compared: watch::Sender::new(false),
            revised: watch::Sender::new(()),
            listed: watch::Sender::new(true),
            pools: Arc::default(),
            path: path.to_owned(),
            indexes: Vec::new(),
            compared_until: 0,
            numbers: Numbers::new(),
            lists: lists.map_err(io::Error::other)??,
            filling: None,
        };
        sqlx::raw_sql(SET_CACHE_SIZE)
            .execute(&mut writer.connection)
            .await?;
        writer.load_checkpoint().await?;
        writer.catch_up_lists().await?;
        Ok(writer)
    }

    /// Opens a reader of this writer's file with this many connections. Their threads inherit the
    /// priority of the thread that runs the future.
    ///
    /// # Errors
    /// [`Error::File`]: the file cannot be opened.
    pub fn reader(&self, connections: u32) -> impl Future<Output = Result<Reader, Error>> + use<> {
        let path = self.path.clone();
        let (position, reindex) = (self.position.subscribe(), self.reindex.subscribe());
        let (consistent, compared) = (self.consistent.subscribe(), self.compared.subscribe());
        let (revised, listed) = (self.revised.subscribe(), self.listed.subscribe());
        let pools = Arc::clone(&self.pools);
        let lists = self.published_lists();
        async move {
            let pool = Pool::open(&path, lists, connections).await?;
            let mut pools = pools.lock().unwrap_or_else(PoisonError::into_inner);
            pools.push(pool.clone());
            let history = History {
                consistent,
                compared,
                revised,
            };
            Ok(Reader::new(pool, position, reindex, listed, history))
        }
    }

    /// Returns the generation of the documents.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Returns whether another version of the projection made the documents.
    #[must_use]
    pub fn is_outdated(&self) -> bool {
        self.checkpoint
            .as_ref()
            .is_some_and(|checkpoint| checkpoint.schema != SCHEMA)
    }

    /// Returns the checkpoint; `None` before the first batch.
    #[must_use]
    pub fn checkpoint(&self) -> Option<&Checkpoint> {
        self.checkpoint.as_ref()
    }

    /// Applies the events up to `position` and moves the checkpoint there, in one transaction.
    ///
    /// Skips events at or below the checkpoint, so a caller can repeat a batch. An event that does
    /// not fit parks its order, customer or product.
    ///
    /// # Errors
    /// - [`Error::LogMismatch`]: the events belong to another log.
    /// - [`Error::Gap`]: the batch lacks an event between the checkpoint and `position`.
    /// - [`Error::Damaged`]: a stored document cannot be decoded.
    /// - [`Error::Sqlite`]: the file cannot be written.
    ///
    /// Nothing that a reader sees changes on an error.
    pub async fn apply(
        &mut self,
        log_id: &str,
        events: &[RecordedEvent],
        position: u64,
    ) -> Result<(), Error> {
        self.roll_back().await?;
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
        let checkpoint = self.checkpoint_at(log_id, position, &new);
        let stored = self.stored(&new).await?;
        let parked = self.parked(&new).await?;
        let old = self.entries(stored.iter()).await?;
        let batch = Batch::new(stored, parked, &new);
        let changes = self.changes(old, &batch, position).await?;
        for (aggregate, change) in &batch.parked {
            if let Some(error) = &change.error {
                tracing::error!(%aggregate, %error, "the aggregate is parked");
            }
        }
        self.has_parked |= !batch.parked.is_empty();
        let script = Script::begin()
            .with(batch, Some(&checkpoint))
            .map_err(sqlx::Error::Encode)?;
        self.make_room().await;
        self.run(script).await?;
        self.checkpoint = Some(checkpoint);
        self.position.send_replace(position);
        self.publish(changes);
        if let Err(error) = self.wal_limit.enforce(&mut self.connection).await {
            // The batch is committed. If the file has failed, the next batch says so.
            tracing::warn!(%error, "the write-ahead log of the documents is not reset");
        }
        Ok(())
    }

    /// Returns the checkpoint after the new events, which end at `position`.
    fn checkpoint_at(&self, log_id: &str, position: u64, new: &[&RecordedEvent]) -> Checkpoint {
        let before = self.checkpoint.as_ref();
        let newest = new.last();
        Checkpoint {
            log_id: log_id.to_owned(),
            position,
            event_id: newest.map_or_else(String::new, |event| event.event_id.clone()),
            history: before.map_or_else(|| self.new_history.clone(), |it| it.history.clone()),
            generation: self.generation,
            schema: before.map_or(SCHEMA, |checkpoint| checkpoint.schema),
            retries: before.map_or(0, |checkpoint| checkpoint.retries),
        }
    }

    /// Tells the readers whether the documents have only events that the log has.
    pub fn set_consistent(&self, consistent: bool) {
        let is_changed = self
            .consistent
            .send_if_modified(|now| std::mem::replace(now, consistent) != consistent);
        if is_changed {
            self.revised.send_replace(());
        }
        self.compared.send_replace(true);
    }

    /// Closes the file and the index of lists.
    pub async fn close(self) {
        if let Err(error) = self.lists.close().await {
            // The next start brings to it what it lacks.
            tracing::warn!(%error, "the index of lists is not closed");
        }
        self.wal_limit.close().await;
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
        let rows: Vec<(Row, Vec<u8>)> = sqlx::query_as(
            "SELECT row, body FROM orders WHERE order_id IN (SELECT value FROM json_each(?))",
        )
        .bind(json(&ids)?)
        .fetch_all(&mut self.connection)
        .await?;
        rows.into_iter()
            .map(|(row, body)| decode(row, &body))
            .collect()
    }

    /// Returns the parked aggregates with the ids of the events' aggregates.
    pub(super) async fn parked(
        &mut self,
        events: &[&RecordedEvent],
    ) -> Result<Vec<AggregateId>, Error> {
        if !self.has_parked {
            return Ok(Vec::new());
        }
        let ids: Vec<_> = events.iter().map(|event| &event.aggregate_id).collect();
        Ok(sqlx::query_as(
            "SELECT aggregate_type, aggregate_id FROM parked WHERE projection = ? \
             AND aggregate_id IN (SELECT value FROM json_each(?))",
        )
        .bind(Projection::Documents.name())
        .bind(json(&ids)?)
        .fetch_all(&mut self.connection)
        .await?)
    }

    pub(super) async fn run(&mut self, script: Script) -> Result<(), Error> {
        self.rollback_pending = true;
        if let Err(error) = script.run(&mut self.connection).await {
            // If the rollback fails too, the next batch repeats it.
            let _ = self.roll_back().await;
            return Err(error.into());
        }
        self.rollback_pending = false;
        Ok(())
    }

    /// Rolls back an open transaction, and reloads the checkpoint that was committed.
    pub(super) async fn roll_back(&mut self) -> Result<(), Error> {
        if self.rollback_pending {
            // The rollback fails if no transaction is open, which is equally good.
            let _ = sqlx::raw_sql("ROLLBACK")
                .execute(&mut self.connection)
                .await;
            self.load_checkpoint().await?;
            self.catch_up_lists().await?;
            self.rollback_pending = false;
        }
        Ok(())
    }

    /// Returns the log position up to which events are applied; 0 before the first batch.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.checkpoint
            .as_ref()
            .map_or(0, |checkpoint| checkpoint.position)
    }

    pub(super) async fn load_checkpoint(&mut self) -> Result<(), Error> {
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

/// Checks that the events cover every position after `done` up to `position`.
///
/// The log has no gaps (G3), so any other batch belongs to another checkpoint.
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
