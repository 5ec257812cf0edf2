//! The backfill of an index: orders that it must receive although no own event changed them. They
//! show a new name, or are in the reindex queue.
//!
//! A name may be shown by a million orders, so the backfill has its own cursor and yields to fresh
//! changes: its writes are short, and there is one at a time.

use std::time::Duration;

use read_model::{
    Row,
    search::Document,
    store::{self, ChangeCursor, Checkpoint, Reader, ReindexEntry, Renamed},
};
use tokio::time::Instant;

/// Maximum number of rows that are read at once, of orders that show new names.
const MAX_ROWS: usize = 50_000;

/// Time that a write of the backfill may take. A fresh change waits for it. An engine whose shortest
/// write takes longer gets half as much more than that.
const WRITE_TIME: Duration = Duration::from_millis(60);

/// Number of documents in the first write, and the minimum of later ones.
const MIN_DOCUMENTS: usize = 100;

/// While fresh changes fill every write, the backfill takes one part in so many of the time.
const PARTS_OF_TIME: u32 = 5;

/// The orders that follow, and the size and time of their next write.
#[derive(Debug)]
pub(super) struct Backfill {
    /// Every order that shows a name up to this cursor has been submitted to the engine.
    pub(super) cursor: ChangeCursor,
    renamed: Renamed,
    /// The number of orders in `renamed` that have been submitted.
    submitted: usize,
    /// Whether the reindex queue is brought to this index. An index that is being rebuilt leaves it to
    /// the live one.
    brings_queue: bool,
    /// Whether the reindex queue may have orders.
    is_queued: bool,
    /// Whether the queue comes next, if names have orders too.
    takes_queue: bool,
    documents: usize,
    /// The shortest time that a write took.
    least: Duration,
    /// Whether a write is in flight.
    is_busy: bool,
    /// Before this time, fresh changes that fill a write come first.
    due: Instant,
}

/// The documents of one write.
#[derive(Debug, Default)]
pub(super) struct BackfillWrite {
    pub(super) documents: Vec<Document>,
    /// The entries of the reindex queue that the documents are of.
    pub(super) entries: Vec<ReindexEntry>,
    pub(super) checkpoint: Option<Checkpoint>,
}

impl Backfill {
    pub(super) fn new(cursor: ChangeCursor) -> Self {
        Self {
            cursor,
            renamed: Renamed {
                orders: Vec::new(),
                next: cursor,
            },
            submitted: 0,
            brings_queue: false,
            is_queued: false,
            takes_queue: false,
            documents: MIN_DOCUMENTS,
            least: Duration::MAX,
            is_busy: false,
            due: Instant::now(),
        }
    }

    /// Goes back to a cursor: what was submitted after it must be submitted once more.
    pub(super) fn restart(&mut self, cursor: ChangeCursor) {
        *self = Self {
            brings_queue: self.brings_queue,
            is_queued: self.brings_queue,
            documents: self.documents,
            least: self.least,
            ..Self::new(cursor)
        };
    }

    /// Records that the reindex queue may have orders.
    pub(super) fn queued(&mut self) {
        self.brings_queue = true;
        self.is_queued = true;
    }

    fn has_names(&self) -> bool {
        self.submitted < self.renamed.orders.len()
    }

    /// Returns whether a write can be read and submitted.
    pub(super) fn is_ready(&self) -> bool {
        !self.is_busy && (self.has_names() || self.is_queued)
    }

    /// Returns whether its time has come, also while fresh changes fill every write.
    pub(super) fn is_due(&self) -> bool {
        self.due <= Instant::now()
    }

    /// Looks for orders that show new names. Advances the cursor to the documents' position if there
    /// are none. Finds none, and stays where it is, while the index of lists is filled, which knows
    /// them.
    pub(super) async fn look(&mut self, documents: &Reader) -> Result<(), store::Error> {
        if self.has_names() || self.cursor.position >= documents.position() {
            return Ok(());
        }
        self.renamed = match documents.renamed_since(self.cursor, MAX_ROWS).await {
            Err(store::Error::Unlisted) => return Ok(()),
            renamed => renamed?,
        };
        self.submitted = 0;
        if !self.has_names() {
            self.cursor = self.renamed.next;
        }
        Ok(())
    }

    /// Reads the next write, of at most `limit` documents, which the caller submits.
    pub(super) async fn read(
        &mut self,
        documents: &Reader,
        limit: usize,
    ) -> Result<BackfillWrite, store::Error> {
        let limit = self.documents.min(limit).max(1);
        if self.is_queued && (self.takes_queue || !self.has_names()) {
            self.takes_queue = false;
            let queued = documents.reindex_queue(limit as u32).await?;
            self.is_queued = !queued.entries.is_empty();
            return Ok(BackfillWrite {
                documents: queued.documents,
                entries: queued.entries,
                checkpoint: queued.checkpoint,
            });
        }
        self.takes_queue = true;
        let rows = self.renamed.orders[self.submitted..].iter().take(limit);
        let rows: Vec<Row> = rows.map(|(_, row)| *row).collect();
        let page = documents.documents_page(&rows).await?;
        self.submitted += page.covered;
        self.cursor = self.renamed.cursor(self.submitted);
        Ok(BackfillWrite {
            documents: page.documents,
            entries: Vec::new(),
            checkpoint: page.checkpoint,
        })
    }

    /// Records that a write has been submitted.
    pub(super) fn began(&mut self) {
        self.is_busy = true;
    }

    /// Records that a write has been applied after this time. Sizes the next one by it.
    pub(super) fn applied(&mut self, documents: usize, took: Duration) {
        self.is_busy = false;
        self.due = Instant::now() + took * (PARTS_OF_TIME - 1);
        self.least = self.least.min(took);
        let limit = WRITE_TIME.max(self.least * 3 / 2);
        let is_full = documents >= self.documents;
        if took > limit {
            self.documents = (self.documents / 2).max(MIN_DOCUMENTS);
        } else if is_full && took < limit * 3 / 4 {
            self.documents = self.documents * 3 / 2;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_index_that_brings_the_queue_reads_it_once_more_after_a_refusal() {
        let mut backfill = Backfill::new(ChangeCursor::at(7));
        backfill.restart(ChangeCursor::at(7));
        assert!(!backfill.is_ready());
        backfill.queued();
        backfill.is_queued = false;
        backfill.restart(ChangeCursor::at(7));
        assert!(backfill.is_ready());
    }
}
