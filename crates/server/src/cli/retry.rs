//! Retries of broken streams: decides which errors to retry, and after which backoff.

use std::{error::Error as _, time::Duration};

use tokio::time::{self, Instant};
use tonic::{Code, Status};

use super::{Failure, failure::cause};

const SHORTEST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

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

/// Exponential backoff: each delay is twice the previous one, from [`SHORTEST_PAUSE`] up to
/// [`LONGEST_PAUSE`].
pub(super) struct Backoff {
    next: Duration,
    failing_since: Option<Instant>,
}

impl Backoff {
    pub(super) fn new() -> Self {
        Self {
            next: SHORTEST_PAUSE,
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

    pub(super) async fn pause(&mut self) {
        time::sleep(self.lengthen()).await;
    }

    /// Returns the delay that is due and doubles the next one, up to [`LONGEST_PAUSE`].
    fn lengthen(&mut self) -> Duration {
        let pause = self.next;
        self.next = LONGEST_PAUSE.min(pause * 2);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_a_limit_and_shrink_with_a_success() {
        let mut backoff = Backoff::new();
        assert!(backoff.failed());
        assert!(!backoff.failed());
        let pauses = [(); 8].map(|()| backoff.lengthen().as_millis());
        assert_eq!(pauses, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        backoff.succeeded();
        assert!(backoff.failed());
        assert_eq!(backoff.lengthen(), SHORTEST_PAUSE);
    }
}
