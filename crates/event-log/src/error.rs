//! The failures of a log.

use crate::{Position, postgres};

/// A failure of the log or of its store.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be opened.
    #[error(transparent)]
    File(#[from] ::sqlite::Error),
    /// The database cannot be opened.
    #[error(transparent)]
    Database(#[from] postgres::OpenError),
    /// The store does not answer, or rejects a statement.
    #[error("the event store failed: {0}")]
    Store(#[source] sqlx::Error),
    /// The log has another event at this position than the caller has seen, or none: it went back
    /// (guarantee G12).
    #[error("the log went back: event {position} is another one now, or missing")]
    Diverged {
        /// The position that the caller has seen.
        position: Position,
    },
    /// The server cancelled a statement because of its time limit, so nothing is changed.
    #[error("the event store cancelled a statement that took too long: {0}")]
    TimedOut(#[source] sqlx::Error),
    /// The log is the target of a copy or restore that has not finished.
    #[error(
        "the log is a copy that is not finished: run `orderlog copy` or `orderlog restore` again"
    )]
    NotWhole,
    /// The log already has a version or request id of the batch.
    #[error("the log has a version or request id of the batch already")]
    Conflict,
    /// The store lacks rows that it must have, or SQLite reports corruption.
    #[error("the event store is damaged: {0}")]
    Damaged(String),
    /// The program has no upcast for an event of this schema version.
    #[error(
        "event {position} has schema version {found} of {event_type}, which this program does not know"
    )]
    UnknownSchema {
        /// The event's position.
        position: Position,
        /// The event's type.
        event_type: String,
        /// The event's schema version.
        found: u32,
    },
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        match error.as_database_error() {
            Some(refused) if refused.is_unique_violation() => Self::Conflict,
            // A trigger of SQLite refuses the row before the unique constraint does.
            Some(refused) if sqlite_code(refused) == Some(CONSTRAINT_TRIGGER) => Self::Conflict,
            // One page is unreadable and the others are not, so the error is no outage. The low byte
            // of SQLite's codes is the primary code.
            Some(refused) if sqlite_code(refused).is_some_and(|code| code & 0xff == CORRUPT) => {
                Self::Damaged(error.to_string())
            }
            Some(refused) if is_cancelled(refused) => Self::TimedOut(error),
            _ => Self::Store(error),
        }
    }
}

/// Returns true for Postgres's code `query_canceled`, which a statement past its timeout gets.
fn is_cancelled(error: &dyn sqlx::error::DatabaseError) -> bool {
    const QUERY_CANCELED: &str = "57014";
    error.code().as_deref() == Some(QUERY_CANCELED)
}

/// SQLITE_CONSTRAINT_TRIGGER: a trigger raised an error.
const CONSTRAINT_TRIGGER: u32 = 1811;

/// SQLITE_CORRUPT.
const CORRUPT: u32 = 11;

/// Returns SQLite's extended code of an error of SQLite.
fn sqlite_code(error: &dyn sqlx::error::DatabaseError) -> Option<u32> {
    error.try_downcast_ref::<sqlx::sqlite::SqliteError>()?;
    error.code()?.parse().ok()
}
