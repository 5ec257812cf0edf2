//! The documents that a task writes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::document::Indexed;
use crate::{
    Row,
    search::{Error, IndexCheckpoint},
    store::ChangeCursor,
};

/// The key of the checkpoint's document. The keys of orders are numbers.
pub(super) const CHECKPOINT_KEY: &str = "checkpoint";

/// The checkpoint as the index holds it. Positions are text, because a double is exact only to
/// 2^53.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StoredCheckpoint {
    pub(super) log_id: String,
    /// Older versions wrote neither this nor the event's id.
    #[serde(default)]
    pub(super) history: String,
    #[serde(default)]
    pub(super) read_position: String,
    pub(super) event_id: String,
    pub(super) position: String,
    pub(super) answers: String,
    #[serde(default = "zero")]
    pub(super) names_position: String,
    #[serde(default = "zero")]
    pub(super) names_row: String,
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

/// Older versions wrote no cursor of names.
fn zero() -> String {
    "0".to_owned()
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
            read_position: number(&self.read_position)?,
            event_id: self.event_id.clone(),
            position: number(&self.position)?,
            answers: number(&self.answers)?,
            names: ChangeCursor {
                position: number(&self.names_position)?,
                row: Row(number(&self.names_row)?),
            },
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

/// A document with its key, which is in the field of the index's primary key.
#[derive(Debug, Serialize)]
pub(super) struct Keyed<'a> {
    #[serde(flatten)]
    key: BTreeMap<&'a str, String>,
    #[serde(flatten)]
    entry: &'a Entry,
}

impl Entry {
    /// Adds the document's key in this field.
    pub(super) fn keyed<'a>(&'a self, primary_key: &'a str) -> Keyed<'a> {
        let key = match self {
            Self::Order(order) => order.row.to_string(),
            Self::Checkpoint(_) => CHECKPOINT_KEY.to_owned(),
        };
        Keyed {
            key: BTreeMap::from([(primary_key, key)]),
            entry: self,
        }
    }
}

/// Returns the checkpoint of an empty index.
pub(super) fn empty_checkpoint() -> IndexCheckpoint {
    IndexCheckpoint {
        log_id: String::new(),
        history: String::new(),
        read_position: 0,
        event_id: String::new(),
        position: 0,
        answers: 0,
        names: ChangeCursor::default(),
        generation: 0,
    }
}
