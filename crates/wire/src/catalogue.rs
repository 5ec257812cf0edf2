//! Explains every error with its case and the client's next step. The source of
//! `docs/reference/errors.md`.

use std::time::Duration;

use domain::id;

use crate::{Error, Incident, OrderAction, Resource};

/// One error, explained to the author of a client.
#[derive(Debug, Clone)]
pub struct Explained {
    /// The error, with sample values.
    pub sample: Error,
    /// The case in which the server returns it.
    pub case: &'static str,
    /// The client's next step.
    pub next_step: &'static str,
}

/// Returns every error that a client can meet. Errors with the same reason follow each other.
#[must_use]
#[expect(clippy::too_many_lines, reason = "one line or more an error")]
pub fn catalogue() -> Vec<Explained> {
    let forbidden = |action| Error::Forbidden {
        action,
        order_id: "o-1".to_owned(),
        status: "CANCELLED",
    };
    let samples = [
        Error::invalid_field("customer_id", id::RULE),
        Error::TooLarge,
        Error::RequestIdReused {
            id: "o-1".to_owned(),
            version: 1,
            position: 7,
        },
        Error::InvalidPageToken,
        Error::NotFound(Resource::Order, "o-1".to_owned()),
        Error::NotFound(Resource::Customer, "ann".to_owned()),
        Error::OrderAlreadyExists("o-1".to_owned()),
        forbidden(OrderAction::Ship),
        forbidden(OrderAction::Deliver),
        forbidden(OrderAction::Cancel),
        Error::VersionMismatch {
            expected: 1,
            actual: 2,
        },
        Error::PositionBeyondHead {
            position: 10,
            head: 7,
        },
        Error::LogMismatch {
            given: "one".to_owned(),
            actual: "other".to_owned(),
        },
        Error::LogDiverged {
            position: 10,
            shared: Some(7),
        },
        Error::ReadModelDiverged,
        Error::ReadModelBehind {
            awaited: "min_position",
            wanted: 10,
            position: 7,
        },
        Error::ReadModelBehind {
            awaited: "min_version",
            wanted: 2,
            position: 7,
        },
        Error::OrderParked {
            order_id: "o-1".to_owned(),
            version: 1,
        },
        Error::RebuildNotPossible {
            projection: "search",
            why: "one is under way".to_owned(),
        },
        Error::DeadlineExceeded,
        Error::QueryTooSlow(Duration::from_secs(2)),
        Error::StoreUnavailable,
        Error::ListsUnavailable,
        Error::SearchUnavailable,
        Error::ShuttingDown,
        Error::Overloaded("too many commands wait"),
        Error::Unauthenticated,
        Error::PermissionDenied(vec!["operate"]),
        Error::OriginNotAllowed,
        Error::Internal(Incident::default()),
    ];
    let explained = |sample: Error| Explained {
        case: case(&sample),
        next_step: next_step(&sample),
        sample,
    };
    samples.into_iter().map(explained).collect()
}

/// Returns the case of an error. The match is exhaustive, so that a new error needs an explanation.
/// Its author also adds a sample to [`catalogue()`].
#[expect(clippy::too_many_lines, reason = "one arm an error")]
fn case(error: &Error) -> &'static str {
    match error {
        Error::InvalidFields(_) => {
            "Fields break their rules. The details name every one; of very many they name the first, \
             and the message counts the rest."
        }
        Error::TooLarge => "The message is larger than 4 MiB.",
        Error::RequestIdReused { .. } => {
            "An earlier command with other content has this `request_id`. The metadata has its reply: \
             `id`, `version` and `position`."
        }
        Error::InvalidPageToken => {
            "The `page_token` is malformed, or it belongs to a request with other fields, to another \
             log, or to another search engine."
        }
        Error::NotFound(Resource::Order, _) => {
            "The order does not exist. A query also says so while the read model is behind."
        }
        Error::NotFound(Resource::Customer, _) => {
            "The customer is unknown. A query also says so while the read model is behind."
        }
        Error::OrderAlreadyExists(_) => "Another command has created an order with this id.",
        Error::Forbidden {
            action: OrderAction::Deliver,
            ..
        } => "The order is not SHIPPED.",
        Error::Forbidden { .. } => "The order is not CREATED.",
        Error::VersionMismatch { .. } => {
            "The order, customer or product is not at `expected_version`: another command came first."
        }
        Error::PositionBeyondHead { .. } => {
            "The subscriber resumes after a position that the log does not have."
        }
        Error::LogMismatch { .. } => {
            "The `log_id` or `resume_token` of the subscriber is that of another log."
        }
        Error::LogDiverged { .. } => {
            "The log went back, as after a failover or restore that lost events, and went on \
             differently: the event that the subscriber has seen at `position` is not there. \
             `shared_position` is the newest position with the same event, if the node knows it."
        }
        Error::ReadModelDiverged => {
            "The log went back, and the read model has events that are gone: it is made again. Or the \
             read model is that of another log, and an operator has to delete it. A stream of \
             `WatchOrders` also ends with it when orders change without a new event, by \
             `RetryParked` or `Rebuild`."
        }
        Error::ReadModelBehind {
            awaited: "min_version",
            ..
        } => "The order did not reach `min_version` within `max_wait`.",
        Error::ReadModelBehind { .. } => {
            "The read model did not reach `min_position` within `max_wait`."
        }
        Error::OrderParked { .. } => {
            "An event of the order cannot be projected: it is damaged, or of a newer version. The order does \
             not reach `min_version`, or is not known at all."
        }
        Error::RebuildNotPossible { .. } => {
            "A rebuild is under way, there is no previous generation, another node is the indexer, the \
             log is empty, or a retry has changed orders meanwhile."
        }
        Error::DeadlineExceeded => {
            "The call's own deadline, its `grpc-timeout`, is over. The outcome of a command is unknown."
        }
        Error::QueryTooSlow(_) => {
            "A list, a search or the statistics of a customer worked for longer than the server's \
             `query-timeout`, and were stopped."
        }
        Error::StoreUnavailable => {
            "The log or the documents cannot be read or written. The outcome of a command is unknown."
        }
        Error::ListsUnavailable => {
            "The node fills its index of lists, which it does after a power cut and for some new versions."
        }
        Error::SearchUnavailable => {
            "The search engine does not answer, its index is not of this log, or it lost the swap of \
             a rebuild."
        }
        Error::ShuttingDown => "The node received SIGTERM.",
        Error::Overloaded(_) => "The server reached a limit. The message names it.",
        Error::Unauthenticated => {
            "The call or stream shows no valid credential. A stream ends so when its credential expires."
        }
        Error::PermissionDenied(_) => "The credential lacks the role that the method needs.",
        Error::OriginNotAllowed => {
            "The call comes from a page whose origin is not in `--cors-origins`."
        }
        Error::Internal(_) => {
            "The server failed. Its log has the cause, under the id in `incident` of the metadata."
        }
    }
}

/// Returns the client's next step after an error.
fn next_step(error: &Error) -> &'static str {
    match error {
        Error::InvalidFields(_) => "Correct the request.",
        Error::TooLarge => "Split the request: `ExecuteCommands` takes any number of commands.",
        Error::RequestIdReused { .. } => {
            "Use a new `request_id` for each command. If this was a retry with changed fields, take \
             the reply from the metadata."
        }
        Error::InvalidPageToken => "Repeat the request without a token, from the first page.",
        Error::NotFound(..) => "After a write of your own, ask again with `min_position`.",
        Error::OrderAlreadyExists(_) => {
            "Choose another id, or leave it empty: the server makes one."
        }
        Error::Forbidden { .. } | Error::VersionMismatch { .. } => {
            "Read the newest state and decide again."
        }
        Error::PositionBeyondHead { .. } => {
            "The log was restored to an earlier state. Empty what you made from it, and start from 0."
        }
        Error::LogDiverged { .. } => {
            "Undo what you made from the events after `shared_position` and subscribe after it; or \
             empty everything, and start from 0."
        }
        Error::ReadModelDiverged => {
            "Retry: the read model answers once it is correct. Begin `WatchOrders` again."
        }
        Error::LogMismatch { .. } => "Empty what you made from the other log, and start from 0.",
        Error::ReadModelBehind {
            awaited: "min_version",
            ..
        } => "Ask again, or wait longer: at most 30 s.",
        Error::ReadModelBehind { .. } => {
            "Ask again, wait longer (at most 30 s), or ask with `min_position` 0 for an older state."
        }
        Error::OrderParked { .. } => {
            "Tell the operator, who finds the cause with `orderlog parked list`. Without `min_version`, an \
             order with a `version` in the metadata is answered in that version."
        }
        Error::RebuildNotPossible { .. } => {
            "Remove the cause that `PreconditionFailure` names: wait, call the node that is the indexer, or \
             repeat the rebuild after a retry."
        }
        Error::DeadlineExceeded | Error::StoreUnavailable => {
            "Send the command again with its `request_id`, and the query as it was."
        }
        Error::QueryTooSlow(_) => {
            "Narrow the filters, leave out facets, or ask the operator for a longer `query-timeout`."
        }
        Error::ListsUnavailable => "Retry, or ask another node. `GetOrder` is answered meanwhile.",
        Error::SearchUnavailable => "Retry. Queries without text are answered meanwhile.",
        Error::ShuttingDown => "Retry at another node, or at this one after its restart.",
        Error::Overloaded(_) => {
            "Wait as `RetryInfo` says, then retry. Put many commands on `ExecuteCommands`."
        }
        Error::Unauthenticated => "Renew the token, then retry.",
        Error::PermissionDenied(_) => "Ask the operator for the role.",
        Error::OriginNotAllowed => "Ask the operator to add the origin.",
        Error::Internal(_) => {
            "Report the incident to the operator. Retrying helps only after the cause is gone."
        }
    }
}
