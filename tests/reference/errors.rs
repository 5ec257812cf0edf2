//! Generates `docs/reference/errors.md`, with every error, from `wire::catalogue` and its statuses.

use std::fmt::Write as _;

use tonic::{Code, Status};
use tonic_types::StatusExt as _;

const OPENING: &str = "# Errors

`tests/reference` makes this page from `crates/wire/src/catalogue.rs`. Change that, then run
`UPDATE_REFERENCE=1 cargo test --test reference`.

Every error of orderlog is a `google.rpc.Status` with a `google.rpc.ErrorInfo`: its `domain` is
`orders.v1`, its `reason` is in this table. gRPC sends the status in the trailer
`grpc-status-details-bin`. The gRPC layer rejects some calls itself, without an `ErrorInfo`: a compressed
message, for example, ends with UNIMPLEMENTED.

Which errors are worth a retry:

- **Retry** UNAVAILABLE, and RESOURCE_EXHAUSTED with a `RetryInfo`, with backoff and with the same
  `request_id`. Treat a lost connection, a timeout of your own and the reason `DEADLINE_EXCEEDED` the
  same way.
- **Renew the token** after UNAUTHENTICATED, then retry.
- **Do not retry** the others unchanged: the answer stays the same.

After UNAVAILABLE the outcome of a command is unknown. The same `request_id` finds out: the command takes
effect once, and the reply is the original one.

| reason | gRPC code | details | case | next step |
|---|---|---|---|---|
";

pub(crate) fn page() -> String {
    let mut page = OPENING.to_owned();
    for explained in wire::catalogue() {
        let status = Status::from(explained.sample.clone());
        writeln!(
            page,
            "| `{}` | {} | {} | {} | {} |",
            explained.sample.reason(),
            name(status.code()),
            details(&status),
            explained.case,
            explained.next_step,
        )
        .unwrap();
    }
    page
}

/// Returns the name of a code in the gRPC specification: `FailedPrecondition` becomes
/// `FAILED_PRECONDITION`.
fn name(code: Code) -> String {
    let mut name = String::new();
    for char in format!("{code:?}").chars() {
        if char.is_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(char.to_ascii_uppercase());
    }
    name
}

/// Returns the detail messages other than the reason, and the keys of `ErrorInfo.metadata`.
fn details(status: &Status) -> String {
    let details = status.get_error_details();
    let messages = [
        (details.bad_request().is_some(), "BadRequest"),
        (details.resource_info().is_some(), "ResourceInfo"),
        (
            details.precondition_failure().is_some(),
            "PreconditionFailure",
        ),
        (details.retry_info().is_some(), "RetryInfo"),
    ];
    let messages = messages.into_iter().filter(|(is_there, _)| *is_there);
    let mut parts: Vec<_> = messages.map(|(_, name)| format!("`{name}`")).collect();
    let info = details.error_info().unwrap();
    let mut keys: Vec<_> = info.metadata.keys().map(|key| format!("`{key}`")).collect();
    keys.sort_unstable();
    if !keys.is_empty() {
        parts.push(format!("metadata {}", keys.join(", ")));
    }
    parts.join("; ")
}
