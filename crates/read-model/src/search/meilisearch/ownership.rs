//! Tracks the owner of the index, and damage by other writers.
//!
//! An epoch is at least the time of its claim, in milliseconds since 1970. A wiped or restored
//! index has lost later epochs, and the next claim must still be newer than all of them.

use std::time::{Duration, SystemTime};

use uuid::Uuid;

/// Returns the time as the minimum of a new epoch. The time stays below 2^53 for a long time, and
/// is thus exact as a double.
pub(super) fn now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let milliseconds = since.as_ref().map_or(0, Duration::as_millis);
    u64::try_from(milliseconds).unwrap_or(0)
}

/// The state of this process as a writer.
#[derive(Debug, Clone, Default)]
pub(super) struct Ownership {
    /// The name under which this process writes, the same in every index.
    name: String,
    /// The log that this process indexes; `None` before the first claim or checkpoint.
    pub(super) log_id: Option<String>,
    /// The epoch of the claim; `None` without a claim.
    claim: Option<u64>,
    /// An epoch that the claim must exceed.
    min_epoch: u64,
    /// The newest task of this process, which its next task must follow directly.
    pub(super) last: Option<u32>,
    /// The time at which the server created the index.
    pub(super) created: String,
    /// The lowest position at which this process claimed the index. An earlier writer had reached
    /// at least this position, so its late tasks contain only documents that changed after it.
    claimed_from: Option<u64>,
    /// The number of tasks that the server may have accepted without a confirmation. With it comes
    /// a position up to which the index was complete before the first of them.
    unconfirmed: Option<(u32, u64)>,
    /// The position from which to rewrite after a foreign task.
    rewind: Option<u64>,
}

/// The owner of an index, as seen by this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    /// This process owns the index, or does not write.
    ThisProcess,
    /// The owner is older than the claim: a process wrote without knowing of it.
    Older,
    /// Another process has claimed the index since.
    Newer,
}

/// The outcome of a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Claim {
    /// Another process has claimed the index since.
    Superseded,
    /// The process continues at the checkpoint.
    Resume,
    /// A foreign task may have overwritten documents: the process continues at this position, if
    /// that is before the checkpoint.
    RewindTo(u64),
}

impl Ownership {
    /// Creates the state of a process without a claim.
    pub(super) fn new() -> Self {
        Self {
            name: Uuid::now_v7().to_string(),
            ..Self::default()
        }
    }

    /// Creates the state for the next generation of this index.
    ///
    /// The claim there must be newer than the one here, so that the writer here stops after the
    /// switch.
    pub(super) fn of_next_generation(&self) -> Self {
        Self {
            name: self.name.clone(),
            log_id: self.log_id.clone(),
            min_epoch: self.claim.unwrap_or(0),
            ..Self::default()
        }
    }

    /// Compares the checkpoint's owner with this process. Drops the claim if another process has
    /// one at least as new, and records interference by an older one.
    pub(super) fn compare(&mut self, epoch: u64, owner: &str) -> Owner {
        match self.claim {
            Some(_) if self.name == owner => Owner::ThisProcess,
            Some(ours) if epoch >= ours => {
                self.claim = None;
                Owner::Newer
            }
            Some(_) => {
                self.record_interference(false);
                Owner::Older
            }
            None => Owner::ThisProcess,
        }
    }

    pub(super) fn claim(&self) -> Option<(u64, String)> {
        Some((self.claim?, self.name.clone()))
    }

    /// Claims the index from the owner that the checkpoint names.
    pub(super) fn take(&mut self, held: Option<(u64, &str)>, now: u64) -> Claim {
        let (epoch, owner) = held.unwrap_or((0, ""));
        if held.is_some() && self.compare(epoch, owner) == Owner::Newer {
            return Claim::Superseded;
        }
        let newest = epoch.max(self.claim.unwrap_or(0)).max(self.min_epoch);
        self.claim = Some(now.max(newest + 1));
        self.rewind.map_or(Claim::Resume, Claim::RewindTo)
    }

    /// Records that the index contains the claim, at this position.
    pub(super) fn record_claim(&mut self, position: u64) {
        self.rewind = None;
        self.claimed_from = Some(
            self.claimed_from
                .map_or(position, |claimed_from| claimed_from.min(position)),
        );
    }

    /// Records a task sent from this position without a confirmation.
    pub(super) fn record_unconfirmed(&mut self, position: u64) {
        let (count, from) = self.unconfirmed.unwrap_or((0, position));
        self.unconfirmed = Some((count + 1, from.min(position)));
    }

    /// Records a task between two of ours: an unconfirmed one of ours, or one of another process.
    /// `removed` tells whether it may have removed documents.
    pub(super) fn record_interference(&mut self, removed: bool) {
        let to = match self.unconfirmed.take() {
            _ if removed => 0,
            Some((count, from)) => {
                self.unconfirmed = (count > 1).then_some((count - 1, from));
                from
            }
            None => self.claimed_from.unwrap_or(0),
        };
        self.rewind = Some(self.rewind.map_or(to, |earlier| earlier.min(to)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_writer_stops_when_it_finds_a_newer_epoch() {
        let (mut first, mut second) = (Ownership::new(), Ownership::new());
        first.take(None, 10);
        let (epoch, owner) = first.claim().unwrap();
        assert_eq!(second.take(Some((epoch, &owner)), 10), Claim::Resume);
        let (newer, other) = second.claim().unwrap();
        assert!(newer > epoch);
        assert_eq!(first.take(Some((newer, &other)), 10), Claim::Superseded);
        // A late write of the first does not stop the second, which then rewrites.
        assert_eq!(second.compare(epoch, &owner), Owner::Older);
        assert_eq!(second.take(Some((epoch, &owner)), 10), Claim::RewindTo(0));
        assert_eq!(second.compare(newer, &other), Owner::ThisProcess);
    }

    #[test]
    fn g7_a_claim_after_a_wipe_is_newer_than_every_earlier_claim() {
        let (mut lost, mut first) = (Ownership::new(), Ownership::new());
        lost.take(Some((40, "another")), 10);
        let (epoch, owner) = lost.claim().unwrap();
        assert_eq!(epoch, 41);
        first.take(None, 50);
        // The old copy is restored.
        assert_eq!(first.compare(epoch, &owner), Owner::Older);
        assert_eq!(first.take(Some((epoch, &owner)), 51), Claim::RewindTo(0));
        // The epoch of a process never falls, even if its clock does.
        let (before, _) = first.claim().unwrap();
        first.take(None, 3);
        assert!(first.claim().unwrap().0 > before);
    }

    #[test]
    fn interference_of_another_process_rewinds_to_the_claim() {
        let mut owned = Ownership::new();
        owned.take(None, 10);
        owned.record_claim(7);
        owned.record_interference(false);
        let (epoch, owner) = owned.claim().unwrap();
        assert_eq!(owned.take(Some((epoch, &owner)), 10), Claim::RewindTo(7));
        owned.record_claim(7);
        assert_eq!(owned.take(Some((epoch, &owner)), 10), Claim::Resume);
    }

    #[test]
    fn an_unconfirmed_task_rewinds_to_its_position() {
        let mut owned = Ownership::new();
        owned.take(None, 10);
        owned.record_claim(7);
        owned.record_unconfirmed(70);
        owned.record_interference(false);
        let (epoch, owner) = owned.claim().unwrap();
        assert_eq!(owned.take(Some((epoch, &owner)), 10), Claim::RewindTo(70));
    }
}
