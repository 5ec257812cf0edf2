//! The tantivy index of the lists, in its folder.

use std::path::Path;

use tantivy::{
    Index, IndexReader, IndexSettings, IndexWriter, ReloadPolicy, TantivyError,
    directory::{Directory as _, INDEX_WRITER_LOCK},
    indexer::IndexWriterOptions,
};

use super::{schema::Fields, writer::State};
use crate::{
    merges::BoundedMerges,
    search::embedded::directory::{self, UnsyncedDirectory},
};

/// Bounds the memory in which the writer gathers a segment, in bytes.
const WRITER_MEMORY_BYTES: usize = 40_000_000;

/// Segments of up to so many orders are merged as if they were of the same size.
const SMALL_SEGMENT: u32 = 10_000;

/// The index, of which there is one writer at a time.
pub(super) struct ListIndex {
    pub(super) fields: Fields,
    index: Index,
    pub(super) reader: IndexReader,
}

impl ListIndex {
    pub(super) fn open(folder: &Path) -> tantivy::Result<(Self, State)> {
        let directory = UnsyncedDirectory::open(folder)?;
        // The files of a commit under way must not pass for those of a killed process.
        drop(directory.acquire_lock(&INDEX_WRITER_LOCK)?);
        let (fields, schema) = Fields::new();
        let index = Index::builder()
            .schema(schema)
            .settings(IndexSettings {
                // The index stores no documents, so this thread would only start and end.
                docstore_compress_dedicated_thread: false,
                ..IndexSettings::default()
            })
            .open_or_create(directory)?;
        directory::check(folder, &index)?;
        let payload = index.load_metas()?.payload;
        let state = payload.map_or_else(|| Ok(State::default()), |text| decode(&text))?;
        let reader = index
            .reader_builder()
            .reload_policy(ReloadPolicy::Manual)
            .try_into()?;
        let opened = Self {
            fields,
            index,
            reader,
        };
        Ok((opened, state))
    }

    pub(super) fn writer(&self) -> tantivy::Result<IndexWriter> {
        let options = IndexWriterOptions::builder()
            .num_worker_threads(1)
            .num_merge_threads(1)
            .memory_budget_per_thread(WRITER_MEMORY_BYTES)
            .build();
        let writer = self.index.writer_with_options(options)?;
        writer.set_merge_policy(Box::new(BoundedMerges::new(SMALL_SEGMENT)));
        Ok(writer)
    }

    /// Commits, and reloads the reader.
    pub(super) fn commit(
        &self,
        mut writer: IndexWriter,
        state: &State,
    ) -> tantivy::Result<IndexWriter> {
        let payload = serde_json::to_string(state);
        let payload = payload.map_err(|error| TantivyError::InternalError(error.to_string()))?;
        let mut commit = writer.prepare_commit()?;
        commit.set_payload(&payload);
        commit.commit()?;
        self.reader.reload()?;
        Ok(writer)
    }
}

fn decode(payload: &str) -> tantivy::Result<State> {
    serde_json::from_str(payload).map_err(|error| {
        TantivyError::InternalError(format!("the commit's payload is no state: {error}"))
    })
}
