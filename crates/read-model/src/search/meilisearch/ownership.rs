//! Who writes the index, and what others may have spoilt.
//!
//! An epoch is at least the time of its claim, in milliseconds since 1970. An index that was wiped,
//! or put back to an older copy, tells nothing of the epochs that were claimed since, and the next
//! claim has to be newer than those all the same.

use std::time::{Duration, SystemTime};

use uuid::Uuid;

/// The time, as the least of a new epoch. Below 2^53 for a long time, so exact as a double.
pub(super) fn now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let milliseconds = since.as_ref().map_or(0, Duration::as_millis);
    u64::try_from(milliseconds).unwrap_or(0)
}

/// What this process knows of its writing.
#[derive(Debug, Clone, Default)]
pub(super) struct Ownership {
    /// The name under which this process writes, in whichever index.
    name: String,
    /// The epoch of its claim; `None` before it has claimed the index.
    claim: Option<u64>,
    /// An epoch that its claim has to be beyond.
    least: u64,
    /// Its newest task: the next one of the index is to be its own.
    pub(super) last: Option<u32>,
    /// When the server made the index that it writes to.
    pub(super) created: String,
    /// The position at which it took the index over. Whoever wrote before had come that far at
    /// least, so what it still writes are documents that changed after that.
    floor: Option<u64>,
    /// Tasks of its own that may have been accepted although it was not told so, and a position up to
    /// which all was there before the first of them.
    doubts: Option<(u32, u64)>,
    /// Where to begin again after something else was written in between.
    rewind: Option<u64>,
}

/// Whose an index is that this process has claimed, or never has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Held {
    /// Its own, or it does not write.
    Ours,
    /// As it was before the claim: somebody wrote who did not know of that.
    Before,
    /// Somebody has claimed it since.
    After,
}

impl Ownership {
    /// Of a process that has claimed nothing.
    pub(super) fn new() -> Self {
        Self {
            name: Uuid::now_v7().to_string(),
            ..Self::default()
        }
    }

    /// The same process', of the index beside this one; whose claim is to be newer than the one
    /// here, for whoever writes here is to stop when that takes its place.
    pub(super) fn beside(&self) -> Self {
        Self {
            name: self.name.clone(),
            least: self.claim.unwrap_or(0),
            ..Self::default()
        }
    }

    /// Looks at whom the checkpoint names. Whoever has been superseded has no claim any more.
    pub(super) fn look(&mut self, epoch: u64, owner: &str) -> Held {
        match self.claim {
            Some(_) if self.name == owner => Held::Ours,
            Some(ours) if epoch >= ours => {
                self.claim = None;
                Held::After
            }
            Some(_) => {
                self.interfered(false);
                Held::Before
            }
            None => Held::Ours,
        }
    }

    pub(super) fn claim(&self) -> Option<(u64, String)> {
        Some((self.claim?, self.name.clone()))
    }

    /// Claims the index from whoever the checkpoint names. `None` if that is somebody who has taken
    /// it over from here; else where to begin at the latest, if that is not at the checkpoint.
    pub(super) fn take(&mut self, held: Option<(u64, &str)>, now: u64) -> Option<Option<u64>> {
        let (epoch, owner) = held.unwrap_or((0, ""));
        if held.is_some() && self.look(epoch, owner) == Held::After {
            return None;
        }
        let newest = epoch.max(self.claim.unwrap_or(0)).max(self.least);
        self.claim = Some(now.max(newest + 1));
        Some(self.rewind)
    }

    /// The claim is in the index, at this position.
    pub(super) fn claimed(&mut self, position: u64) {
        self.rewind = None;
        self.floor = Some(self.floor.map_or(position, |floor| floor.min(position)));
    }

    /// A task was sent from this position, and nobody said whether it was accepted.
    pub(super) fn doubt(&mut self, position: u64) {
        let (count, from) = self.doubts.unwrap_or((0, position));
        self.doubts = Some((count + 1, from.min(position)));
    }

    /// Something was written between two tasks: by such a task of ours, or else by another process,
    /// which may have removed what was there.
    pub(super) fn interfered(&mut self, removed: bool) {
        let to = match self.doubts.take() {
            _ if removed => 0,
            Some((count, from)) => {
                self.doubts = (count > 1).then_some((count - 1, from));
                from
            }
            None => self.floor.unwrap_or(0),
        };
        self.rewind = Some(self.rewind.map_or(to, |earlier| earlier.min(to)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_finds_a_newer_epoch_stops() {
        let (mut first, mut second) = (Ownership::new(), Ownership::new());
        first.take(None, 10).unwrap();
        let (epoch, owner) = first.claim().unwrap();
        assert_eq!(second.take(Some((epoch, &owner)), 10), Some(None));
        let (newer, other) = second.claim().unwrap();
        assert!(newer > epoch);
        assert_eq!(first.take(Some((newer, &other)), 10), None);
        // What the first writes late does not stop the second, which writes that again.
        assert_eq!(second.look(epoch, &owner), Held::Before);
        assert_eq!(second.take(Some((epoch, &owner)), 10), Some(Some(0)));
        assert_eq!(second.look(newer, &other), Held::Ours);
    }

    #[test]
    fn g7_whoever_claims_after_a_wipe_is_newer_than_whoever_claimed_before() {
        let (mut lost, mut first) = (Ownership::new(), Ownership::new());
        lost.take(Some((40, "another")), 10).unwrap();
        let (epoch, owner) = lost.claim().unwrap();
        assert_eq!(epoch, 41);
        first.take(None, 50).unwrap();
        // The copy comes back.
        assert_eq!(first.look(epoch, &owner), Held::Before);
        assert_eq!(first.take(Some((epoch, &owner)), 51), Some(Some(0)));
        // A claim of its own never falls, whatever its clock does.
        let (before, _) = first.claim().unwrap();
        first.take(None, 3).unwrap();
        assert!(first.claim().unwrap().0 > before);
    }

    #[test]
    fn what_another_process_wrote_in_between_is_written_again_from_the_claim_on() {
        let mut owned = Ownership::new();
        owned.take(None, 10).unwrap();
        owned.claimed(7);
        owned.interfered(false);
        let (epoch, owner) = owned.claim().unwrap();
        assert_eq!(owned.take(Some((epoch, &owner)), 10), Some(Some(7)));
        owned.claimed(7);
        assert_eq!(owned.take(Some((epoch, &owner)), 10), Some(None));
    }

    #[test]
    fn what_a_task_of_ours_wrote_late_is_written_again_from_its_position_on() {
        let mut owned = Ownership::new();
        owned.take(None, 10).unwrap();
        owned.claimed(7);
        owned.doubt(70);
        owned.interfered(false);
        let (epoch, owner) = owned.claim().unwrap();
        assert_eq!(owned.take(Some((epoch, &owner)), 10), Some(Some(70)));
    }
}
