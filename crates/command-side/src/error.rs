//! Converts the log's errors into errors of calls.

/// Logs an error of the log and converts it for the client. The client learns only that the log
/// failed, and whether a retry may help.
pub(crate) fn store_error(error: &event_log::Error) -> wire::Error {
    match error {
        event_log::Error::Damaged(_) | event_log::Error::UnknownSchema { .. } => {
            wire::Error::internal(error)
        }
        _ => {
            tracing::error!(%error, "the event store failed");
            wire::Error::StoreUnavailable
        }
    }
}
