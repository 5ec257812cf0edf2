//! Retries of broken streams: decides which errors to retry, and after which backoff.

use std::{error::Error as _, time::Duration};

use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};
use tokio::time::{self, Instant};
use tonic::{Code, Status};

use super::{Failure, failure::cause};

/// Upper bound of the delay.
const MAX_DELAY: Duration = Duration::from_secs(5);

/// The delays after consecutive failures: each is twice the previous one, up to [`MAX_DELAY`].
const DELAYS: ExponentialBuilder = ExponentialBuilder::new()
    .with_min_delay(Duration::from_millis(100))
    .with_max_delay(MAX_DELAY)
    .without_max_times();

/// The reason why a stream ended early.
#[derive(Debug)]
pub(super) enum Interruption {
    /// The server is unavailable or overloaded, or the connection broke: a retry may succeed.
    Transient(String),
    /// A retry would fail in the same way.
    Final(Failure),
}

impl Interruption {
    /// Returns the interruption for a stream that the server ended, although it should continue.
    pub(super) fn ended() -> Self {
        Self::Transient("the server ended the stream".to_owned())
    }
}

impl From<Status> for Interruption {
    fn from(status: Status) -> Self {
        // A status with a source is the client's own, because the connection broke.
        let transient = matches!(
            status.code(),
            Code::Unavailable | Code::ResourceExhausted | Code::Cancelled | Code::Unknown
        ) || status.source().is_some();
        if transient {
            Self::Transient(cause(&status))
        } else {
            Self::Final(status.into())
        }
    }
}

impl From<Failure> for Interruption {
    fn from(failure: Failure) -> Self {
        Self::Final(failure)
    }
}

/// The delay after the next failure, and the time of the first one.
pub(super) struct Backoff {
    delays: ExponentialBackoff,
    failing_since: Option<Instant>,
}

impl Backoff {
    pub(super) fn new() -> Self {
        Self {
            delays: DELAYS.build(),
            failing_since: None,
        }
    }

    /// Records a success, which resets the delay.
    pub(super) fn succeeded(&mut self) {
        *self = Self::new();
    }

    /// Records a failure. Returns true for the first failure since the last success.
    pub(super) fn failed(&mut self) -> bool {
        let first = self.failing_since.is_none();
        self.failing_since.get_or_insert_with(Instant::now);
        first
    }

    /// Returns the time since the first failure after the last success, or zero without a failure.
    pub(super) fn failing_for(&self) -> Duration {
        self.failing_since
            .map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// Sleeps for the delay after the failure that just happened.
    pub(super) async fn pause(&mut self) {
        // The delays do not end.
        time::sleep(self.delays.next().unwrap_or(MAX_DELAY)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn pauses_grow_up_to_a_limit_and_shrink_with_a_success() {
        let mut backoff = Backoff::new();
        let pause = async |backoff: &mut Backoff| {
            let before = Instant::now();
            backoff.pause().await;
            before.elapsed().as_millis()
        };
        assert!(backoff.failed());
        for expected in [100, 200, 400, 800, 1600, 3200, 5000, 5000] {
            // The clock of tokio rounds up to whole milliseconds.
            let paused = pause(&mut backoff).await;
            assert!((expected..=expected + 1).contains(&paused), "{paused}");
            assert!(!backoff.failed());
        }
        backoff.succeeded();
        assert!(backoff.failed());
        assert_eq!(pause(&mut backoff).await, 100);
    }
}
