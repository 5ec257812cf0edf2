//! Writes the documents' changes to one search index, with several writes in progress.

use std::{collections::VecDeque, fmt, sync::Arc, time::Duration};

use prost::Message as _;
use read_model::{
    search::{self, Applied, Checkpoint, Document, Engine},
    store::{self, ChangeCursor, Parked, Reader},
};

use telemetry::metrics;
use tokio::time::{Instant, sleep_until};

use crate::documents::Control;

/// Minimum interval between writes, unless a full write is ready. It bounds the engine's work under
/// a steady trickle of changes: a write costs more than a document.
const PACE: Duration = Duration::from_millis(40);

/// Maximum number of log positions, and of changed documents, read in one call.
const STEP: usize = 500;

/// Number of document bytes (24 MiB) that fills a write. The last documents read may exceed it.
const MOST_BYTES: usize = 24 << 20;

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error(transparent)]
    Engine(#[from] search::Error),
}

/// Fills one index from the documents. Keeps no durable state of its own: the engine stores the
/// checkpoint, and the documents list the changes since.
#[derive(Debug)]
pub(crate) struct Fill {
    documents: Reader,
    pub(crate) engine: Arc<dyn Engine>,
    control: Control,
    /// Every change at or before this cursor has been handed to the engine.
    cursor: ChangeCursor,
    /// Every write up to this checkpoint has been applied, without a gap.
    settled: Checkpoint,
    /// The checkpoint that the index stores. With overlapping writes it lags behind `settled`: a
    /// later write may succeed where an earlier one fails.
    stored: Checkpoint,
    under_way: VecDeque<UnderWay>,
    /// The cursor of `settled`. It may lie among the orders that show one new name.
    settled_cursor: ChangeCursor,
    /// Maximum number of documents in a write: the engine's limit, or less during the search for a
    /// refused document.
    most: usize,
    /// The refused document is at or before this cursor.
    looked_for: ChangeCursor,
    /// Earliest time of the next write that is not full.
    next_write: Instant,
}

/// A write that has been handed to the engine.
struct UnderWay {
    /// The value of `settled` once the write is applied.
    settles: Checkpoint,
    next: ChangeCursor,
    /// The checkpoint that the write stores in the index.
    stores: Checkpoint,
    /// The document of a write with exactly one document, ready to be parked.
    single: Option<Parked>,
    /// Number of documents in the write.
    count: usize,
    since: Instant,
    applied: Applied,
}

impl fmt::Debug for UnderWay {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.debug_tuple("UnderWay").field(&self.settles).finish()
    }
}

/// The documents of the next write.
#[derive(Debug, Default)]
struct Batch {
    documents: Vec<Document>,
    next: ChangeCursor,
    is_all: bool,
}

impl Fill {
    /// Resumes at `from`: the checkpoint of the claimed index, or position 0 of an empty one.
    pub(crate) fn new(
        documents: Reader,
        engine: Arc<dyn Engine>,
        control: Control,
        from: Checkpoint,
    ) -> Self {
        let cursor = ChangeCursor {
            position: from.position,
            row: 0,
        };
        Self {
            documents,
            most: engine.appetite().documents,
            engine,
            control,
            cursor,
            settled_cursor: cursor,
            looked_for: ChangeCursor::default(),
            settled: from.clone(),
            stored: from,
            under_way: VecDeque::new(),
            next_write: Instant::now(),
        }
    }

    /// Returns the checkpoint up to which every write has been applied.
    pub(crate) fn settled(&self) -> &Checkpoint {
        &self.settled
    }

    /// Performs the next action: hands over a write, waits for one, or stores the checkpoint.
    /// Returns false if there is nothing to do: the index has every change of the documents.
    ///
    /// After an error, or if the future is dropped, the index must be claimed again.
    pub(crate) async fn step(&mut self) -> Result<bool, Error> {
        let behind = self
            .documents
            .position()
            .saturating_sub(self.cursor.position);
        let has_room = self.under_way.len() < self.engine.appetite().writes;
        // Changes that arrive during a write are collected, until they fill a write of their own.
        if behind > 0 && (self.under_way.is_empty() || has_room && behind >= self.most as u64) {
            if behind < self.most as u64 {
                sleep_until(self.next_write).await;
            }
            self.next_write = Instant::now() + PACE;
            let batch = self.gather().await?;
            self.hand_over(batch).await?;
        } else if !self.under_way.is_empty() {
            self.settle().await?;
        } else {
            if behind == 0 {
                // The index has every change of the documents.
                self.settled.answers = self.settled.position;
            }
            if self.stored == self.settled {
                return Ok(false);
            }
            self.store().await?;
        }
        Ok(true)
    }

    /// Waits until all handed-over writes are applied, and stores the checkpoint.
    pub(crate) async fn rest(&mut self) -> Result<(), Error> {
        while !self.under_way.is_empty() {
            self.settle().await?;
        }
        if self.stored != self.settled {
            self.store().await?;
        }
        Ok(())
    }

    /// Writes until the index answers from `position`, then finishes all writes.
    pub(crate) async fn reach(&mut self, position: u64) -> Result<(), Error> {
        while self.settled.answers < position && self.step().await? {}
        self.rest().await
    }

    /// Verifies that the index has the checkpoint that this writer stored last.
    ///
    /// # Errors
    /// A failure of the engine if the checkpoint differs: the index was wiped, restored, or written
    /// by another process.
    pub(crate) async fn look(&mut self) -> Result<(), Error> {
        let found = self.engine.checkpoint().await?;
        let is_fresh = found.is_none() && self.stored.position == 0;
        // A write in progress stores a checkpoint, so any checkpoint is accepted.
        let is_ours = found.is_some() && !self.under_way.is_empty();
        if is_fresh || is_ours || found.as_ref() == Some(&self.stored) {
            return Ok(());
        }
        let changed = "the index is not as it was left: it is looked at again";
        Err(search::Error::Failed(changed.into()).into())
    }

    async fn store(&mut self) -> Result<(), Error> {
        let settled = self.settled.clone();
        let applied = self.engine.write(Vec::new(), settled.clone()).await?;
        applied.await?;
        self.stored = settled;
        Ok(())
    }

    /// Indexes the orders that changed out of turn, until none is left.
    pub(crate) async fn again(&mut self) -> Result<(), Error> {
        self.rest().await?;
        loop {
            let again = self.documents.again(STEP as u32).await?;
            if again.marks.is_empty() {
                return Ok(());
            }
            self.bring(again.documents).await?;
            self.control.brought(again.marks).await?;
        }
    }

    /// Indexes documents in one write. If the engine refuses it, writes them one by one and parks
    /// the refused ones. No other write may be in progress.
    pub(crate) async fn bring(&mut self, documents: Vec<Document>) -> Result<(), Error> {
        let write = self.engine.write(documents.clone(), self.stored.clone());
        match write.await?.await {
            Err(search::Error::Refused(_)) => {}
            applied => return Ok(applied?),
        }
        for document in documents {
            let single = parked(&document);
            let write = self.engine.write(vec![document], self.stored.clone());
            match write.await?.await {
                Err(search::Error::Refused(error)) => {
                    self.control.park(Parked { error, ..single }).await?;
                }
                applied => applied?,
            }
        }
        Ok(())
    }

    async fn gather(&mut self) -> Result<Batch, Error> {
        let mut batch = Batch {
            next: self.cursor,
            ..Batch::default()
        };
        let mut bytes = 0;
        loop {
            let step = STEP.min(self.most - batch.documents.len());
            let changes = self.documents.changed_since(batch.next, step).await?;
            bytes += changes
                .documents
                .iter()
                .map(|document| document.order.encoded_len())
                .sum::<usize>();
            batch.next = changes.next;
            batch.documents.extend(changes.documents);
            batch.is_all = batch.next.position >= changes.as_of;
            let is_full = batch.documents.len() >= self.most || bytes >= MOST_BYTES;
            // Reads on until the write is full or reaches the documents' present position. An order
            // that changed after an earlier read comes later, and until then `answers` cannot
            // advance.
            if is_full || batch.is_all {
                return Ok(batch);
            }
        }
    }

    async fn hand_over(&mut self, batch: Batch) -> Result<(), Error> {
        let Batch {
            documents,
            next,
            is_all,
        } = batch;
        let settles = Checkpoint {
            position: next.position,
            answers: if is_all {
                next.position
            } else {
                self.settled.answers
            },
            ..self.settled.clone()
        };
        let is_alone = self.under_way.is_empty();
        let stores = if is_alone { &settles } else { &self.settled }.clone();
        let single = match documents.as_slice() {
            [document] => Some(parked(document)),
            _ => None,
        };
        let (count, since) = (documents.len(), Instant::now());
        let applied = self.engine.write(documents, stores.clone()).await?;
        self.cursor = next;
        self.under_way.push_back(UnderWay {
            settles,
            next,
            stores,
            single,
            count,
            since,
            applied,
        });
        Ok(())
    }

    async fn settle(&mut self) -> Result<(), Error> {
        let Some(oldest) = self.under_way.front_mut() else {
            return Ok(());
        };
        let applied = (&mut oldest.applied).await;
        let Some(oldest) = self.under_way.pop_front() else {
            return Ok(());
        };
        match applied {
            Ok(()) => {
                metrics::indexed(oldest.count, oldest.since.elapsed());
                self.stored = oldest.stores;
                let place = |cursor: ChangeCursor| (cursor.position, cursor.row);
                if place(oldest.next) >= place(self.looked_for) {
                    self.most = self.engine.appetite().documents;
                }
            }
            Err(search::Error::Refused(error)) => match oldest.single {
                Some(single) => self.control.park(Parked { error, ..single }).await?,
                None => return self.look_closer(oldest.next).await,
            },
            Err(error) => return Err(error.into()),
        }
        self.settled = Checkpoint {
            answers: self.settled.answers.max(oldest.settles.answers),
            ..oldest.settles
        };
        self.settled_cursor = oldest.next;
        Ok(())
    }

    /// Halves the write size and hands over all documents after `settled` once more: the engine
    /// refused one document of the oldest write, and therefore the whole write.
    async fn look_closer(&mut self, refused: ChangeCursor) -> Result<(), Error> {
        let mut later = std::mem::take(&mut self.under_way);
        while let Some(write) = later.pop_front() {
            match write.applied.await {
                // The documents of this write are handed over once more, whether applied or
                // refused.
                Ok(()) => self.stored = write.stores,
                Err(search::Error::Refused(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.most = (self.most / 2).max(1);
        self.looked_for = refused;
        self.cursor = self.settled_cursor;
        Ok(())
    }
}

/// Returns the parked entry of a document, without the error.
fn parked(document: &Document) -> Parked {
    Parked {
        order_id: document.order.order_id.clone(),
        position: document.order.position,
        error: String::new(),
        events: 0,
    }
}
