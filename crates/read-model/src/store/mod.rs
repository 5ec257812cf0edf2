//! Order documents, names and statistics in one SQLite file, with the position of the log up to
//! which they are made.
//!
//! The one [`Writer`] applies events in batches: everything a batch changes, and the position,
//! commit in one transaction. Any number of [`Reader`]s answer meanwhile, each answer from one
//! snapshot, which says its position.

mod batch;
mod changes;
mod comparison;
mod filter;
mod list;
mod parked;
mod reader;
mod script;
mod statistics;
mod succession;
mod writer;

pub use changes::{ChangeCursor, Changes};
pub use comparison::{Comparison, Difference, Gone};
pub use list::Listing;
pub use parked::{Again, Parked, Projection};
pub use reader::Reader;
use sqlite::Durability;
use sqlx::{SqliteConnection, migrate::Migrator};
pub use succession::Totals;
pub use writer::Writer;

static MIGRATIONS: Migrator = sqlx::migrate!("../../migrations/read_model");

/// The documents can be made again from the log, so a commit need not wait for the disk; and a
/// page that many batches touch is worth moving to the main file once for all of them.
const DURABILITY: Durability = Durability {
    every_commit: false,
    checkpoint_pages: 20_000,
};

/// Why the store did not do it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be opened.
    #[error(transparent)]
    File(#[from] sqlite::Error),
    /// SQLite failed.
    #[error("the read model's file: {0}")]
    Sqlite(#[from] sqlx::Error),
    /// The documents were made from another log.
    #[error("the read model was made from log {actual}, not {given}")]
    LogMismatch {
        /// The log of the events given.
        given: String,
        /// The log of the documents.
        actual: String,
    },
    /// The events do not begin right after the checkpoint, or one between them is missing.
    #[error("event {expected} of the log is missing: the next one given is {given}")]
    Gap {
        /// The position that has to come next.
        expected: u64,
        /// The position that comes instead.
        given: u64,
    },
    /// Documents that are to replace others count or sum up otherwise.
    #[error("the generations differ: there are {0}")]
    Differs(String),
    /// The files of the documents cannot be put in their places.
    #[error("the read model's files: {0}")]
    Files(#[from] std::io::Error),
    /// A stored document cannot be decoded.
    #[error("the document in row {row} is damaged: {error}")]
    Damaged {
        /// The document's row.
        row: u64,
        /// What is wrong.
        #[source]
        error: prost::DecodeError,
    },
    /// A sum of amounts is beyond what the contract's money can express.
    #[error("a sum in {0} does not fit")]
    TooLarge(String),
    /// The writer is gone, so that the position waited for never comes.
    #[error("the read model's writer has stopped")]
    Stopped,
}

impl From<&Error> for wire::Error {
    /// Logs the error. The client learns only that the read model failed.
    fn from(error: &Error) -> Self {
        tracing::error!(%error, "the read model failed");
        Self::StoreUnavailable
    }
}

/// Up to where documents are made, and of what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The log whose events they are made of.
    pub log_id: String,
    /// The log position up to which they are made.
    pub position: u64,
    /// Which build of the documents this is.
    pub generation: u64,
    /// Which version of the projection made them.
    pub schema: u32,
}

async fn checkpoint(connection: &mut SqliteConnection) -> Result<Option<Checkpoint>, Error> {
    let row: Option<(String, i64, i64, u32)> =
        sqlx::query_as("SELECT log_id, position, generation, schema FROM checkpoint")
            .fetch_optional(connection)
            .await?;
    Ok(
        row.map(|(log_id, position, generation, schema)| Checkpoint {
            log_id,
            position: position.cast_unsigned(),
            generation: generation.cast_unsigned(),
            schema,
        }),
    )
}

/// A list as one bound parameter, for `IN (SELECT value FROM json_each(?))`.
fn json<T: serde::Serialize>(list: &[T]) -> Result<String, Error> {
    serde_json::to_string(list).map_err(|error| Error::Sqlite(sqlx::Error::Encode(Box::new(error))))
}

#[cfg(test)]
mod tests;
