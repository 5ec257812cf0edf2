//! Checks of the errors that a server returns.

use std::fmt::Debug;

use tonic::{Code, Status};
use tonic_types::StatusExt as _;

/// Returns the reason in the error details, or an empty string if there is none.
#[must_use]
pub fn reason(status: &Status) -> String {
    let info = status.get_details_error_info();
    info.map(|info| info.reason).unwrap_or_default()
}

/// Asserts that the server refused a call with this code and reason, and returns the error.
///
/// # Panics
/// Panics if the call succeeded, or failed in another way.
#[track_caller]
pub fn assert_refused<T: Debug>(result: Result<T, Status>, code: Code, reason: &str) -> Status {
    let status = result.expect_err("the server refuses the call");
    assert_error(&status, code, reason);
    status
}

/// Asserts that an error has this code and reason.
///
/// # Panics
/// Panics if the code or the reason differs.
#[track_caller]
pub fn assert_error(status: &Status, code: Code, reason: &str) {
    let found = (status.code(), self::reason(status));
    assert_eq!(found, (code, reason.to_owned()), "{status:?}");
}

/// Asserts that the server refused a call with `INVALID_FIELD` for exactly these fields, in this
/// order.
///
/// # Panics
/// Panics if the call succeeded, or failed in another way.
#[track_caller]
pub fn assert_invalid_fields<T: Debug>(result: Result<T, Status>, fields: &[&str]) {
    let status = assert_refused(result, Code::InvalidArgument, "INVALID_FIELD");
    let details = status.get_details_bad_request().unwrap();
    let named: Vec<_> = details
        .field_violations
        .iter()
        .map(|violation| violation.field.as_str())
        .collect();
    assert_eq!(named, fields);
}
