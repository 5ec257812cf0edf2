//! Test helpers that need no server.
//!
//! - [`order`] builds valid requests, and a test changes the fields it is about.
//! - [`Proxy`] breaks the network between two parts. [`Interceptor`] triggers an action between an
//!   HTTP call and its answer.
//! - [`postgres`] provides real databases and [`meilisearch`] real search servers. [`buf`] and
//!   [`promtool`] find installed tools.
//! - [`Authority`] issues certificates, and [`Issuer`] signs JWTs.
//! - [`reason`] and [`wrong_fields`] read the details of an error.
//! - [`eventually`] polls a condition until it holds or [`DEADLINE`] passes.

mod authority;
mod double;
mod interceptor;
pub mod meilisearch;
mod methods;
pub mod order;
mod path;
pub mod postgres;
mod proxy;

use std::{fmt, time::Duration};

pub use authority::{Authority, Issuer};
pub use interceptor::Interceptor;
pub use methods::methods;
pub use path::{buf, on_path, promtool};
pub use proxy::Proxy;
use tokio::time::Instant;
use tonic::Status;
use tonic_types::StatusExt as _;

/// Bounds every wait of a test: 60 s, so that a slow machine does not fail it.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// [`eventually`] polls its condition every 2 ms.
const PAUSE: Duration = Duration::from_millis(2);

/// Returns the reason in the error details, or an empty string if there is none.
#[must_use]
pub fn reason(status: &Status) -> String {
    let details = status.get_error_details();
    details
        .error_info()
        .map(|info| info.reason.clone())
        .unwrap_or_default()
}

/// Returns the names of the fields that the error reports as invalid.
#[must_use]
pub fn wrong_fields(status: &Status) -> Vec<String> {
    let details = status.get_error_details();
    let violations = details
        .bad_request()
        .map(|bad| bad.field_violations.as_slice());
    violations
        .unwrap_or_default()
        .iter()
        .map(|violation| violation.field.clone())
        .collect()
}

/// Polls `ask` until it returns `Some`, and returns that value.
///
/// # Panics
/// Panics if `ask` still returns `None` when [`DEADLINE`] passes. The message contains `what`.
pub async fn eventually<T>(what: impl fmt::Display, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < deadline, "in vain: {what}");
        // The sleep leaves the processor to the work that `ask` polls for. The search index, for
        // example, may run only while the machine is otherwise idle.
        tokio::time::sleep(PAUSE).await;
    }
}
