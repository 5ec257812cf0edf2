//! The errors of a rebuild.

use read_model::{search, store};

use crate::{index_updater, verify};

/// Why a rebuild failed. The live generation stays in use.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Another rebuild of the same projection is in progress.
    #[error("a rebuild of it is under way")]
    UnderWay,
    /// There is no previous generation to roll back to.
    #[error("there is no previous generation of it")]
    NoPrevious,
    /// Another version of the projection made the previous generation.
    #[error("the previous generation of it is of another version")]
    Outdated,
    /// Another process writes the index.
    #[error("another node is the indexer of the search index")]
    NotIndexer,
    /// The documents are empty: they have no checkpoint yet.
    #[error("there is nothing to make it of yet")]
    Empty,
    /// Orders changed without a new event after the new index was compared with them.
    #[error("orders changed meanwhile by a retry or by a rebuild of the documents")]
    Revised,
    /// The new generation failed its check.
    #[error("the new generation is not right: {0}")]
    Wrong(String),
    /// The log could not be read.
    #[error("{0}")]
    Log(String),
    /// The documents could not be read or written.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The index could not be read or written.
    #[error(transparent)]
    Engine(#[from] search::Error),
    /// The caller cancelled the rebuild.
    #[error("cancelled")]
    Cancelled,
}

impl From<verify::Error> for Error {
    fn from(error: verify::Error) -> Self {
        match error {
            verify::Error::Store(error) => error.into(),
            error => Self::Log(error.to_string()),
        }
    }
}

impl From<index_updater::Error> for Error {
    fn from(error: index_updater::Error) -> Self {
        match error {
            index_updater::Error::Store(error) => error.into(),
            index_updater::Error::Engine(error) => error.into(),
            index_updater::Error::Revised => Self::Revised,
            error => Self::Log(error.to_string()),
        }
    }
}
