//! The failures of a copy, an export or a restore.

use std::{io, path::PathBuf};

use crate::{Location, Position};

/// The reason why a copy, an export or a restore fails.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A store cannot be used.
    #[error(transparent)]
    Store(#[from] crate::Error),
    /// The source has no log.
    #[error("there is no log in {0}")]
    NoLog(Location),
    /// The source is an unfinished copy.
    #[error("the log in {0} is an unfinished copy itself")]
    NotWhole(Location),
    /// A node or another copy uses the database.
    #[error("{0} is in use: stop the nodes that run on it first")]
    InUse(Location),
    /// Source and target are the same file.
    #[error("a log is not copied onto itself")]
    SameFile,
    /// The target holds another log.
    #[error("{0} is not empty, and holds another log")]
    OtherLog(Location),
    /// The target of a restore holds a whole log.
    #[error("there is a log in {location} already: it is {log_id}")]
    Occupied {
        /// The target.
        location: Location,
        /// The id of the log in the target.
        log_id: String,
    },
    /// The file to export to exists.
    #[error("{0} is there already")]
    FileExists(PathBuf),
    /// The file to export to cannot be written.
    #[error("{0} cannot be written: {1}")]
    Unwritable(PathBuf, #[source] io::Error),
    /// The target has more events than the source.
    #[error(
        "{location} is ahead of the source: it ends at {target_head}, the source at {source_head}"
    )]
    Ahead {
        /// The target.
        location: Location,
        /// The position of the target's newest event.
        target_head: Position,
        /// The position of the source's newest event.
        source_head: Position,
    },
    /// The target's newest event differs from the source's event at the same position.
    #[error("{location} is no copy: its event {position} differs from the source's")]
    Diverged {
        /// The target.
        location: Location,
        /// The position of the event that differs.
        position: Position,
    },
    /// The source has changed during the copy.
    #[error("the source has changed during the copy: run the command again")]
    SourceChanged,
    /// Source and target differ after the copy.
    #[error("the copy differs from its source in {0}")]
    Different(String),
}

impl Error {
    pub(super) fn of_request(id: &str) -> Self {
        Self::Different(format!("request id {id:?}"))
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}
