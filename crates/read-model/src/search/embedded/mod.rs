//! The embedded search engine: a tantivy index in its own folder.
//!
//! A commit of the index includes the checkpoint, so documents and checkpoint change together even
//! if the process crashes. Each search answers from the state of the last commit (`snapshot`):
//!
//! - `schema` has the fields, whose texts the `analyzer` splits into terms.
//! - `text` and `filter` say what a request asks of orders, in `clauses`.
//! - `sources` is what leads to the orders of a segment that meet a clause: terms (`terms`), columns
//!   and queries of tantivy.
//! - `scan` brings the matches of a segment, window by window, to the `page` and the `facets`.
//!
//! `inspection` compares all that leads to an order with its document.

mod analyzer;
mod clauses;
mod column_inspection;
mod digest;
pub(crate) mod directory;
mod facets;
mod filter;
mod found_by;
mod inspection;
#[cfg(test)]
mod inspection_tests;
mod live;
#[cfg(test)]
mod model_tests;
mod page;
mod payload;
mod scan;
mod schema;
mod snapshot;
mod sources;
mod stop;
mod terms;
#[cfg(test)]
mod tests;
mod text;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{fmt, fs, io, thread};

use futures_util::FutureExt as _;
use tantivy::directory::{Directory, INDEX_WRITER_LOCK};
use tantivy::indexer::IndexWriterOptions;
use tantivy::tokenizer::TokenizerManager;
use tantivy::{IndexReader, IndexSettings, IndexWriter, ReloadPolicy, TantivyError};
use tokio::sync::{Mutex, OwnedMutexGuard, Semaphore, mpsc, watch};
use tokio::time::timeout;

use self::analyzer::{Analyzer, ID_ANALYZER, TEXT_ANALYZER};
use self::directory::UnsyncedDirectory;
pub use self::live::EmbeddedIndex;
use self::schema::Fields;
use self::snapshot::IndexSnapshot;
use self::stop::Stop;
use super::{
    Applied, Claimed, Document, Engine, Error, Hits, IndexCheckpoint, IndexDifference,
    SearchRequest, WriteLimits, WronglyFound,
};
use crate::{Row, merges::BoundedMerges, store::Reader};

/// Bounds the memory in which the writer gathers a segment, in bytes. A write of orders of usual size
/// fits, so that it makes one segment: each one more is merged once more.
const WRITER_MEMORY_BYTES: usize = 40_000_000;

/// Merges smaller segments as if each had this many documents.
const MIN_SEGMENT_DOCUMENTS: u32 = 1_000;

/// Bounds the work of a search, which then answers from what it has found. The bound is that of a
/// search with Meilisearch.
const SEARCH_CUTOFF: Duration = Duration::from_millis(900);

/// A search index in a folder.
#[derive(Clone)]
pub struct TantivyIndex {
    state: Arc<State>,
    /// The permits to search: one for each processor.
    search_permits: Arc<Semaphore>,
}

struct State {
    fields: Fields,
    index: tantivy::Index,
    reader: IndexReader,
    writer: Arc<Mutex<WriterSlot>>,
    newest: watch::Sender<Arc<IndexSnapshot>>,
}

/// The slot of the writer. A write takes the writer out and returns it on success. A writer that
/// failed is dropped together with its uncommitted changes.
enum WriterSlot {
    Ready(Box<IndexWriter>),
    Taken,
    /// The index accepts no more writes.
    Closed,
}

impl TantivyIndex {
    /// Opens the index in a folder, which only this index uses, or creates it. Blocks.
    ///
    /// The log can refill the index. If the content is damaged or of another version, the whole
    /// folder is therefore emptied.
    ///
    /// # Errors
    ///
    /// [`Error::Failed`]: the folder cannot be read or written, or the index is open already.
    pub fn open(folder: &Path) -> Result<Self, Error> {
        fs::create_dir_all(folder).map_err(TantivyError::from)?;
        let state = State::open(folder).or_else(|error| {
            if matches!(error, TantivyError::LockFailure(..)) {
                return Err(error);
            }
            tracing::warn!(folder = %folder.display(), %error, "search index unusable: emptied");
            remove_content(folder)?;
            State::open(folder)
        })?;
        let search_permits = thread::available_parallelism().map_or(1, usize::from);
        Ok(Self {
            state: Arc::new(state),
            search_permits: Arc::new(Semaphore::new(search_permits)),
        })
    }

    /// Stops writes and merges, so that the folder can be removed. Searches continue.
    async fn close(&self) -> Result<(), Error> {
        self.blocking(|state| {
            let mut slot = state.writer.blocking_lock();
            if let WriterSlot::Ready(writer) = std::mem::replace(&mut *slot, WriterSlot::Closed) {
                // Unmerged segments are valid as they are.
                let _ = writer.wait_merging_threads();
            }
            Ok(())
        })
        .await
    }

    /// Runs `work` on a blocking thread. A caller that drops the future does not interrupt the
    /// work.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&State) -> tantivy::Result<T> + Send + 'static,
    ) -> Result<T, Error> {
        let state = Arc::clone(&self.state);
        match tokio::task::spawn_blocking(move || work(&state)).await {
            Ok(result) => Ok(result?),
            Err(panic) => Err(Error::failed(panic)),
        }
    }
}

fn remove_content(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

impl State {
    fn open(folder: &Path) -> tantivy::Result<Self> {
        let directory = UnsyncedDirectory::open(folder)?;
        // The lock comes first: the unfinished files of another process must not pass for damaged
        // ones.
        drop(directory.acquire_lock(&INDEX_WRITER_LOCK)?);
        let (fields, schema) = Fields::new();
        let tokenizers = TokenizerManager::default();
        tokenizers.register(TEXT_ANALYZER, Analyzer::Text);
        tokenizers.register(ID_ANALYZER, Analyzer::Id);
        let mut index = tantivy::Index::builder()
            .schema(schema)
            .tokenizers(tokenizers.clone())
            .settings(IndexSettings {
                // The index stores no documents, so this thread would only start and end.
                docstore_compress_dedicated_thread: false,
                ..IndexSettings::default()
            })
            .open_or_create(directory)?;
        // An index that exists already would not get them from the builder.
        index.set_fast_field_tokenizers(tokenizers);
        directory::check(folder, &index)?;
        let reader = index
            .reader_builder()
            .reload_policy(ReloadPolicy::Manual)
            .try_into()?;
        Ok(Self {
            fields,
            writer: Arc::new(Mutex::new(WriterSlot::Ready(Box::new(writer(&index)?)))),
            newest: watch::Sender::new(Arc::new(IndexSnapshot::take(&reader)?)),
            index,
            reader,
        })
    }

    fn newest(&self) -> Arc<IndexSnapshot> {
        Arc::clone(&self.newest.borrow())
    }

    /// Commits a change together with the checkpoint, and shows both to searches.
    fn commit(
        &self,
        mut slot: OwnedMutexGuard<WriterSlot>,
        checkpoint: Option<&IndexCheckpoint>,
        change: impl FnOnce(&IndexWriter) -> tantivy::Result<()>,
    ) -> tantivy::Result<()> {
        let mut writer = match std::mem::replace(&mut *slot, WriterSlot::Taken) {
            WriterSlot::Ready(writer) => writer,
            WriterSlot::Taken => Box::new(writer(&self.index)?),
            WriterSlot::Closed => {
                *slot = WriterSlot::Closed;
                return Err(TantivyError::SystemError("the index is closed".into()));
            }
        };
        change(&writer)?;
        let mut commit = writer.prepare_commit()?;
        if let Some(checkpoint) = checkpoint {
            commit.set_payload(&payload::encode(checkpoint)?);
        }
        commit.commit()?;
        *slot = WriterSlot::Ready(writer);
        let snapshot = IndexSnapshot::take(&self.reader)?;
        self.newest.send_replace(Arc::new(snapshot));
        Ok(())
    }

    fn replace(&self, writer: &IndexWriter, documents: &[Document]) -> tantivy::Result<()> {
        for document in documents {
            writer.delete_term(self.fields.key(document.row));
            writer.add_document(self.fields.document(document))?;
        }
        Ok(())
    }
}

fn writer(index: &tantivy::Index) -> tantivy::Result<IndexWriter> {
    let options = IndexWriterOptions::builder()
        .num_worker_threads(1)
        .num_merge_threads(1)
        .memory_budget_per_thread(WRITER_MEMORY_BYTES)
        .build();
    let writer = index.writer_with_options(options)?;
    writer.set_merge_policy(Box::new(BoundedMerges::new(MIN_SEGMENT_DOCUMENTS)));
    Ok(writer)
}

#[async_trait::async_trait]
impl Engine for TantivyIndex {
    fn name(&self) -> &'static str {
        "embedded"
    }

    async fn checkpoint(&self, _: &str) -> Result<Option<IndexCheckpoint>, Error> {
        Ok(self.state.newest().checkpoint.clone())
    }

    async fn claim(&self, log_id: &str) -> Result<Claimed, Error> {
        // Only this process uses the folder, and an index of another version is emptied on opening.
        Ok(Claimed {
            checkpoint: self.checkpoint(log_id).await?,
            outdated: false,
        })
    }

    async fn write(
        &self,
        documents: Vec<Document>,
        checkpoint: IndexCheckpoint,
    ) -> Result<Applied, Error> {
        // In the order of the calls. The caller reads the next documents meanwhile.
        let slot = Arc::clone(&self.state.writer).lock_owned().await;
        let state = Arc::clone(&self.state);
        let commit = tokio::task::spawn_blocking(move || {
            state.commit(slot, Some(&checkpoint), |writer| {
                state.replace(writer, &documents)
            })
        });
        let applied = async { Ok(commit.await.map_err(Error::failed)??) };
        Ok(applied.boxed())
    }

    fn write_limits(&self) -> WriteLimits {
        WriteLimits {
            documents: 10_000,
            first: 5_000,
            writes: 2,
        }
    }

    async fn clear(&self, _: &str) -> Result<(), Error> {
        let slot = Arc::clone(&self.state.writer).lock_owned().await;
        self.blocking(|state| {
            state.commit(slot, None, |writer| {
                writer.delete_all_documents().map(|_| ())
            })
        })
        .await
    }

    async fn search(&self, request: SearchRequest) -> Result<Hits, Error> {
        // Is dropped together with this future, which stops the search.
        let caller = Arc::new(());
        let caller_exists = Arc::downgrade(&caller);
        let limit = request.timeout;
        let search = async {
            // Each search occupies a processor, so more searches at once would only slow each other
            // down.
            let permit = Arc::clone(&self.search_permits).acquire_owned().await;
            let permit = permit.map_err(Error::failed)?;
            self.blocking(move |state| {
                // The search keeps its permit until it has stopped, even if the caller is gone.
                let _permit = permit;
                let stop = Stop::new(caller_exists, Instant::now() + SEARCH_CUTOFF);
                state.newest().search(&state.fields, request, stop)
            })
            .await
        };
        let found = timeout(limit, search).await;
        found.unwrap_or(Err(Error::TooSlow))
    }

    async fn compare(
        &self,
        first: Row,
        last: Row,
        documents: Vec<Document>,
    ) -> Result<Vec<IndexDifference>, Error> {
        self.blocking(move |state| {
            let indexed = state.newest().digests(&state.fields, first, last)?;
            Ok(digest::compare(indexed, &documents))
        })
        .await
    }

    async fn inspect(
        &self,
        documents: &Reader,
        found: mpsc::Sender<WronglyFound>,
    ) -> Result<(), Error> {
        self.inspect_newest(documents, &found).await
    }
}

impl fmt::Debug for TantivyIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TantivyIndex")
            .field(&self.state.index)
            .finish()
    }
}

impl From<TantivyError> for Error {
    fn from(error: TantivyError) -> Self {
        Self::failed(error)
    }
}
