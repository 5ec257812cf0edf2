use std::time::Duration;

use tokio_util::sync::CancellationToken;

use read_model::progress::Progress;

/// The first pause after a failure.
const SHORTEST: Duration = Duration::from_millis(100);

/// The longest.
const LONGEST: Duration = Duration::from_secs(2);

/// Pauses between attempts, each twice as long as the one before.
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

    /// What it needed was there: the next pause is short again.
    pub(crate) fn succeeded(&mut self) {
        self.pause = SHORTEST;
    }

    /// Tells what failed, and pauses; less long if `stop` comes.
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
        // Stopped or not: the caller looks.
        let _ = stop.run_until_cancelled(tokio::time::sleep(pause)).await;
    }
}
