use std::{
    error::Error as _,
    io::{self, ErrorKind},
    process::ExitCode,
};

use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::settings;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// A setting is wrong.
    #[error(transparent)]
    Setting(#[from] settings::Error),
    /// The server refused the call, or broke off.
    #[error("{}", told(.0))]
    Refused(Box<Status>),
    /// A command may have been executed or not; with its request id it can be sent again.
    #[error("{}\nthe same again, with --request-id {request_id}, has one effect only", told(.status))]
    OutcomeUnknown {
        /// What the server said, or this side when the connection broke.
        status: Box<Status>,
        /// What it was sent with.
        request_id: String,
    },
    /// The operation failed; one line says why.
    #[error("{0}")]
    Operation(String),
    /// Reading or writing failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Not all of it was done; the command has told already.
    #[error("not all was done")]
    Told,
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        Self::Refused(Box::new(status))
    }
}

impl Failure {
    /// Tells the user on stderr; the exit code that goes with it.
    #[must_use]
    pub fn report(&self) -> ExitCode {
        match self {
            // Whoever reads the output has seen enough, as in `orderlog watch | head`.
            Self::Io(error) if error.kind() == ErrorKind::BrokenPipe => return ExitCode::SUCCESS,
            Self::Told => {}
            _ => eprintln!("error: {self}"),
        }
        match self {
            Self::Setting(_) => ExitCode::from(2),
            _ => ExitCode::FAILURE,
        }
    }
}

/// The reason of a refusal, as in `ORDER_NOT_FOUND`, or else its code.
pub(super) fn reason(status: &Status) -> String {
    match status.get_details_error_info() {
        Some(info) => info.reason,
        None => format!("{:?}", status.code()),
    }
}

/// A refusal as one line, and one more for each bad field.
fn told(status: &Status) -> String {
    let reason = reason(status);
    if status.code() == Code::Unimplemented {
        return format!("the node does not serve that: it has another role ({reason})");
    }
    if status.code() == Code::Unauthenticated {
        let hint = "--token-file or ORDERLOG_TOKEN says which one to show";
        return format!("{} ({reason})\n{hint}", cause(status));
    }
    let violations = status
        .get_details_bad_request()
        .map(|request| request.field_violations)
        .unwrap_or_default();
    if violations.is_empty() {
        return format!("{} ({reason})", cause(status));
    }
    violations.iter().fold(
        format!("the request breaks rules ({reason})"),
        |told, violation| format!("{told}\n  {} {}", violation.field, violation.description),
    )
}

/// What a status says, with the innermost error behind it if it was made on this side.
pub(super) fn cause(status: &Status) -> String {
    match status.source().map(innermost) {
        Some(source) => format!("{}: {source}", status.message()),
        None => status.message().to_owned(),
    }
}

/// The innermost error, which says most.
pub(super) fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

#[cfg(test)]
mod tests {
    use wire::{Error, Violation};

    use super::*;

    #[test]
    fn a_refusal_tells_message_and_reason_or_each_bad_field() {
        let gone = Error::NotFound(wire::Resource::Order, "o-1".into());
        assert_eq!(
            Failure::from(Status::from(gone)).to_string(),
            "there is no order o-1 (ORDER_NOT_FOUND)"
        );
        let violation = |field: &str| Violation {
            field: field.into(),
            rule: "is wrong".into(),
        };
        let bad = Error::InvalidFields(vec![violation("a"), violation("b")]);
        assert_eq!(
            Failure::from(Status::from(bad)).to_string(),
            "the request breaks rules (INVALID_FIELD)\n  a is wrong\n  b is wrong"
        );
        assert_eq!(
            Failure::from(Status::internal("broken")).to_string(),
            "broken (Internal)"
        );
    }
}
