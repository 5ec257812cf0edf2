//! Every error that orderlog returns to clients, with its message.

use std::{fmt, time::Duration};

use uuid::Uuid;

use crate::Violation;

/// Limits the bytes of invalid fields and their rules in one status. The headers repeat these bytes
/// three times, and clients in C, Python and other languages accept 8 KiB of headers.
const MAX_VIOLATION_BYTES: usize = 1500;

/// Every error that orderlog returns to clients. [`crate::catalogue()`] explains each, and the
/// `From` impls make its status.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Fields break their rules. The list has every invalid field of the request.
    #[error("{}", summary(.0))]
    InvalidFields(Vec<Violation>),
    /// The message is larger than 4 MiB.
    #[error("request {}", Self::SIZE_RULE)]
    TooLarge,
    /// The request id belongs to an earlier command with other content, which had this reply.
    #[error(
        "request_id was used by an earlier command with other content, which led to version {version} of {id} at position {position}"
    )]
    RequestIdReused {
        /// The id of the earlier command's aggregate.
        id: String,
        /// The aggregate's version after the earlier command.
        version: u64,
        /// The position in the reply to the earlier command.
        position: u64,
    },
    /// The page token is malformed, or belongs to another request.
    #[error("page_token does not belong to this request")]
    InvalidPageToken,
    /// The resource with this id does not exist.
    #[error("there is no {} {}", .0.name(), .1)]
    NotFound(Resource, String),
    /// An order with this id exists already.
    #[error("there is an order {0} already")]
    OrderAlreadyExists(String),
    /// The order's status forbids the action.
    #[error("order {order_id} is {status}: {}", .action.rule())]
    Forbidden {
        /// The action that the client asked for.
        action: OrderAction,
        /// The id of the order.
        order_id: String,
        /// The current status of the order.
        status: &'static str,
    },
    /// The aggregate is at another version.
    #[error("expected_version is {expected}, but the newest version is {actual}")]
    VersionMismatch {
        /// The version that the client expects.
        expected: u64,
        /// The current version of the aggregate.
        actual: u64,
    },
    /// A subscriber resumes past the head of the log.
    #[error("after_position is {position}, but the log ends at {head}")]
    PositionBeyondHead {
        /// The position after which the client resumes.
        position: u64,
        /// The newest position of the log.
        head: u64,
    },
    /// A subscriber resumes with the position of another log.
    #[error("log_id is {given}, but this log is {actual}")]
    LogMismatch {
        /// The id of the log in the request.
        given: String,
        /// The id of this log.
        actual: String,
    },
    /// The log has another event at the position that the subscriber has seen, or none.
    #[error("{}", diverged(*position, *shared))]
    LogDiverged {
        /// The newest position that the subscriber or the node has seen.
        position: u64,
        /// The newest position that both histories share, if the node knows it.
        shared: Option<u64>,
    },
    /// The read model was made from events that the log no longer has.
    #[error("the read model has events that are not in the log, and answers once it is corrected")]
    ReadModelDiverged,
    /// The read model did not reach the requested position or version in time.
    #[error(
        "the read model did not reach {awaited} {wanted} in time: it is at position {position}"
    )]
    ReadModelBehind {
        /// The field that names the target: `min_position` or `min_version`.
        awaited: &'static str,
        /// The value of that field.
        wanted: u64,
        /// The position that the read model has reached.
        position: u64,
    },
    /// An event of the order cannot be projected, so the read model does not have what the client wants.
    #[error("an event of order {order_id} after version {version} cannot be projected")]
    OrderParked {
        /// The id of the order.
        order_id: String,
        /// The version before that event; 0 if no event of the order can be projected.
        version: u64,
    },
    /// A rebuild of a projection cannot start now.
    #[error("{projection} cannot be rebuilt: {why}")]
    RebuildNotPossible {
        /// The name of the projection.
        projection: &'static str,
        /// The reason that prevents the rebuild.
        why: String,
    },
    /// The browser page's origin is not in the server's `cors-origins`.
    #[error("pages of this origin may not call: the server's cors-origins do not name it")]
    OriginNotAllowed,
    /// The call has no credential, or the credential is invalid, expired or revoked.
    #[error("the call needs a valid credential, as in `authorization: Bearer TOKEN`")]
    Unauthenticated,
    /// The credential has none of these roles, each of which allows the call. An empty list means
    /// that no role allows the call.
    #[error("{}", missing_role(.0))]
    PermissionDenied(Vec<&'static str>),
    /// The deadline that the client gave the call is over.
    #[error(
        "the call's deadline is over; the outcome of a command is unknown then: send it again with its request_id"
    )]
    DeadlineExceeded,
    /// A list or search did not finish within the server's `query-timeout`.
    #[error("the query did not finish within the server's query-timeout of {0:?}")]
    QueryTooSlow(Duration),
    /// The event store does not answer.
    #[error(
        "the store does not answer; the outcome of a command is unknown then: send it again with its request_id"
    )]
    StoreUnavailable,
    /// The index of lists is incomplete.
    #[error("the index of lists is being filled; orders can be read by their ids")]
    ListsUnavailable,
    /// The search engine does not answer.
    #[error("the search engine does not answer")]
    SearchUnavailable,
    /// A limit is reached. The text names the limit.
    #[error("{0}: try again later")]
    Overloaded(&'static str),
    /// The service is shutting down.
    #[error("the server is shutting down")]
    ShuttingDown,
    /// The server failed. The server's log has the cause under the incident's id.
    #[error("an internal error; the server's log has it as incident {0}")]
    Internal(Incident),
}

/// The kinds of resource that [`Error::NotFound`] names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource {
    /// An order.
    Order,
    /// A customer.
    Customer,
}

impl Resource {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Order => "order",
            Self::Customer => "customer",
        }
    }
}

/// The actions that an order's status can forbid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrderAction {
    /// Only a created order can be shipped.
    Ship,
    /// Only a shipped order can be delivered.
    Deliver,
    /// Only a created order can be cancelled.
    Cancel,
}

impl OrderAction {
    pub(crate) fn rule(self) -> &'static str {
        match self {
            Self::Ship => "only a CREATED order can be shipped",
            Self::Deliver => "only a SHIPPED order can be delivered",
            Self::Cancel => "only a CREATED order can be cancelled",
        }
    }
}

/// The id of an error that a client cannot act on. The client learns the id, and the server's log
/// has the cause under it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Incident(Uuid);

impl fmt::Display for Incident {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(to)
    }
}

fn diverged(position: u64, shared: Option<u64>) -> String {
    let shared = shared.map_or_else(String::new, |shared| {
        format!("; up to position {shared} it is the same")
    });
    format!(
        "the log went back: its event at position {position} is another one now, or missing{shared}"
    )
}

impl Error {
    /// The rule that a request breaks with [`Error::TooLarge`].
    pub(crate) const SIZE_RULE: &str = "must be a message of at most 4 MiB";

    /// Logs the cause of an error that a client cannot act on, as an incident with an id.
    #[must_use]
    pub fn internal(cause: impl fmt::Display) -> Self {
        let id = Uuid::now_v7();
        tracing::error!(incident = %id, %cause, "a call failed");
        Self::Internal(Incident(id))
    }

    /// Makes an [`Error::InvalidFields`] of one field.
    #[must_use]
    pub fn invalid_field(field: impl Into<String>, rule: impl Into<String>) -> Self {
        Self::InvalidFields(vec![Violation {
            field: field.into(),
            rule: rule.into(),
        }])
    }
}

/// Returns the first violations, as many as one status can name.
pub(crate) fn named(violations: &[Violation]) -> &[Violation] {
    let mut bytes = 0;
    let fitting = violations.iter().take_while(|Violation { field, rule }| {
        bytes += field.len() + rule.len() + " ; ".len();
        bytes <= MAX_VIOLATION_BYTES
    });
    let count = fitting.count();
    &violations[..count]
}

fn summary(violations: &[Violation]) -> String {
    let named = named(violations).iter();
    let mut texts: Vec<_> = named
        .map(|Violation { field, rule }| format!("{field} {rule}"))
        .collect();
    if texts.len() < violations.len() {
        texts.push(format!("and {} more", violations.len() - texts.len()));
    }
    texts.join("; ")
}

fn missing_role(roles: &[&str]) -> String {
    match roles {
        [] => "no role allows this call".to_owned(),
        [role] => format!("the credential does not have the role {role}"),
        roles => format!("the credential has none of the roles {}", roles.join(", ")),
    }
}
