//! The audit trail: log lines about refused calls and operators' actions.

use std::{
    net::SocketAddr,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// The target of the lines, by which a log pipeline finds them.
const TARGET: &str = "audit";

/// Maximum number of lines about refused calls in an [`INTERVAL`]. Strangers could fill the disk
/// otherwise.
const MAX_LINES: u32 = 20;

const INTERVAL: Duration = Duration::from_secs(1);

/// Writes the audit trail. The lines have the fields `actor`, `method` and `peer`.
#[derive(Debug)]
pub(crate) struct Audit(Mutex<Written>);

/// The lines about refused calls in the current interval.
#[derive(Debug)]
struct Written {
    since: Instant,
    lines: u32,
    left_out: u64,
}

impl Audit {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Written {
            since: Instant::now(),
            lines: 0,
            left_out: 0,
        }))
    }

    /// Records a refused call. `actor` is known if only a role is missing.
    pub(crate) fn refused(
        &self,
        actor: Option<&str>,
        method: &str,
        peer: Option<SocketAddr>,
        reason: &str,
    ) {
        let Some(left_out) = self.admits(Instant::now()) else {
            return;
        };
        let peer = peer.map(tracing::field::display);
        let left_out = (left_out > 0).then_some(left_out);
        tracing::warn!(target: TARGET, actor, method, peer, reason, left_out, "a call is refused");
    }

    /// Records an operator's call.
    pub(crate) fn operated(&self, actor: Option<&str>, method: &str, peer: Option<SocketAddr>) {
        let peer = peer.map(tracing::field::display);
        tracing::info!(target: TARGET, actor, method, peer, "an operator calls");
    }

    /// Returns whether another line may be written now, with the number of lines left out before it.
    fn admits(&self, now: Instant) -> Option<u64> {
        let mut written = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if now.duration_since(written.since) >= INTERVAL {
            written.since = now;
            written.lines = 0;
        }
        if written.lines == MAX_LINES {
            written.left_out += 1;
            return None;
        }
        written.lines += 1;
        Some(std::mem::take(&mut written.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_left_out_and_counted_when_there_are_too_many() {
        let audit = Audit::new();
        let now = Instant::now();
        let admitted = (0..100).filter(|_| audit.admits(now).is_some()).count();
        assert_eq!(admitted, 20);
        assert_eq!(audit.admits(now + INTERVAL), Some(80));
        assert_eq!(audit.admits(now + INTERVAL), Some(0));
    }
}
