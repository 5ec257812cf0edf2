//! What the tests share.
//!
//! [`Server`] is a real one, on a real socket, with a data folder of its own, to be driven through
//! the contract; [`Process`] is one that can be killed, and [`Proxy`] a network that can be cut.
//! [`Authority`] makes
//! certificates, and [`Issuer`] JWTs. [`postgres`] has real databases, [`meilisearch`] real search servers, and [`buf`] a client that
//! knows only what reflection tells it. [`order`] makes requests that are right, for tests to change
//! what they are about.
//! [`reason`] reads what an error tells a client. Waiting is for a condition, with a deadline:
//! [`eventually`].

mod authority;
mod clients;
mod double;
mod interceptor;
pub mod meilisearch;
mod methods;
pub mod order;
mod path;
pub mod postgres;
mod process;
mod proxy;
mod server;

use std::{fmt, time::Duration};

pub use authority::{Authority, Issuer};
pub use clients::Clients;
pub use interceptor::Interceptor;
pub use methods::methods;
pub use path::{buf, on_path, promtool};
pub use process::{Process, command, serve};
pub use proxy::Proxy;
pub use server::{Node, Server};
use tokio::time::Instant;
use tonic::Status;
use tonic_types::StatusExt as _;

/// How long anything may take on a slow machine before a test gives up.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Between two looks at whether something is so.
const PAUSE: Duration = Duration::from_millis(2);

/// The reason in an error's details, or "" if it has none.
#[must_use]
pub fn reason(status: &Status) -> String {
    let details = status.get_error_details();
    details
        .error_info()
        .map(|info| info.reason.clone())
        .unwrap_or_default()
}

/// The fields that an error names as wrong.
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

/// Asks again and again until the answer is `Some`, which is returned.
///
/// # Panics
/// When it is not by the [`DEADLINE`].
pub async fn eventually<T>(what: impl fmt::Display, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < deadline, "in vain: {what}");
        // Not at once: who asks all the time takes the processor from what is waited for, which may
        // run only where nothing else wants one, as the search index does.
        tokio::time::sleep(PAUSE).await;
    }
}
