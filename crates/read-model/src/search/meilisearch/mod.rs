//! Meilisearch as the search engine.
//!
//! One index, by default `orders`, holds the orders and one document with the checkpoint. Meilisearch
//! applies a task completely or not at all, so documents and checkpoint share a task. A second index,
//! `orders-beside`, is the next or the previous generation. One task swaps the two.
//!
//! The name of an index's primary key names the log that owns the index. Meilisearch never changes
//! the primary key of an index with documents, and each write names the key. So the server rejects
//! the writes of every other log, whatever happened to the index since the writer looked at it.
//!
//! The checkpoint also ensures a single writer. A process that claims the index raises its epoch,
//! and a process that finds a newer epoch than its own stops. Tasks of the old writer may still run
//! between tasks of the new one. The new writer detects them, and rewrites from where it began.

mod document;
mod engine;
mod hits;
mod http;
mod index;
mod live;
mod ownership;
mod query;
#[cfg(test)]
mod real_meilisearch;
mod settings;
mod stored;
mod tasks;

pub use index::MeilisearchIndex;
use meilisearch_sdk::errors::{Error as SdkError, ErrorCode};

use super::Error;

/// The error after a foreign task, on which the caller claims the index once more.
const INTERFERENCE_MESSAGE: &str = "another process has written to the index";

/// Turns a missing index or document into `None`.
fn found<T>(answer: Result<T, SdkError>) -> Result<Option<T>, Error> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(SdkError::Meilisearch(error))
            if matches!(
                error.error_code,
                ErrorCode::IndexNotFound | ErrorCode::DocumentNotFound
            ) =>
        {
            Ok(None)
        }
        Err(error) => Err(failed(error)),
    }
}

fn failed(error: SdkError) -> Error {
    Error::failed(error)
}
