//! The checkpoint as the payload of a commit: `position answers generation log_id`.

use tantivy::TantivyError;

use crate::search::IndexCheckpoint;

pub(super) fn encode(checkpoint: &IndexCheckpoint) -> String {
    let IndexCheckpoint {
        log_id,
        position,
        answers,
        generation,
    } = checkpoint;
    format!("{position} {answers} {generation} {log_id}")
}

pub(super) fn decode(payload: &str) -> tantivy::Result<IndexCheckpoint> {
    let checkpoint = || {
        let (position, rest) = payload.split_once(' ')?;
        let (answers, rest) = rest.split_once(' ')?;
        let (generation, log_id) = rest.split_once(' ')?;
        Some(IndexCheckpoint {
            log_id: log_id.to_owned(),
            position: position.parse().ok()?,
            answers: answers.parse().ok()?,
            generation: generation.parse().ok()?,
        })
    };
    checkpoint().ok_or_else(|| {
        TantivyError::InternalError(format!(
            "the commit's payload is no checkpoint: {payload:?}"
        ))
    })
}
