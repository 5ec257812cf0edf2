//! The failure of a command: its message on stderr, and its exit code.

use std::{
    error::Error as _,
    io::{self, ErrorKind},
    process::ExitCode,
};

use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use super::{session::tell, text::printable};
use crate::settings;

/// A reason why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// A setting is invalid.
    #[error(transparent)]
    Setting(#[from] settings::Error),
    /// The server rejected the call, or the stream broke.
    #[error("{}", told(.0))]
    Refused(Box<Status>),
    /// The server may or may not have executed the command. The same request id makes it safe to
    /// send the command once more.
    #[error("{}\nthe same again, with --request-id {request_id}, has one effect only", told(.status))]
    OutcomeUnknown {
        /// The server's status, or the client's own if the connection broke.
        status: Box<Status>,
        /// The request id of the command.
        request_id: String,
    },
    /// The operation failed; one line says why.
    #[error("{0}")]
    Operation(String),
    /// Reading or writing failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The command is not fully done, and has already printed the reason.
    #[error("not all was done")]
    Told,
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        Self::Refused(Box::new(status))
    }
}

impl Failure {
    /// Prints the failure to stderr and returns the exit code: 2 for a setting, 1 for other
    /// failures. A closed stdout is no failure.
    #[must_use]
    pub fn report(&self) -> ExitCode {
        match self {
            // The reader of the output has closed the pipe, as in `orderlog watch | head`.
            Self::Io(error) if error.kind() == ErrorKind::BrokenPipe => return ExitCode::SUCCESS,
            Self::Told => {}
            _ => tell(&format!("error: {self}")),
        }
        match self {
            Self::Setting(_) => ExitCode::from(2),
            _ => ExitCode::FAILURE,
        }
    }
}

/// Returns the reason of an error, such as `ORDER_NOT_FOUND`, or else its gRPC code.
pub(super) fn reason(status: &Status) -> String {
    match status.get_details_error_info() {
        Some(info) => printable(&info.reason),
        None => format!("{:?}", status.code()),
    }
}

/// Formats an error as one line, and one more line for each invalid field.
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
        |told, violation| {
            let line = format!("{} {}", violation.field, violation.description);
            format!("{told}\n  {}", printable(&line))
        },
    )
}

/// Returns the message of a status, followed by the innermost source if the client made the status.
pub(super) fn cause(status: &Status) -> String {
    printable(&match status.source().map(innermost) {
        Some(source) => format!("{}: {source}", status.message()),
        None => status.message().to_owned(),
    })
}

/// Returns the message of the innermost source, which is the most specific one.
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
