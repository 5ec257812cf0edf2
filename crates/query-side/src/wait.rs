//! Reading your own writes: a query waits until the read model reaches a position.

use std::time::Duration;

use prost_types::Duration as Given;
use tokio::time::{Instant, timeout_at};
use wire::{Error, Violations};

/// Default time that a query waits.
const DEFAULT_WAIT: Duration = Duration::from_secs(5);

/// Maximum time that a query waits. Longer requests are shortened to it.
const MAX_WAIT: Duration = Duration::from_secs(30);

/// The position that a query waits for, and its deadline.
#[derive(Debug, Clone, Copy)]
pub struct Wait {
    /// The log position that the read model must reach.
    pub position: u64,
    /// End of the wait.
    pub deadline: Instant,
}

impl Wait {
    /// Validates `min_position` and `max_wait`. The time starts now.
    #[must_use]
    pub fn new(min_position: u64, max_wait: Option<Given>, violations: &mut Violations) -> Self {
        let wait = max_wait.map_or(Some(DEFAULT_WAIT), duration);
        violations.check(wait.is_some(), "max_wait", "must not be negative");
        let wait = wait.unwrap_or(DEFAULT_WAIT).min(MAX_WAIT);
        Self {
            position: min_position,
            deadline: Instant::now() + wait,
        }
    }

    /// Waits for `reached` until the deadline.
    ///
    /// # Errors
    /// [`Error::ReadModelBehind`] with the present `position`, if the deadline passes.
    pub(crate) async fn until(
        self,
        reached: impl Future<Output = ()>,
        position: impl FnOnce() -> u64,
    ) -> Result<(), Error> {
        timeout_at(self.deadline, reached)
            .await
            .map_err(|_| Error::ReadModelBehind {
                awaited: "min_position",
                wanted: self.position,
                position: position(),
            })
    }
}

/// Converts a duration, or returns `None` if it is negative. The conversion of `prost_types`
/// overflows on the most negative values.
fn duration(given: Given) -> Option<Duration> {
    let seconds = given.seconds.try_into().ok()?;
    let nanos = given.nanos.try_into().ok()?;
    Some(Duration::new(seconds, nanos))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn edge() -> impl Strategy<Value = i64> {
        prop_oneof![Just(i64::MIN), Just(i64::MAX), -100..100_i64, any::<i64>()]
    }

    proptest! {
        #[test]
        fn every_max_wait_is_bounded_or_rejected(seconds in edge(), nanos: i32) {
            let mut violations = Violations::default();
            let before = Instant::now();
            let wait = Wait::new(7, Some(Given { seconds, nanos }), &mut violations);
            prop_assert_eq!(violations.finish().is_err(), seconds < 0 || nanos < 0);
            prop_assert!(wait.deadline >= before);
            prop_assert!(wait.deadline <= Instant::now() + MAX_WAIT);
        }
    }
}
