//! Exponential backoff after failures.

use std::{error::Error, time::Duration};

use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};
use read_model::progress::Progress;
use tokio_util::sync::CancellationToken;

/// Upper bound of the delay.
const MAX_DELAY: Duration = Duration::from_secs(2);

/// The delays after consecutive failures: each is twice the previous one, up to [`MAX_DELAY`].
const DELAYS: ExponentialBuilder = ExponentialBuilder::new()
    .with_min_delay(Duration::from_millis(100))
    .with_max_delay(MAX_DELAY)
    .without_max_times();

/// The delay after the next failure.
#[derive(Debug)]
pub(crate) struct Backoff(ExponentialBackoff);

impl Backoff {
    pub(crate) fn new() -> Self {
        Self(DELAYS.build())
    }

    /// Starts with the shortest delay again, after a success.
    pub(crate) fn reset(&mut self) {
        *self = Self::new();
    }

    /// Returns the delay after the failure that just happened.
    pub(crate) fn next_delay(&mut self) -> Duration {
        // The delays do not end.
        self.0.next().unwrap_or(MAX_DELAY)
    }

    /// Logs the error of a projection, records it in the progress, and sleeps for the delay.
    /// Returns early if `stop` is cancelled.
    pub(crate) async fn after_failure(
        &mut self,
        projection: &'static str,
        error: &(dyn Error + Sync),
        progress: &Progress,
        stop: &CancellationToken,
    ) {
        let delay = self.next_delay();
        tracing::warn!(projection, %error, ?delay, "the projection failed and is retried");
        progress.record_error(&error.to_string());
        // Ignores whether `stop` ended the sleep: the caller checks `stop` itself.
        let _ = stop.run_until_cancelled(tokio::time::sleep(delay)).await;
    }
}
