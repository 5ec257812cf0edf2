//! Test helpers that need no server.
//!
//! - [`order`] builds valid commands and [`request`] other valid requests. A test changes the
//!   fields it is about.
//! - [`Proxy`] breaks the network between two parts. [`Interceptor`] triggers an action between an
//!   HTTP call and its answer.
//! - [`postgres`] provides real databases, also with a standby or behind PgBouncer, and
//!   [`meilisearch`] real search servers. [`buf`] and [`promtool`] find installed tools.
//! - [`Authority`] issues certificates, and [`Issuer`] signs JWTs.
//! - [`sqlite`] opens the files of a node, for example to corrupt them.
//! - [`assert_reference`] keeps a page of `docs/reference` current.
//! - [`assert_refused`], [`assert_invalid_fields`] and [`assert_error`] check the error of a call.
//! - [`wait_until`] and [`eventually`] poll a condition until it holds or [`DEADLINE`] passes.

mod authority;
mod double;
mod interceptor;
pub mod meilisearch;
mod methods;
pub mod order;
mod path;
pub mod postgres;
mod proxy;
mod reference;
pub mod request;
pub mod sqlite;
mod status;

use std::{fmt, time::Duration};

pub use authority::{Authority, Issuer};
pub use double::Refusal;
pub use interceptor::Interceptor;
pub use methods::methods;
pub use path::{buf, on_path, promtool};
pub use proxy::Proxy;
pub use reference::assert_reference;
pub use status::{assert_error, assert_invalid_fields, assert_refused, reason};
use tokio::time::Instant;

/// Bounds every wait of a test: 60 s, so that a slow machine does not fail it.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// [`eventually`] polls its condition every 2 ms.
const POLL_INTERVAL: Duration = Duration::from_millis(2);

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
        assert!(Instant::now() < deadline, "not within {DEADLINE:?}: {what}");
        // The sleep leaves the processor to the work that `ask` polls for. The search index, for
        // example, may run only while the machine is otherwise idle.
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// Polls `holds` until it returns true.
///
/// # Panics
/// Panics if `holds` still returns false when [`DEADLINE`] passes. The message contains `what`.
pub async fn wait_until(what: impl fmt::Display, mut holds: impl AsyncFnMut() -> bool) {
    eventually(what, async || holds().await.then_some(())).await;
}
