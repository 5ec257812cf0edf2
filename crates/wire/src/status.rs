//! Builds the gRPC status of every [`Error`]. The server builds its statuses only here.

use std::{collections::HashMap, time::Duration};

use contract::google::rpc;
use prost::Message as _;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::{Error, OrderAction, Resource, Violation, error::named};

/// The `domain` of every `google.rpc.ErrorInfo`.
const ERROR_DOMAIN: &str = "orders.v1";

/// The delay before a client may retry after UNAVAILABLE or RESOURCE_EXHAUSTED.
const RETRY_DELAY: Duration = Duration::from_secs(1);

impl Error {
    /// Returns the `reason` of the error's `google.rpc.ErrorInfo`.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::InvalidFields(_) | Self::TooLarge => "INVALID_FIELD",
            Self::RequestIdReused { .. } => "REQUEST_ID_REUSED",
            Self::InvalidPageToken => "INVALID_PAGE_TOKEN",
            Self::NotFound(Resource::Order, _) => "ORDER_NOT_FOUND",
            Self::NotFound(Resource::Customer, _) => "CUSTOMER_NOT_FOUND",
            Self::OrderAlreadyExists(_) => "ORDER_ALREADY_EXISTS",
            Self::Forbidden { action, .. } => match action {
                OrderAction::Ship => "ORDER_NOT_SHIPPABLE",
                OrderAction::Deliver => "ORDER_NOT_DELIVERABLE",
                OrderAction::Cancel => "ORDER_NOT_CANCELLABLE",
            },
            Self::VersionMismatch { .. } => "VERSION_MISMATCH",
            Self::PositionBeyondHead { .. } => "POSITION_BEYOND_HEAD",
            Self::LogMismatch { .. } => "LOG_MISMATCH",
            Self::LogDiverged { .. } => "LOG_DIVERGED",
            Self::ReadModelDiverged => "READ_MODEL_DIVERGED",
            Self::ReadModelBehind { .. } => "READ_MODEL_BEHIND",
            Self::OrderParked { .. } => "ORDER_PARKED",
            Self::RebuildNotPossible { .. } => "REBUILD_NOT_POSSIBLE",
            Self::OriginNotAllowed | Self::PermissionDenied(_) => "PERMISSION_DENIED",
            Self::Unauthenticated => "UNAUTHENTICATED",
            Self::DeadlineExceeded => "DEADLINE_EXCEEDED",
            Self::QueryTooSlow(_) => "QUERY_TOO_SLOW",
            Self::StoreUnavailable | Self::ListsUnavailable => "STORE_UNAVAILABLE",
            Self::SearchUnavailable => "SEARCH_UNAVAILABLE",
            Self::Overloaded(_) => "OVERLOADED",
            Self::ShuttingDown => "SHUTTING_DOWN",
            Self::Internal(_) => "INTERNAL",
        }
    }

    fn code(&self) -> Code {
        match self {
            Self::InvalidFields(_)
            | Self::TooLarge
            | Self::RequestIdReused { .. }
            | Self::InvalidPageToken => Code::InvalidArgument,
            Self::NotFound(..) => Code::NotFound,
            Self::OrderAlreadyExists(_) => Code::AlreadyExists,
            Self::Forbidden { .. }
            | Self::LogMismatch { .. }
            | Self::LogDiverged { .. }
            | Self::OrderParked { .. }
            | Self::RebuildNotPossible { .. } => Code::FailedPrecondition,
            Self::VersionMismatch { .. } => Code::Aborted,
            Self::PositionBeyondHead { .. } => Code::OutOfRange,
            Self::ReadModelBehind { .. } | Self::DeadlineExceeded | Self::QueryTooSlow(_) => {
                Code::DeadlineExceeded
            }
            Self::OriginNotAllowed | Self::PermissionDenied(_) => Code::PermissionDenied,
            Self::Unauthenticated => Code::Unauthenticated,
            Self::StoreUnavailable
            | Self::ListsUnavailable
            | Self::SearchUnavailable
            | Self::ReadModelDiverged
            | Self::ShuttingDown => Code::Unavailable,
            Self::Overloaded(_) => Code::ResourceExhausted,
            Self::Internal(_) => Code::Internal,
        }
    }

    /// Returns the `metadata` of the error's `google.rpc.ErrorInfo`.
    fn metadata(&self) -> HashMap<String, String> {
        let pairs = match self {
            Self::RequestIdReused {
                id,
                version,
                position,
            } => vec![
                ("id", id.clone()),
                ("version", version.to_string()),
                ("position", position.to_string()),
            ],
            Self::Forbidden { status, .. } => vec![("status", (*status).to_owned())],
            Self::VersionMismatch { expected, actual } => {
                vec![
                    ("expected", expected.to_string()),
                    ("actual", actual.to_string()),
                ]
            }
            Self::PositionBeyondHead { position, head } => {
                vec![
                    ("position", position.to_string()),
                    ("head_position", head.to_string()),
                ]
            }
            Self::LogMismatch { given, actual } => {
                vec![("expected", given.clone()), ("actual", actual.clone())]
            }
            Self::LogDiverged { position, shared } => {
                let mut pairs = vec![("position", position.to_string())];
                pairs.extend(shared.map(|shared| ("shared_position", shared.to_string())));
                pairs
            }
            Self::ReadModelBehind {
                awaited,
                wanted,
                position,
            } => {
                vec![
                    ("position", position.to_string()),
                    (*awaited, wanted.to_string()),
                ]
            }
            Self::OrderParked { version, .. } => vec![("version", version.to_string())],
            Self::Internal(incident) => vec![("incident", incident.to_string())],
            _ => Vec::new(),
        };
        pairs
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value))
            .collect()
    }

    fn details(&self) -> ErrorDetails {
        let mut details =
            ErrorDetails::with_error_info(self.reason(), ERROR_DOMAIN, self.metadata());
        match self {
            Self::InvalidFields(violations) => {
                for Violation { field, rule } in named(violations) {
                    details.add_bad_request_violation(field, rule);
                }
            }
            Self::TooLarge => {
                details.add_bad_request_violation("request", Self::SIZE_RULE);
            }
            Self::NotFound(resource, id) => {
                let kind = format!("orders.v1.{}", resource.name());
                details.set_resource_info(kind, id, "", "does not exist");
            }
            Self::OrderAlreadyExists(id) => {
                details.set_resource_info("orders.v1.order", id, "", "exists already");
            }
            Self::Forbidden {
                action, order_id, ..
            } => {
                details.add_precondition_failure_violation(self.reason(), order_id, action.rule());
            }
            Self::OrderParked { order_id, .. } => {
                let what = "an event cannot be projected";
                details.add_precondition_failure_violation(self.reason(), order_id, what);
            }
            Self::RebuildNotPossible { projection, why } => {
                details.add_precondition_failure_violation(self.reason(), *projection, why);
            }
            _ => {}
        }
        if matches!(self.code(), Code::Unavailable | Code::ResourceExhausted) {
            details.set_retry_info(Some(RETRY_DELAY));
        }
        details
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        Self::with_error_details(error.code(), error.to_string(), error.details())
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

/// Returns the reason of a status that an [`Error`] made.
#[must_use]
pub fn reason(status: &Status) -> Option<String> {
    Some(status.get_details_error_info()?.reason)
}

/// Returns whether tonic rejected a message for its size. Callers replace such a status with
/// [`Error::TooLarge`], which has error details. A service with a smaller limit keeps tonic's status,
/// which names that limit.
#[must_use]
pub fn is_too_large(status: &Status) -> bool {
    let usual = format!("limit is: {} bytes", 4 << 20);
    status.code() == Code::OutOfRange
        && status.details().is_empty()
        && status.message().contains(&usual)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_names_as_many_violations_as_fit_into_headers() {
        let violations = (0..1000).map(|index| Violation {
            field: format!("items[{index}].product_id"),
            rule: domain::id::RULE.into(),
        });
        let status = Status::from(Error::InvalidFields(violations.collect()));
        let details = status.get_error_details();
        let named = details.bad_request().unwrap().field_violations.len();
        let rest = format!("; and {} more", 1000 - named);
        assert!(status.message().ends_with(&rest), "{}", status.message());
        assert!(named > 20, "{named}");
        let headers = status.into_http::<()>().headers().clone();
        let size: usize = headers
            .iter()
            .map(|(name, value)| name.as_str().len() + value.len())
            .sum();
        assert!(size < 8192, "{size}");
    }

    #[test]
    fn message_and_details_name_every_violation() {
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
