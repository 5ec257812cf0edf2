//! Fuzzes requests as the server handles them: decoded, checked and, for a command, decided and
//! projected.
//!
//! The first byte selects the request type of the rest: `s` is `SearchOrders`, `w` is `WatchOrders`
//! and `e` is `Subscribe`. Any other byte selects a command of `ExecuteCommands`.

#![no_main]

mod command;
mod query;

use libfuzzer_sys::fuzz_target;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;
use wire::Error;

fuzz_target!(|data: &[u8]| {
    let Some((kind, bytes)) = data.split_first() else {
        return;
    };
    match kind {
        b's' => query::search(bytes),
        b'w' => query::watch(bytes),
        b'e' => query::subscribe(bytes),
        _ => command::execute(bytes),
    }
});

/// Checks that an error names a field and its rule, in headers of less than 8 KiB that every client
/// accepts.
pub(crate) fn is_told(error: Error) {
    let Error::InvalidFields(violations) = &error else {
        panic!("{error:?}")
    };
    assert!(!violations.is_empty());
    for violation in violations {
        assert!(!violation.field.is_empty() && !violation.rule.is_empty());
    }
    let status = Status::from(error);
    assert_eq!(status.code(), Code::InvalidArgument);
    let details = status.get_error_details();
    let told = details.bad_request().expect("is told");
    assert!(!told.field_violations.is_empty());
    let headers = status.into_http::<()>().headers().clone();
    let size: usize = headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len())
        .sum();
    assert!(size < 8192, "{size}");
}
