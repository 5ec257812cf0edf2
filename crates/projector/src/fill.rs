//! Brings what changes in the documents to one search index, with several writes under way.

use std::{collections::VecDeque, fmt, sync::Arc, time::Duration};

use prost::Message as _;
use read_model::{
    search::{self, Applied, Checkpoint, Document, Engine},
    store::{self, ChangeCursor, Parked, Reader},
};

use telemetry::metrics;
use tokio::time::{Instant, sleep_until};

use crate::documents::Control;

/// Time from one write to the next at least: under a steady trickle of changes this is what bounds
/// the work of the engine, which costs more for each write than for each document.
const PACE: Duration = Duration::from_millis(40);

/// Positions that are looked through in one go.
const STEP: usize = 500;

/// Bytes of documents in a write, or one document more.
const MOST_BYTES: usize = 24 << 20;

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error(transparent)]
    Engine(#[from] search::Error),
}

/// All it knows is in the two: the engine says how far it is, the documents what has changed since.
#[derive(Debug)]
pub(crate) struct Fill {
    documents: Reader,
    pub(crate) engine: Arc<dyn Engine>,
    control: Control,
    /// Up to where changes have been handed over.
    cursor: ChangeCursor,
    /// Up to where writes have been applied, without a gap.
    settled: Checkpoint,
    /// What the index has as its checkpoint. It is behind where writes overlap, for a later one may
    /// succeed where an earlier one fails.
    stored: Checkpoint,
    under_way: VecDeque<UnderWay>,
    /// The same of the documents, which may be in the midst of those that show a new name.
    settled_cursor: ChangeCursor,
    /// Documents in a write at most: fewer while one is looked for that is refused.
    most: usize,
    /// Where that one is at the latest.
    looked_for: ChangeCursor,
    /// Before that nothing is handed over, unless there is plenty.
    next_write: Instant,
}

/// A write that has been handed over.
struct UnderWay {
    /// What is settled when it has been applied.
    settles: Checkpoint,
    next: ChangeCursor,
    /// The checkpoint it has with it.
    stores: Checkpoint,
    /// The document, if it has but one.
    single: Option<Parked>,
    /// So many documents.
    count: usize,
    since: Instant,
    applied: Applied,
}

impl fmt::Debug for UnderWay {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.debug_tuple("UnderWay").field(&self.settles).finish()
    }
}

/// What is to be handed over.
#[derive(Debug, Default)]
struct Batch {
    documents: Vec<Document>,
    next: ChangeCursor,
    is_all: bool,
}

impl Fill {
    /// Goes on where the index is, which has been claimed; at the beginning, if there is nothing in
    /// it.
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

    /// How far the index is.
    pub(crate) fn settled(&self) -> &Checkpoint {
        &self.settled
    }

    /// Does the next thing; false if there is nothing to do, and what the index has is all there
    /// is. When it is dropped half-way, or fails, the index has to be claimed again.
    pub(crate) async fn step(&mut self) -> Result<bool, Error> {
        let behind = self
            .documents
            .position()
            .saturating_sub(self.cursor.position);
        let has_room = self.under_way.len() < self.engine.appetite().writes;
        // What changes while a write is under way is gathered, unless there is plenty.
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
                // All there is has been brought.
                self.settled.answers = self.settled.position;
            }
            if self.stored == self.settled {
                return Ok(false);
            }
            self.store().await?;
        }
        Ok(true)
    }

    /// Ends what is under way.
    pub(crate) async fn rest(&mut self) -> Result<(), Error> {
        while !self.under_way.is_empty() {
            self.settle().await?;
        }
        if self.stored != self.settled {
            self.store().await?;
        }
        Ok(())
    }

    /// Goes on until the index answers from a position, and ends what is under way then.
    pub(crate) async fn reach(&mut self, position: u64) -> Result<(), Error> {
        while self.settled.answers < position && self.step().await? {}
        self.rest().await
    }

    /// Makes sure that the index is as it was left.
    pub(crate) async fn look(&mut self) -> Result<(), Error> {
        let found = self.engine.checkpoint().await?;
        let is_fresh = found.is_none() && self.stored.position == 0;
        // What is under way has its checkpoint with it.
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

    /// Brings the orders to the index that changed out of turn.
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

    /// Brings documents to the index, all at once, or, if that refuses one, one by one. Nothing may
    /// be under way.
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
            // Up to where the documents are now: an order that has changed since they were read
            // before is still to come, and until it is there the index answers from nowhere new.
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

    /// One of the documents of the oldest write is refused, and with it all of them: they are
    /// handed over again, fewer at a time.
    async fn look_closer(&mut self, refused: ChangeCursor) -> Result<(), Error> {
        let mut later = std::mem::take(&mut self.under_way);
        while let Some(write) = later.pop_front() {
            match write.applied.await {
                // Applied or refused, its documents are handed over again.
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

/// An order as it is set aside, but for the reason.
fn parked(document: &Document) -> Parked {
    Parked {
        order_id: document.order.order_id.clone(),
        position: document.order.position,
        error: String::new(),
        events: 0,
    }
}
