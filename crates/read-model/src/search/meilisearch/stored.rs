//! The documents that a task writes.

use serde::{Deserialize, Serialize};

use super::document::Indexed;
use crate::search::{Error, IndexCheckpoint};

/// The checkpoint as the index holds it. Positions are text, because a double is exact only to
/// 2^53.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StoredCheckpoint {
    pub(super) id: String,
    pub(super) log_id: String,
    /// Older versions wrote neither this nor the event's id.
    #[serde(default)]
    pub(super) history: String,
    #[serde(default)]
    pub(super) event_id: String,
    pub(super) position: String,
    pub(super) answers: String,
    pub(super) generation: String,
    /// The epoch of the writer; the highest epoch owns the index.
    pub(super) epoch: u64,
    pub(super) owner: String,
    /// The schema of the documents.
    pub(super) schema: String,
    /// Whether the index is unfinished and has never been live.
    pub(super) unfinished: bool,
    /// The time at which the server created the index. Another index of the same name has another
    /// time.
    pub(super) created: String,
}

impl StoredCheckpoint {
    /// Returns the checkpoint; `None` while no batch has been written.
    pub(super) fn checkpoint(&self) -> Result<Option<IndexCheckpoint>, Error> {
        if self.log_id.is_empty() {
            return Ok(None);
        }
        let number = |text: &str| {
            text.parse()
                .map_err(|_| Error::failed(format!("{text:?} in the checkpoint is no number")))
        };
        Ok(Some(IndexCheckpoint {
            log_id: self.log_id.clone(),
            history: self.history.clone(),
            event_id: self.event_id.clone(),
            position: number(&self.position)?,
            answers: number(&self.answers)?,
            generation: number(&self.generation)?,
        }))
    }
}

/// A document that a task writes.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Entry {
    Order(Indexed),
    Checkpoint(StoredCheckpoint),
}

/// Returns the checkpoint of an empty index.
pub(super) fn empty_checkpoint() -> IndexCheckpoint {
    IndexCheckpoint {
        log_id: String::new(),
        history: String::new(),
        event_id: String::new(),
        position: 0,
        answers: 0,
        generation: 0,
    }
}
