//! Streams that outlive their connection: what is worth another try, and when.

use std::{error::Error as _, time::Duration};

use tokio::time::{self, Instant};
use tonic::{Code, Status};

use super::{Failure, failure::cause};

const SHORTEST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Why a stream ended before its time.
#[derive(Debug)]
pub(super) enum Interruption {
    /// The server is away, or overloaded: it is worth another try.
    Transient(String),
    /// Trying again would not help.
    Final(Failure),
}

impl Interruption {
    /// The server ended a stream that was to go on.
    pub(super) fn ended() -> Self {
        Self::Transient("the server ended the stream".to_owned())
    }
}

impl From<Status> for Interruption {
    fn from(status: Status) -> Self {
        // A status with a source was made on this side, because the connection broke.
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

/// The pauses between tries: each twice as long as the one before, up to a limit.
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

    /// Notes a success: the next pause is short again.
    pub(super) fn succeeded(&mut self) {
        *self = Self::new();
    }

    /// Notes a failure; true if it is the first since the last success.
    pub(super) fn failed(&mut self) -> bool {
        let first = self.failing_since.is_none();
        self.failing_since.get_or_insert_with(Instant::now);
        first
    }

    /// For how long there has been no success.
    pub(super) fn failing_for(&self) -> Duration {
        self.failing_since
            .map_or(Duration::ZERO, |since| since.elapsed())
    }

    pub(super) async fn pause(&mut self) {
        time::sleep(self.lengthen()).await;
    }

    /// The pause that is due; the one after it will be longer.
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
