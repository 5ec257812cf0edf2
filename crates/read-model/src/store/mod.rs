//! Order documents, names, statistics and their checkpoint in one SQLite file, with the index of
//! lists in a folder beside it.
//!
//! The only [`Writer`] applies events in batches. One transaction commits all changes of a batch
//! together with the checkpoint. Any number of [`Reader`]s answer at the same time, each answer
//! from one snapshot and with its position.

mod batch;
mod changes;
mod comparison;
mod contents;
mod list;
mod list_index;
mod new_names;
mod numbers;
mod page;
mod parked;
mod reader;
mod rebuild;
mod script;
mod snapshot;
mod statistics;
mod writer;

pub use changes::{ChangeCursor, Changes, Renamed};
pub use comparison::Difference;
pub use contents::{Contents, StatisticsLine, StoredRow};
pub use list::Listing;
pub use page::MAX_PAGE_BYTES;
pub use parked::{Parked, Projection, ReindexBatch, ReindexEntry};
pub use reader::{DocumentsPage, Found, FoundOrder, Reader};
pub use rebuild::TotalsCheck;
use sqlx::{SqliteConnection, migrate::Migrator, sqlite::SqliteSynchronous};
pub use statistics::DayPage;
pub use writer::Writer;

use tantivy::TantivyError;
use uuid::Uuid;
use wire::ResumeToken;

use crate::Row;

static MIGRATIONS: Migrator = sqlx::migrate!("../../migrations/read_model");

/// Commits without a sync, because the log can rebuild the documents.
const SYNCHRONOUS: SqliteSynchronous = SqliteSynchronous::Normal;

/// A reason why the store failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be opened.
    #[error(transparent)]
    File(#[from] sqlite::Error),
    /// SQLite failed to read or write the file.
    #[error("the read model's file: {0}")]
    Sqlite(#[from] sqlx::Error),
    /// Another log made the documents.
    #[error("the read model was made from log {actual}, not {given}")]
    LogMismatch {
        /// The log of the given events.
        given: String,
        /// The log of the documents.
        actual: String,
    },
    /// The events do not continue at the checkpoint without a gap, or the two generations of a
    /// switch are at different positions.
    #[error("event {expected} of the log is missing: the next one given is {given}")]
    Gap {
        /// The position that must come next.
        expected: u64,
        /// The position that was given instead.
        given: u64,
    },
    /// The two generations of a switch are made from different histories of the log.
    #[error("the log went back, so that the generations are of different histories")]
    Diverged,
    /// The counts or sums of the next generation differ from those of the live one.
    #[error("the generations differ: there are {0}")]
    Differs(String),
    /// The files of the generations cannot be synced or switched.
    #[error("the read model's files: {0}")]
    Files(#[from] std::io::Error),
    /// The index of lists cannot be read or written.
    #[error("the index of lists: {0}")]
    Lists(#[from] TantivyError),
    /// The index of lists is being filled, after a power cut or for a new version.
    #[error("the index of lists is being filled")]
    Unlisted,
    /// A stored document cannot be decoded.
    #[error("the document in row {row} is damaged: {error}")]
    Damaged {
        /// The document's row.
        row: Row,
        /// The decoder's error.
        #[source]
        error: prost::DecodeError,
    },
    /// The writer is gone, so the awaited position never comes.
    #[error("the read model's writer has stopped")]
    Stopped,
}

impl From<&Error> for wire::Error {
    /// Logs the error. The client learns only that the read model failed.
    fn from(error: &Error) -> Self {
        if let Error::Unlisted = error {
            return Self::ListsUnavailable;
        }
        tracing::error!(%error, "the read model failed");
        Self::StoreUnavailable
    }
}

/// The state of the documents in terms of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The log whose events made the documents.
    pub log_id: String,
    /// The log position up to which events are applied.
    pub position: u64,
    /// The id of the event at `position`. Empty if it is unknown.
    pub event_id: String,
    /// The name of the history that the documents are made from. Documents that start over, because
    /// the log went back, have another one.
    pub history: String,
    /// The generation of the documents.
    pub generation: u64,
    /// The version of the projection that made the documents.
    pub schema: u32,
    /// How often an order has changed without a new event: events that waited were projected.
    pub retries: u64,
}

impl Checkpoint {
    /// Returns the token with which a stream of events goes on after the checkpoint. `None` if the id
    /// of the event is unknown.
    #[must_use]
    pub fn token(&self) -> Option<ResumeToken> {
        token(&self.log_id, self.position, &self.event_id)
    }
}

/// Returns the token of a position with this event id. `None` if the id is unknown.
pub(crate) fn token(log_id: &str, position: u64, event_id: &str) -> Option<ResumeToken> {
    let event_id = match position {
        0 => Uuid::nil(),
        _ => event_id.parse().ok()?,
    };
    Some(ResumeToken {
        log_id: log_id.to_owned(),
        position,
        event_id,
    })
}

async fn checkpoint(connection: &mut SqliteConnection) -> Result<Option<Checkpoint>, Error> {
    let row: Option<(String, i64, String, String, i64, u32, i64)> = sqlx::query_as(
        "SELECT log_id, position, event_id, history, generation, schema, retries FROM checkpoint",
    )
    .fetch_optional(connection)
    .await?;
    let checkpoint = |(log_id, position, event_id, history, generation, schema, retries): (
        _,
        i64,
        _,
        _,
        i64,
        _,
        i64,
    )| Checkpoint {
        log_id,
        position: position.cast_unsigned(),
        event_id,
        history,
        generation: generation.cast_unsigned(),
        schema,
        retries: retries.cast_unsigned(),
    };
    Ok(row.map(checkpoint))
}

/// Encodes a list as one bound parameter, for `IN (SELECT value FROM json_each(?))`.
fn json<T: serde::Serialize>(list: &[T]) -> Result<String, Error> {
    serde_json::to_string(list).map_err(|error| Error::Sqlite(sqlx::Error::Encode(Box::new(error))))
}

#[cfg(test)]
mod tests;
