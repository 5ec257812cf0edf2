//! Exponential backoff of a projection after a failure.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use read_model::progress::Progress;

/// Backoff after the first failure.
const SHORTEST: Duration = Duration::from_millis(100);

/// Upper bound of the backoff.
const LONGEST: Duration = Duration::from_secs(2);

/// Backoff of one projection: each delay is twice the previous one, up to [`LONGEST`].
#[derive(Debug)]
pub(crate) struct Retry {
    name: &'static str,
    pause: Duration,
}

impl Retry {
    pub(crate) fn new(name: &'static str) -> Self {
        Self {
            name,
            pause: SHORTEST,
        }
    }

    /// Resets the backoff to [`SHORTEST`] after a success.
    pub(crate) fn succeeded(&mut self) {
        self.pause = SHORTEST;
    }

    /// Logs the error, reports it to `progress`, and sleeps for the current backoff. Returns early
    /// if `stop` is cancelled.
    pub(crate) async fn after(
        &mut self,
        error: &(dyn std::error::Error + Sync),
        progress: &Progress,
        stop: &CancellationToken,
    ) {
        tracing::warn!(projection = self.name, %error, pause = ?self.pause, "failed, will try again");
        progress.failed(&error.to_string());
        let pause = self.pause;
        self.pause = LONGEST.min(pause * 2);
        // Ignores whether `stop` ended the sleep: the caller checks `stop` itself.
        let _ = stop.run_until_cancelled(tokio::time::sleep(pause)).await;
    }
}
