//! Exponential backoff after failures.

use std::{error::Error, time::Duration};

use read_model::progress::Progress;
use tokio_util::sync::CancellationToken;

/// Delay after the first failure.
const MIN_DELAY: Duration = Duration::from_millis(100);

/// Upper bound of the delay.
const MAX_DELAY: Duration = Duration::from_secs(2);

/// The delays after consecutive failures: each is twice the previous one, up to [`MAX_DELAY`].
#[derive(Debug)]
pub(crate) struct Backoff {
    delay: Duration,
}

impl Backoff {
    pub(crate) fn new() -> Self {
        Self { delay: MIN_DELAY }
    }

    /// Starts with [`MIN_DELAY`] again, after a success.
    pub(crate) fn reset(&mut self) {
        self.delay = MIN_DELAY;
    }

    /// Returns the delay after the failure that just happened.
    pub(crate) fn next_delay(&mut self) -> Duration {
        let delay = self.delay;
        self.delay = MAX_DELAY.min(delay * 2);
        delay
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
