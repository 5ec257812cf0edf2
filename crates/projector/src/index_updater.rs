//! Writes the documents' changes to one search index, with several writes in progress.
//!
//! Fresh changes, which are the orders' own events, come first. New names and the reindex queue
//! follow as the [`backfill`].

use std::{collections::VecDeque, sync::Arc, time::Duration};

use prost::Message as _;
use read_model::{
    AggregateId, Row,
    search::{self, Engine, IndexCheckpoint},
    store::{self, ChangeCursor, Checkpoint, Parked, Projection, Reader},
};
use telemetry::metrics;
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

mod backfill;
mod refused;
mod write;

use backfill::{Backfill, BackfillWrite};
use write::{NextWrite, WriteInFlight, parked, rows};

use crate::{documents::DocumentsHandle, stream};

/// Minimum interval between writes, unless a full write is ready. It bounds the engine's work under
/// a steady trickle of changes: a write costs more than a document.
pub(crate) const WRITE_INTERVAL: Duration = Duration::from_millis(40);

/// Maximum number of log positions, and of changed documents, read in one call.
const MAX_READ_CHANGES: usize = 500;

/// Number of document bytes (24 MiB) that fills a write. The last documents read may exceed it.
const MAX_WRITE_BYTES: usize = 24 << 20;

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error(transparent)]
    Engine(#[from] search::Error),
    /// The log went back, and the documents started over.
    #[error("the documents are of another history than the index")]
    OtherHistory,
    /// Orders changed without a new event after an index was compared with them. It may have their old
    /// states.
    #[error("orders changed meanwhile by a retry or by a rebuild of the documents")]
    Revised,
    /// The nodes did not say whether the log has the index's checkpoint.
    #[error(transparent)]
    Stream(#[from] stream::Error),
}

/// Brings one index up to date with the documents. Keeps no durable state of its own: the engine
/// stores the checkpoint, and the documents list the changes since.
#[derive(Debug)]
pub(crate) struct IndexUpdater {
    documents: Reader,
    /// Notified when orders change otherwise than by a new event.
    revised: watch::Receiver<()>,
    pub(crate) engine: Arc<dyn Engine>,
    handle: DocumentsHandle,
    /// Every own event of an order up to this position has been submitted to the engine.
    position: u64,
    backfill: Backfill,
    /// Every write up to this checkpoint has been applied, without a gap.
    applied: IndexCheckpoint,
    /// The checkpoint that the index stores. With overlapping writes it lags behind `applied`: a
    /// later write may succeed where an earlier one fails.
    stored: IndexCheckpoint,
    in_flight: VecDeque<WriteInFlight>,
    /// Maximum number of documents in a write: the engine's limit, or less during the search for a
    /// refused document.
    max_documents: usize,
    /// The refused document is at or before this position and this cursor of the backfill.
    refused_until: (u64, ChangeCursor),
    /// Earliest time of the next write of fresh changes that is not full.
    next_write: Instant,
}

impl IndexUpdater {
    /// Resumes at `from`: the checkpoint of the claimed index, or position 0 of an empty one. The
    /// updater first stores the checkpoint if the index has another one, `found`.
    ///
    /// An empty index gets every order with the names that the documents have now, so that only later
    /// names need the backfill.
    pub(crate) fn new(
        documents: Reader,
        engine: Arc<dyn Engine>,
        handle: DocumentsHandle,
        from: IndexCheckpoint,
        found: Option<IndexCheckpoint>,
    ) -> Self {
        let stored = found.unwrap_or_else(|| from.clone());
        let names = match from.position {
            0 => ChangeCursor::at(documents.position()),
            _ => from.names,
        };
        let applied = IndexCheckpoint { names, ..from };
        Self {
            revised: documents.revised(),
            documents,
            max_documents: engine.write_limits().documents,
            engine,
            handle,
            position: applied.position,
            backfill: Backfill::new(names),
            refused_until: (0, ChangeCursor::default()),
            stored,
            applied,
            in_flight: VecDeque::new(),
            next_write: Instant::now(),
        }
    }

    /// Returns the checkpoint up to which every write has been applied.
    pub(crate) fn applied(&self) -> &IndexCheckpoint {
        &self.applied
    }

    /// Begins to look for orders that change otherwise than by a new event. Call it before the index is
    /// compared with the documents, which finds those that changed earlier.
    pub(crate) fn watch_revisions(&mut self) {
        self.revised.mark_unchanged();
    }

    /// Returns whether orders have changed since then. Their queue is brought to the live index alone.
    pub(crate) fn is_revised(&self) -> bool {
        self.revised.has_changed().unwrap_or(true)
    }

    /// Performs the next action: submits a write, waits for one, or stores the checkpoint.
    /// Returns false if there is nothing to do: the index has every change of the documents, or lacks
    /// only names while the lists are filled.
    ///
    /// After an error, or if the future is dropped, the index must be claimed again.
    pub(crate) async fn step(&mut self) -> Result<bool, Error> {
        let behind = self.documents.position().saturating_sub(self.position);
        if behind == 0 {
            self.backfill.look(&self.documents).await?;
        }
        let first = self.engine.write_limits().first.min(self.max_documents);
        let is_full = behind >= first as u64;
        let has_room = self.in_flight.len() < self.engine.write_limits().writes;
        // Changes that arrive during a write are collected, until they fill a write of their own.
        let is_collecting = self.in_flight.iter().any(|write| !write.is_backfill) && !is_full;
        let is_fresh_next = behind > 0 && has_room && !is_collecting;
        let yields = !is_fresh_next
            || if is_full {
                self.backfill.is_due()
            } else {
                self.next_write > Instant::now()
            };
        if self.backfill.is_ready() && has_room && yields {
            self.backfill().await?;
        } else if is_fresh_next {
            if !is_full {
                sleep_until(self.next_write).await;
            }
            self.next_write = Instant::now() + WRITE_INTERVAL;
            let write = self.read_next_write().await?;
            // Nearly always no name is new, and the write takes the backfill's cursor along.
            self.backfill.look(&self.documents).await?;
            self.submit(write).await?;
        } else if !self.in_flight.is_empty() {
            self.wait_for_oldest().await?;
        } else {
            self.applied.names = self.backfill.cursor;
            if behind == 0 {
                // The index has every fresh change of the documents.
                self.applied.answers = self.applied.position;
            }
            if self.stored == self.applied {
                return Ok(false);
            }
            self.store_checkpoint().await?;
        }
        Ok(true)
    }

    /// Waits until all writes in flight are applied, and stores the checkpoint.
    pub(crate) async fn finish_writes(&mut self) -> Result<(), Error> {
        while !self.in_flight.is_empty() {
            self.wait_for_oldest().await?;
        }
        if self.stored != self.applied {
            self.store_checkpoint().await?;
        }
        Ok(())
    }

    /// Writes until the index answers from `position` and shows the names up to `names`, then
    /// finishes all writes.
    pub(crate) async fn reach(&mut self, position: u64, names: u64) -> Result<(), Error> {
        let is_behind = |applied: &IndexCheckpoint| {
            applied.answers < position || applied.names.position < names
        };
        while is_behind(&self.applied) {
            let is_listed = *self.documents.listed().borrow();
            if self.step().await? {
                continue;
            }
            if is_listed {
                break;
            }
            // Only the names are missing, whose orders the lists know.
            let mut listed = self.documents.listed();
            let listed = listed.wait_for(|is_listed| *is_listed).await;
            listed.map_err(|_| store::Error::Stopped)?;
        }
        self.finish_writes().await
    }

    /// Verifies that the index has the checkpoint that this writer stored last.
    ///
    /// # Errors
    /// A failure of the engine if the checkpoint differs: the index was wiped, restored, or written
    /// by another process.
    pub(crate) async fn verify_checkpoint(&mut self) -> Result<(), Error> {
        let found = self.engine.checkpoint(&self.applied.log_id).await?;
        let is_fresh = found.is_none() && self.stored.position == 0;
        // A write in progress stores a checkpoint, so any checkpoint is accepted.
        let is_ours = found.is_some() && !self.in_flight.is_empty();
        if is_fresh || is_ours || found.as_ref() == Some(&self.stored) {
            return Ok(());
        }
        let changed = "the index has another checkpoint than this writer stored last";
        Err(search::Error::Failed(changed.into()).into())
    }

    async fn store_checkpoint(&mut self) -> Result<(), Error> {
        let checkpoint = self.applied.clone();
        let write = self.engine.write(Vec::new(), checkpoint.clone());
        write.await?.await?;
        self.stored = checkpoint;
        Ok(())
    }

    /// Records that the reindex queue may have orders.
    pub(crate) fn queued(&mut self) {
        self.backfill.queued();
    }

    /// Submits the next write of the backfill.
    async fn backfill(&mut self) -> Result<(), Error> {
        let BackfillWrite {
            documents,
            entries,
            checkpoint,
        } = self
            .backfill
            .read(&self.documents, self.max_documents)
            .await?;
        self.has_read(checkpoint)?;
        if documents.is_empty() {
            if !entries.is_empty() {
                self.handle.remove_reindexed(entries).await?;
            }
            return Ok(());
        }
        self.backfill.began();
        self.submit(NextWrite {
            documents,
            entries,
            is_backfill: true,
            ..NextWrite::default()
        })
        .await
    }

    /// Removes the parking of orders that the index has accepted in a later state. Nearly always no
    /// order is parked, and then it writes nothing.
    async fn unpark(&mut self, rows: Vec<Row>) -> Result<(), Error> {
        let first = self
            .documents
            .parked(Projection::Search, &AggregateId::default(), 1)
            .await?;
        if !first.is_empty() && !rows.is_empty() {
            self.handle.unpark_indexed(rows).await?;
        }
        Ok(())
    }

    /// Records the documents that a write is read from. Every later write stores their newest event, so
    /// that the index says up to where it may have changes.
    fn has_read(&mut self, documents: Option<Checkpoint>) -> Result<(), Error> {
        let of_history = documents.filter(|it| it.history == self.applied.history);
        let Checkpoint {
            position, event_id, ..
        } = of_history.ok_or(Error::OtherHistory)?;
        self.applied.read_position = position;
        self.applied.event_id = event_id;
        Ok(())
    }

    async fn read_next_write(&mut self) -> Result<NextWrite, Error> {
        let mut write = NextWrite::default();
        let mut bytes = 0;
        let limit = match self.in_flight.is_empty() {
            true => self.engine.write_limits().first.min(self.max_documents),
            false => self.max_documents,
        };
        loop {
            let step = MAX_READ_CHANGES.min(limit - write.documents.len());
            let changes = self
                .documents
                .own_changes_since(self.position, step)
                .await?;
            bytes += changes
                .documents
                .iter()
                .map(|document| document.order.encoded_len())
                .sum::<usize>();
            self.has_read(changes.checkpoint)?;
            self.position = changes.next.position;
            write.documents.extend(changes.documents);
            write.is_all = self.position >= changes.as_of;
            let is_full = write.documents.len() >= limit || bytes >= MAX_WRITE_BYTES;
            // Reads on until the write is full or reaches the documents' present position. An order
            // that changed after an earlier read comes later, and until then `answers` cannot
            // advance.
            if is_full || write.is_all {
                return Ok(write);
            }
        }
    }

    async fn submit(&mut self, write: NextWrite) -> Result<(), Error> {
        let NextWrite {
            documents,
            is_all,
            entries,
            is_backfill,
        } = write;
        let reaches = IndexCheckpoint {
            position: self.position,
            names: self.backfill.cursor,
            answers: if is_all {
                self.position
            } else {
                self.applied.answers
            },
            ..self.applied.clone()
        };
        let is_alone = self.in_flight.is_empty();
        let stores = if is_alone { &reaches } else { &self.applied }.clone();
        let single = match documents.as_slice() {
            [document] => Some(parked(document)),
            _ => None,
        };
        let rows = rows(&documents);
        let since = Instant::now();
        let write = match self.engine.write(documents, stores.clone()).await {
            Err(search::Error::TooLarge(_)) if rows.len() > 1 => {
                return self.search_refused(&reaches).await;
            }
            write => write?,
        };
        self.in_flight.push_back(WriteInFlight {
            reaches,
            stores,
            entries,
            is_backfill,
            single,
            rows,
            since,
            write,
        });
        Ok(())
    }

    async fn wait_for_oldest(&mut self) -> Result<(), Error> {
        let Some(oldest) = self.in_flight.front_mut() else {
            return Ok(());
        };
        let applied = (&mut oldest.write).await;
        let Some(oldest) = self.in_flight.pop_front() else {
            return Ok(());
        };
        match applied {
            Ok(()) => {
                let took = oldest.since.elapsed();
                metrics::indexed(oldest.rows.len(), took);
                if oldest.is_backfill {
                    self.backfill.applied(oldest.rows.len(), took);
                }
                self.stored = oldest.stores;
                self.unpark(oldest.rows).await?;
                let (position, names) = self.refused_until;
                if oldest.reaches.position >= position && oldest.reaches.names >= names {
                    self.max_documents = self.engine.write_limits().documents;
                }
            }
            Err(search::Error::Refused(error)) => match oldest.single {
                Some(single) => {
                    if oldest.is_backfill {
                        self.backfill.applied(1, oldest.since.elapsed());
                    }
                    self.handle.park(Parked { error, ..single }).await?;
                }
                None => return self.search_refused(&oldest.reaches).await,
            },
            Err(error) => return Err(error.into()),
        }
        if !oldest.entries.is_empty() {
            self.handle.remove_reindexed(oldest.entries).await?;
        }
        self.applied = IndexCheckpoint {
            position: oldest.reaches.position,
            names: oldest.reaches.names,
            answers: self.applied.answers.max(oldest.reaches.answers),
            ..self.applied.clone()
        };
        Ok(())
    }
}
