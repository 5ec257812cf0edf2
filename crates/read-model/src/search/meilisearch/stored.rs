//! What a task writes.

use serde::{Deserialize, Serialize};

use super::document::Indexed;
use crate::search::{Checkpoint, Error};

/// The checkpoint as the index holds it. Positions are text, for a double would not hold them all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stored {
    pub(super) id: String,
    pub(super) log_id: String,
    pub(super) position: String,
    pub(super) answers: String,
    pub(super) generation: String,
    /// Who writes: the one with the highest epoch.
    pub(super) epoch: u64,
    pub(super) owner: String,
    /// Of which version the documents are.
    pub(super) schema: String,
    /// Whether it is being made, and never has been the one that answers.
    pub(super) unfinished: bool,
    /// When the server made the index: another one of the same name was not filled from here.
    pub(super) created: String,
}

impl Stored {
    /// `None` while nothing has been written.
    pub(super) fn checkpoint(&self) -> Result<Option<Checkpoint>, Error> {
        if self.log_id.is_empty() {
            return Ok(None);
        }
        let number = |text: &str| {
            text.parse()
                .map_err(|_| Error::failed(format!("{text:?} in the checkpoint is no number")))
        };
        Ok(Some(Checkpoint {
            log_id: self.log_id.clone(),
            position: number(&self.position)?,
            answers: number(&self.answers)?,
            generation: number(&self.generation)?,
        }))
    }
}

/// What a task writes.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Entry {
    Order(Indexed),
    Checkpoint(Stored),
}

/// The checkpoint of an index that has none.
pub(super) fn nothing() -> Checkpoint {
    Checkpoint {
        log_id: String::new(),
        position: 0,
        answers: 0,
        generation: 0,
    }
}
