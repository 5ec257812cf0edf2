//! The checkpoint as the payload of a commit, in JSON.

use tantivy::TantivyError;

use crate::search::IndexCheckpoint;

pub(super) fn encode(checkpoint: &IndexCheckpoint) -> tantivy::Result<String> {
    serde_json::to_string(checkpoint)
        .map_err(|error| TantivyError::InternalError(format!("the checkpoint: {error}")))
}

pub(super) fn decode(payload: &str) -> tantivy::Result<IndexCheckpoint> {
    serde_json::from_str(payload).map_err(|error| {
        TantivyError::InternalError(format!(
            "the commit's payload is no checkpoint: {error}: {payload:?}"
        ))
    })
}
