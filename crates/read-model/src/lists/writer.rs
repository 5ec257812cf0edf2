//! The only writer of the index: publishes a snapshot for each batch, and brings changes to the
//! index in the background.

use std::{collections::HashMap, fmt, fs, path::Path, sync::Arc};

use serde::{Deserialize, Serialize};
use tantivy::{IndexWriter, TantivyError};
use tokio::{sync::watch, task::JoinHandle};

use super::{
    Entry,
    index::ListIndex,
    snapshot::{Change, Snapshot, View},
};
use crate::Row;

/// Brings the changes to the index once they have this weight.
const FLUSH_AT: usize = 16_384;

/// Maximum weight of the changes in memory, of some 300 bytes each; a batch may exceed it. The writer
/// then waits for the index.
const MAX_PENDING: usize = 65_536;

/// The state of the documents that a commit of the index shows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct State {
    pub(crate) log_id: String,
    pub(crate) position: u64,
    /// How often an order has changed without a new event.
    pub(crate) retries: u64,
}

/// Writes the index of lists in a folder that only it uses.
pub(crate) struct Writer {
    index: Arc<ListIndex>,
    /// `None` while changes are brought to the index, and after a failure.
    writer: Option<IndexWriter>,
    committed: State,
    newest: State,
    flush: Option<Flush>,
    published: watch::Sender<Arc<Snapshot>>,
    flush_at: usize,
    /// The weight of the changes with which the next flush begins.
    next_flush_at: usize,
    /// Whether the index may have changes that the newest published commit does not show, after a
    /// failure behind a commit.
    may_have_more: bool,
}

/// A commit under way.
struct Flush {
    /// The number of changes that it covers.
    covered: usize,
    state: State,
    task: JoinHandle<tantivy::Result<IndexWriter>>,
}

impl Writer {
    /// Opens the index in a folder, or creates it. An unusable one is emptied. Blocks.
    ///
    /// # Errors
    /// The folder cannot be read or written, or another writer has it.
    pub(crate) fn open(folder: &Path) -> tantivy::Result<Self> {
        fs::create_dir_all(folder)?;
        let (index, committed) = ListIndex::open(folder).or_else(|error| {
            if matches!(error, TantivyError::LockFailure(..)) {
                return Err(error);
            }
            tracing::warn!(folder = %folder.display(), %error, "the index of lists is made again");
            fs::remove_dir_all(folder)?;
            fs::create_dir_all(folder)?;
            ListIndex::open(folder)
        })?;
        let snapshot = Snapshot::new(index.fields, index.reader.searcher(), &committed);
        Ok(Self {
            index: Arc::new(index),
            writer: None,
            newest: committed.clone(),
            committed,
            flush: None,
            published: watch::Sender::new(Arc::new(snapshot)),
            flush_at: FLUSH_AT,
            next_flush_at: FLUSH_AT,
            may_have_more: false,
        })
    }

    /// Returns a receiver of the newest snapshot.
    pub(crate) fn subscribe(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.published.subscribe()
    }

    /// Returns the newest lists.
    pub(crate) fn view(&self) -> Option<View> {
        let newest = Arc::clone(&self.published.borrow());
        let position = newest.position;
        newest.at(position)
    }

    /// Returns the state of the newest commit.
    pub(crate) fn committed(&self) -> &State {
        &self.committed
    }

    /// Returns the state that the newest snapshot shows.
    pub(crate) fn newest(&self) -> &State {
        &self.newest
    }

    /// Brings changes to the index more often.
    #[cfg(test)]
    pub(crate) fn flush_at(&mut self, changes: usize) {
        (self.flush_at, self.next_flush_at) = (changes, changes);
    }

    /// Waits until there is room for more changes.
    ///
    /// # Errors
    /// The index cannot be written, and too many changes wait for it.
    pub(crate) async fn make_room(&mut self) -> tantivy::Result<()> {
        let is_finished = |flush: &Flush| flush.task.is_finished();
        if self.flush.as_ref().is_some_and(is_finished)
            && let Err(error) = self.finish_flush().await
        {
            // The changes stay in memory, and the next flush brings them.
            tracing::error!(%error, "the index of lists cannot be written");
        }
        while self.pending() >= MAX_PENDING.min(self.flush_at.saturating_mul(4)) {
            self.flush().await?;
        }
        Ok(())
    }

    /// Publishes changes, which lead to `state`. Begins to bring all changes to the index if there
    /// are many.
    pub(crate) fn publish(&mut self, changes: Vec<Change>, state: State) {
        let next = self.published.borrow().with(changes, &state);
        self.published.send_replace(Arc::new(next));
        self.newest = state;
        if self.pending() >= self.next_flush_at {
            self.start_flush();
        }
    }

    /// Brings all changes to the index.
    ///
    /// # Errors
    /// The index cannot be written. The changes stay in memory.
    pub(crate) async fn flush(&mut self) -> tantivy::Result<()> {
        self.finish_flush().await?;
        if self.newest != self.committed {
            self.start_flush();
            self.finish_flush().await?;
        }
        Ok(())
    }

    fn pending(&self) -> usize {
        self.published.borrow().pending()
    }

    fn start_flush(&mut self) {
        if self.flush.is_some() {
            return;
        }
        let (index, writer) = (Arc::clone(&self.index), self.writer.take());
        let snapshot = Arc::clone(&self.published.borrow());
        let (covered, state) = (snapshot.changes().count(), self.newest.clone());
        let may_have_more = self.may_have_more;
        let committed = state.clone();
        let task = tokio::task::spawn_blocking(move || {
            let writer = writer.map_or_else(|| index.writer(), Ok)?;
            // Whether the index has an order is what the first change of it says.
            let mut orders = HashMap::<Row, (bool, &Entry)>::new();
            for change in snapshot.changes() {
                let is_old = may_have_more || change.old.is_some();
                let order = orders.entry(change.new.row);
                order.or_insert((is_old, &change.new)).1 = &change.new;
            }
            for (row, (is_old, entry)) in orders {
                if is_old {
                    writer.delete_term(index.fields.key(row));
                }
                writer.add_document(index.fields.document(entry))?;
            }
            index.commit(writer, &committed)
        });
        self.flush = Some(Flush {
            covered,
            state,
            task,
        });
    }

    /// Waits for the commit under way, if any, and publishes it.
    async fn finish_flush(&mut self) -> tantivy::Result<()> {
        let Some(flush) = &mut self.flush else {
            return Ok(());
        };
        let done = (&mut flush.task).await;
        let Some(flush) = self.flush.take() else {
            return Ok(());
        };
        self.finish(flush, done.map_err(panicked).flatten())
    }

    /// Publishes a commit, or remembers that it may be there although it failed.
    fn finish(&mut self, flush: Flush, done: tantivy::Result<IndexWriter>) -> tantivy::Result<()> {
        self.may_have_more = done.is_err();
        self.next_flush_at = self.flush_at;
        if done.is_err() {
            self.next_flush_at += self.pending();
        }
        self.writer = Some(done?);
        let searcher = self.index.reader.searcher();
        let next = self
            .published
            .borrow()
            .on(searcher, &flush.state, flush.covered);
        self.published.send_replace(Arc::new(next));
        self.committed = flush.state;
        Ok(())
    }

    /// Commits, and then fails before the commit is published.
    #[cfg(test)]
    pub(crate) async fn lose_a_commit(&mut self) {
        self.finish_flush().await.unwrap();
        self.start_flush();
        let mut flush = self.flush.take().unwrap();
        drop((&mut flush.task).await.unwrap().unwrap());
        let lost = TantivyError::SystemError("lost".into());
        self.finish(flush, Err(lost)).unwrap_err();
    }

    /// Drops the published changes, so that [`Writer::write`] can bring all that the documents have
    /// past the newest commit. Unless it `is_complete`, the index then has to be filled, from
    /// [`Writer::clear`] to [`Writer::commit`].
    pub(crate) async fn rewind(&mut self, is_complete: bool) {
        if let Err(error) = self.finish_flush().await {
            tracing::error!(%error, "the index of lists cannot be written");
        }
        // A writer that is dropped takes its uncommitted changes with it.
        self.writer = None;
        self.newest = self.committed.clone();
        self.publish_commit(is_complete);
    }

    /// Empties the index, to fill it.
    ///
    /// # Errors
    /// The index cannot be written.
    pub(crate) async fn clear(&mut self) -> tantivy::Result<()> {
        self.rewind(false).await;
        self.with_writer(|index, writer| {
            writer.delete_all_documents()?;
            index.commit(writer, &State::default())
        })
        .await?;
        self.committed = State::default();
        self.newest = State::default();
        self.publish_commit(false);
        Ok(())
    }

    /// Writes the present entries of orders, without a commit. The index may have older entries of them
    /// if they `are_listed`.
    ///
    /// # Errors
    /// The index cannot be written.
    pub(crate) async fn write(
        &mut self,
        entries: Vec<Entry>,
        are_listed: bool,
    ) -> tantivy::Result<()> {
        self.with_writer(move |index, writer| {
            for entry in &entries {
                if are_listed {
                    writer.delete_term(index.fields.key(entry.row));
                }
                writer.add_document(index.fields.document(entry))?;
            }
            Ok(writer)
        })
        .await
    }

    /// Commits what [`Writer::write`] has written: the index then shows `state`.
    ///
    /// # Errors
    /// The index cannot be written.
    pub(crate) async fn commit(&mut self, state: State) -> tantivy::Result<()> {
        let committed = state.clone();
        self.with_writer(move |index, writer| index.commit(writer, &committed))
            .await?;
        self.newest = state.clone();
        self.committed = state;
        self.publish_commit(true);
        Ok(())
    }

    fn publish_commit(&self, is_complete: bool) {
        let searcher = self.index.reader.searcher();
        let mut snapshot = Snapshot::new(self.index.fields, searcher, &self.committed);
        snapshot.is_complete = is_complete;
        self.published.send_replace(Arc::new(snapshot));
    }

    /// Runs `work` with the writer on a blocking thread.
    async fn with_writer(
        &mut self,
        work: impl FnOnce(&ListIndex, IndexWriter) -> tantivy::Result<IndexWriter> + Send + 'static,
    ) -> tantivy::Result<()> {
        let (index, writer) = (Arc::clone(&self.index), self.writer.take());
        let worked = tokio::task::spawn_blocking(move || {
            let writer = writer.map_or_else(|| index.writer(), Ok)?;
            work(&index, writer)
        });
        self.writer = Some(worked.await.map_err(panicked)??);
        Ok(())
    }

    /// Brings all changes to the index, and waits for its merges.
    ///
    /// # Errors
    /// The index cannot be written. The documents bring the changes once more when they are opened.
    pub(crate) async fn close(mut self) -> tantivy::Result<()> {
        self.flush().await?;
        let Some(writer) = self.writer else {
            return Ok(());
        };
        let merged = tokio::task::spawn_blocking(move || writer.wait_merging_threads());
        merged.await.map_err(panicked)?
    }
}

fn panicked(error: tokio::task::JoinError) -> TantivyError {
    TantivyError::ErrorInThread(error.to_string())
}

impl fmt::Debug for Writer {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut writer = to.debug_struct("Writer");
        writer.field("committed", &self.committed);
        writer.field("newest", &self.newest).finish_non_exhaustive()
    }
}
