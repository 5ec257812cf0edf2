//! The log's errors as the errors of calls.

/// Logs the error of a log. The client learns only that the log failed, and whether a retry may
/// help.
pub(crate) fn store_error(error: &event_log::Error) -> wire::Error {
    tracing::error!(%error, "the event store failed");
    match error {
        event_log::Error::Damaged(_) | event_log::Error::UnknownSchema { .. } => {
            wire::Error::Internal
        }
        _ => wire::Error::StoreUnavailable,
    }
}
