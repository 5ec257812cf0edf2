//! Builds the gRPC status of every error that orderlog returns to clients. The server builds
//! its statuses only here.

use std::{collections::HashMap, fmt, time::Duration};

use contract::google::rpc;
use prost::Message as _;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};
use uuid::Uuid;

use crate::Violation;

/// The `domain` of every `google.rpc.ErrorInfo`.
const DOMAIN: &str = "orders.v1";

/// The delay before a client may retry after UNAVAILABLE or RESOURCE_EXHAUSTED.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Limits the bytes of invalid fields and their rules in one status. The headers repeat these bytes
/// three times, and clients in C, Python and other languages accept 8 KiB of headers.
const TOLD: usize = 1500;

/// Every error that orderlog returns to clients. [`crate::catalogue()`] explains each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// Fields break their rules. The list has every invalid field of the request.
    InvalidFields(Vec<Violation>),
    /// The message is larger than 4 MiB.
    TooLarge,
    /// The request id belongs to an earlier command with other content.
    RequestIdReused,
    /// The page token is malformed, or belongs to another request.
    InvalidPageToken,
    /// The resource with this id does not exist.
    NotFound(Resource, String),
    /// An order with this id exists already.
    OrderAlreadyExists(String),
    /// The order's status forbids the action.
    Forbidden {
        /// The action that the client asked for.
        action: Forbidden,
        /// The id of the order.
        order_id: String,
        /// The current status of the order.
        status: &'static str,
    },
    /// The aggregate is at another version.
    VersionMismatch {
        /// The version that the client expects.
        expected: u64,
        /// The current version of the aggregate.
        actual: u64,
    },
    /// A subscriber resumes past the head of the log.
    PositionBeyondHead {
        /// The position after which the client resumes.
        position: u64,
        /// The newest position of the log.
        head: u64,
    },
    /// A subscriber resumes with the position of another log.
    LogMismatch {
        /// The id of the log in the request.
        given: String,
        /// The id of this log.
        actual: String,
    },
    /// The read model did not reach the requested position or version in time.
    ReadModelBehind {
        /// The field that names the target: `min_position` or `min_version`.
        awaited: &'static str,
        /// The value of that field.
        wanted: u64,
        /// The position that the read model has reached.
        position: u64,
    },
    /// A rebuild of a projection cannot start now.
    RebuildNotPossible {
        /// The name of the projection.
        projection: &'static str,
        /// The reason that prevents the rebuild.
        why: String,
    },
    /// The browser page's origin is not in the server's `cors-origins`.
    OriginNotAllowed,
    /// The call has no credential, or the credential is invalid, expired or revoked.
    Unauthenticated,
    /// The credential has none of these roles, each of which allows the call. An empty list means
    /// that no role allows the call.
    PermissionDenied(Vec<&'static str>),
    /// The event store does not answer.
    StoreUnavailable,
    /// The search engine does not answer.
    SearchUnavailable,
    /// A limit is reached. The text names the limit.
    Overloaded(&'static str),
    /// The service is shutting down.
    ShuttingDown,
    /// The server failed. The server's log has the cause under the incident's id.
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

/// The actions that an order's status can forbid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forbidden {
    /// Only a created order can be shipped.
    Ship,
    /// Only a shipped order can be delivered.
    Deliver,
    /// Only a created order can be cancelled.
    Cancel,
}

impl Resource {
    fn name(self) -> &'static str {
        match self {
            Self::Order => "order",
            Self::Customer => "customer",
        }
    }
}

/// The parts of a gRPC status.
struct Parts {
    code: Code,
    reason: &'static str,
    message: String,
    metadata: HashMap<String, String>,
    details: ErrorDetails,
}

fn parts(code: Code, reason: &'static str, message: impl Into<String>) -> Parts {
    Parts {
        code,
        reason,
        message: message.into(),
        metadata: HashMap::new(),
        details: ErrorDetails::new(),
    }
}

impl Parts {
    fn with(mut self, add: impl FnOnce(&mut ErrorDetails)) -> Self {
        add(&mut self.details);
        self
    }

    fn metadata<const N: usize>(mut self, pairs: [(&str, String); N]) -> Self {
        self.metadata
            .extend(pairs.map(|(key, value)| (key.to_owned(), value)));
        self
    }

    fn retry(self) -> Self {
        self.with(|details| {
            details.set_retry_info(Some(RETRY_AFTER));
        })
    }

    fn resource(self, kind: &str, id: &str, description: &str) -> Self {
        self.with(|details| {
            details.set_resource_info(format!("orders.v1.{kind}"), id, "", description);
        })
    }
}

/// The id of an error that a client cannot act on. The client learns the id, and the server's log
/// has the cause under it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Incident(Uuid);

impl Error {
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

    /// Returns the `reason` of the error's `google.rpc.ErrorInfo`.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        self.parts().reason
    }

    fn parts(&self) -> Parts {
        match self {
            Self::InvalidFields(violations) => {
                let mut told = String::new();
                let mut count = 0;
                for Violation { field, rule } in violations {
                    if told.len() + field.len() + rule.len() > TOLD {
                        break;
                    }
                    let separator = if told.is_empty() { "" } else { "; " };
                    told.push_str(&format!("{separator}{field} {rule}"));
                    count += 1;
                }
                if count < violations.len() {
                    told.push_str(&format!("; and {} more", violations.len() - count));
                }
                parts(Code::InvalidArgument, "INVALID_FIELD", told).with(|details| {
                    for Violation { field, rule } in violations.iter().take(count) {
                        details.add_bad_request_violation(field, rule);
                    }
                })
            }
            Self::TooLarge => Self::InvalidFields(vec![Violation {
                field: "request".into(),
                rule: "must be a message of at most 4 MiB".into(),
            }])
            .parts(),
            Self::RequestIdReused => parts(
                Code::InvalidArgument,
                "REQUEST_ID_REUSED",
                "request_id was used by an earlier command with other content",
            ),
            Self::InvalidPageToken => parts(
                Code::InvalidArgument,
                "INVALID_PAGE_TOKEN",
                "page_token does not belong to this request",
            ),
            Self::NotFound(resource, id) => {
                let name = resource.name();
                let reason = match resource {
                    Resource::Order => "ORDER_NOT_FOUND",
                    Resource::Customer => "CUSTOMER_NOT_FOUND",
                };
                parts(Code::NotFound, reason, format!("there is no {name} {id}"))
                    .resource(name, id, "does not exist")
            }
            Self::OrderAlreadyExists(id) => parts(
                Code::AlreadyExists,
                "ORDER_ALREADY_EXISTS",
                format!("there is an order {id} already"),
            )
            .resource("order", id, "exists already"),
            Self::Forbidden { action, order_id, status } => {
                let (reason, rule) = match action {
                    Forbidden::Ship => ("ORDER_NOT_SHIPPABLE", "only a CREATED order can be shipped"),
                    Forbidden::Deliver => {
                        ("ORDER_NOT_DELIVERABLE", "only a SHIPPED order can be delivered")
                    }
                    Forbidden::Cancel => {
                        ("ORDER_NOT_CANCELLABLE", "only a CREATED order can be cancelled")
                    }
                };
                let message = format!("order {order_id} is {status}: {rule}");
                parts(Code::FailedPrecondition, reason, message)
                    .metadata([("status", (*status).to_owned())])
                    .with(|details| {
                        details.add_precondition_failure_violation(reason, order_id, rule);
                    })
            }
            Self::VersionMismatch { expected, actual } => parts(
                Code::Aborted,
                "VERSION_MISMATCH",
                format!("expected_version is {expected}, but the order is at version {actual}"),
            )
            .metadata([("expected", expected.to_string()), ("actual", actual.to_string())]),
            Self::PositionBeyondHead { position, head } => parts(
                Code::OutOfRange,
                "POSITION_BEYOND_HEAD",
                format!("after_position is {position}, but the log ends at {head}"),
            )
            .metadata([("position", position.to_string()), ("head_position", head.to_string())]),
            Self::LogMismatch { given, actual } => parts(
                Code::FailedPrecondition,
                "LOG_MISMATCH",
                format!("log_id is {given}, but this log is {actual}"),
            )
            .metadata([("expected", given.clone()), ("actual", actual.clone())]),
            Self::ReadModelBehind { awaited, wanted, position } => parts(
                Code::DeadlineExceeded,
                "READ_MODEL_BEHIND",
                format!("the read model did not reach {awaited} {wanted} in time: it is at position {position}"),
            )
            .metadata([("position", position.to_string()), (*awaited, wanted.to_string())]),
            Self::RebuildNotPossible { projection, why } => parts(
                Code::FailedPrecondition,
                "REBUILD_NOT_POSSIBLE",
                format!("{projection} cannot be made again: {why}"),
            )
            .with(|details| {
                details.add_precondition_failure_violation("REBUILD_NOT_POSSIBLE", *projection, why);
            }),
            Self::OriginNotAllowed => parts(
                Code::PermissionDenied,
                "PERMISSION_DENIED",
                "pages of this origin may not call: the server's cors-origins do not name it",
            ),
            Self::Unauthenticated => parts(
                Code::Unauthenticated,
                "UNAUTHENTICATED",
                "the call needs a valid credential, as in `authorization: Bearer TOKEN`",
            ),
            Self::PermissionDenied(roles) => parts(
                Code::PermissionDenied,
                "PERMISSION_DENIED",
                match roles.as_slice() {
                    [] => "nobody may call that".to_owned(),
                    [role] => format!("the credential does not have the role {role}"),
                    roles => format!("the credential has none of the roles {}", roles.join(", ")),
                },
            ),
            Self::StoreUnavailable => parts(
                Code::Unavailable,
                "STORE_UNAVAILABLE",
                "the store does not answer; the outcome of a command is unknown then: send it again with its request_id",
            )
            .retry(),
            Self::SearchUnavailable => {
                parts(Code::Unavailable, "SEARCH_UNAVAILABLE", "the search engine does not answer")
                    .retry()
            }
            Self::Overloaded(what) => parts(
                Code::ResourceExhausted,
                "OVERLOADED",
                format!("{what}: try again later"),
            )
            .retry(),
            Self::ShuttingDown => {
                parts(Code::Unavailable, "SHUTTING_DOWN", "the server is shutting down").retry()
            }
            Self::Internal(Incident(id)) => parts(
                Code::Internal,
                "INTERNAL",
                format!("an internal error; the server's log has it as incident {id}"),
            )
            .metadata([("incident", id.to_string())]),
        }
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let Parts {
            code,
            reason,
            message,
            metadata,
            mut details,
        } = error.parts();
        details.set_error_info(reason, DOMAIN, metadata);
        Self::with_error_details(code, message, details)
    }
}

impl From<Error> for rpc::Status {
    fn from(error: Error) -> Self {
        let status = Status::from(error);
        // tonic-types stores an encoded google.rpc.Status in the status's details.
        Self::decode(status.details()).unwrap_or_else(|_| Self {
            code: status.code().into(),
            message: status.message().to_owned(),
            details: Vec::new(),
        })
    }
}

/// Returns whether tonic rejected a message for its size. Callers replace such a status with
/// [`Error::TooLarge`], which has error details.
#[must_use]
pub fn is_too_large(status: &Status) -> bool {
    status.code() == Code::OutOfRange && status.details().is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_very_many_violations_so_many_are_told_as_clients_take() {
        let violations = (0..1000).map(|index| Violation {
            field: format!("items[{index}].product_id"),
            rule: "must match [A-Za-z0-9_-]{1,64}".into(),
        });
        let status = Status::from(Error::InvalidFields(violations.collect()));
        let details = status.get_error_details();
        let told = details.bad_request().unwrap().field_violations.len();
        let rest = format!("; and {} more", 1000 - told);
        assert!(status.message().ends_with(&rest), "{}", status.message());
        assert!(told > 20, "{told}");
        let headers = status.into_http::<()>().headers().clone();
        let size: usize = headers
            .iter()
            .map(|(name, value)| name.as_str().len() + value.len())
            .sum();
        assert!(size < 8192, "{size}");
    }

    #[test]
    fn every_violation_is_told_in_the_message_and_in_the_details() {
        let violation = |field: &str| Violation {
            field: field.into(),
            rule: "is wrong".into(),
        };
        let error = Error::InvalidFields(vec![violation("a"), violation("b[1].c")]);
        let status = Status::from(error.clone());
        assert_eq!(status.code(), Code::InvalidArgument);
        assert_eq!(status.message(), "a is wrong; b[1].c is wrong");
        let details = status.get_error_details();
        let fields: Vec<_> = details
            .bad_request()
            .unwrap()
            .field_violations
            .iter()
            .map(|violation| violation.field.as_str())
            .collect();
        assert_eq!(fields, ["a", "b[1].c"]);
        assert_eq!(details.error_info().unwrap().reason, "INVALID_FIELD");
        assert_eq!(rpc::Status::from(error).details.len(), 2);
    }
}
