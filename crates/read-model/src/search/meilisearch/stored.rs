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

/// The field that only the checkpoint has. A search finds the checkpoint by the field's word and
/// sorts it before all orders.
pub(super) const CHECKPOINT_FIELD: &str = "checkpoint";
pub(super) const CHECKPOINT_WORD: &str = "orderlogcheckpoint";

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

/// A document with its key, which is in the field of the index's primary key. The checkpoint also has
/// its word.
#[derive(Debug, Serialize)]
pub(super) struct Keyed<'a> {
    #[serde(flatten)]
    added: BTreeMap<&'a str, String>,
    #[serde(flatten)]
    entry: &'a Entry,
}

impl Entry {
    /// Adds the document's key in the field of the primary key.
    pub(super) fn keyed<'a>(&'a self, primary_key: &'a str) -> Keyed<'a> {
        let added = match self {
            Self::Order(order) => BTreeMap::from([(primary_key, order.row.to_string())]),
            Self::Checkpoint(_) => BTreeMap::from([
                (primary_key, CHECKPOINT_KEY.to_owned()),
                (CHECKPOINT_FIELD, CHECKPOINT_WORD.to_owned()),
            ]),
        };
        Keyed { added, entry: self }
    }
}

/// Bounds the body of a task, in bytes: 64 MiB. Meilisearch accepts 100 MB by default. A text without
/// spaces is many times as large in the index as in the order, so the writer cannot know it before.
const MAX_TASK_BYTES: usize = 64 << 20;

/// Encodes the documents of a task as JSON.
///
/// # Errors
/// [`Error::TooLarge`]: several documents exceed [`MAX_TASK_BYTES`].
pub(super) fn encode(entries: &[Entry], primary_key: &str) -> Result<Vec<u8>, Error> {
    let mut body = vec![b'['];
    for (index, entry) in entries.iter().enumerate() {
        if index > 0 {
            body.push(b',');
        }
        serde_json::to_writer(&mut body, &entry.keyed(primary_key)).map_err(Error::failed)?;
        // The second entry may be the checkpoint, which is small.
        if body.len() > MAX_TASK_BYTES && index > 1 {
            return Err(Error::TooLarge(format!("more than {MAX_TASK_BYTES} bytes")));
        }
    }
    body.push(b']');
    Ok(body)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::search::contract_suite::document;

    fn entries(count: u64) -> Vec<Entry> {
        let document = document(1, |order| order.shipping_address = "테헤란로".repeat(100));
        let entry = || Entry::Order((&document).into());
        (0..count).map(|_| entry()).collect()
    }

    #[test]
    fn a_task_is_bounded_in_bytes() {
        let one = encode(&entries(1), "key").unwrap();
        let is_json = serde_json::from_slice::<serde_json::Value>(&one).is_ok();
        assert!(is_json && one.len() < MAX_TASK_BYTES / 1000);
        let fitting = (MAX_TASK_BYTES / one.len()) as u64;
        assert!(encode(&entries(fitting), "key").is_ok());
        let larger = encode(&entries(fitting + 1), "key");
        assert!(matches!(larger, Err(Error::TooLarge(_))), "{fitting}");
    }
}
