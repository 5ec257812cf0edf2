//! The progress of a projection: its position, the head it has heard of, and its last error.

use std::time::Instant;

use tokio::sync::watch;

/// How far a projection is: written by it, read by whoever asks or waits.
#[derive(Debug, Clone)]
pub struct Progress {
    report: watch::Sender<Report>,
}

/// What is known of a projection.
#[derive(Debug, Clone)]
pub struct Report {
    /// How far it has worked through the log.
    pub position: u64,
    /// The position it answers from: everything up to there is as it was then, or newer. The search
    /// index is brought the newest state of each order where that came about, so on the way its
    /// `position` passes changes that are still to come.
    pub answers: u64,
    /// The newest log position it has heard of.
    pub head: u64,
    /// The first one it has heard of: only when it is there it has made up for the time in which it
    /// did not run. `None` until it has heard of any.
    pub goal: Option<u64>,
    /// When it was last known to be at the head; at first, when it started.
    pub at_head: Instant,
    /// Which build of the read model it works on.
    pub generation: u64,
    /// The log it follows; empty until that is known.
    pub log_id: String,
    /// What keeps it from going on, if anything does.
    pub error: Option<String>,
}

impl Progress {
    /// Of a projection that starts at a position.
    #[must_use]
    pub fn new(log_id: String, position: u64, generation: u64) -> Self {
        let report = Report {
            position,
            answers: position,
            head: position,
            goal: None,
            at_head: Instant::now(),
            generation,
            log_id,
            error: None,
        };
        Self {
            report: watch::Sender::new(report),
        }
    }

    /// How far it is now.
    #[must_use]
    pub fn report(&self) -> Report {
        self.report.borrow().clone()
    }

    /// Every report from now on.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Report> {
        self.report.subscribe()
    }

    /// Waits until it answers from a position, for as long as that takes.
    pub async fn wait_for(&self, position: u64) {
        let mut report = self.report.subscribe();
        // The sender is ours: it is not gone before.
        let _ = report.wait_for(|report| report.answers >= position).await;
    }

    /// Waits until it has made up for the time in which it did not run; returns the position at
    /// which that was.
    pub async fn made_up(&self) -> u64 {
        let mut report = self.report.subscribe();
        let up = |report: &Report| report.goal.is_some_and(|goal| report.answers >= goal);
        // The sender is ours: it is not gone before.
        report
            .wait_for(up)
            .await
            .ok()
            .and_then(|up| up.goal)
            .unwrap_or_default()
    }

    /// What it follows has moved on to a head: if it was at the one before, it was so until now.
    pub fn heard(&self, head: u64) {
        self.report.send_modify(|report| {
            if report.position >= report.head {
                report.at_head = Instant::now();
            }
            // Also where it does not get there: then this was the last time that it was at the head.
            report.head = report.head.max(head);
        });
    }

    /// It is at a position of a log whose head is at another, and answers from a third; and so it
    /// goes on.
    pub fn reached(&self, log_id: &str, position: u64, answers: u64, head: u64) {
        self.report.send_modify(|report| {
            if report.log_id != log_id {
                log_id.clone_into(&mut report.log_id);
            }
            report.position = position;
            report.answers = answers;
            report.head = head.max(position);
            report.goal.get_or_insert(report.head);
            if position >= head {
                report.at_head = Instant::now();
            }
            report.error = None;
        });
    }

    /// It works on another build from now on.
    pub fn is_of(&self, generation: u64) {
        self.report
            .send_modify(|report| report.generation = generation);
    }

    /// Something keeps it from going on.
    pub fn failed(&self, error: &str) {
        self.report
            .send_modify(|report| report.error = Some(error.to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_was_at_the_head_until_it_heard_of_more_is_behind_since_then_only() {
        let progress = Progress::new("log".into(), 7, 1);
        let started = progress.report().at_head;
        progress.heard(8);
        let heard = progress.report().at_head;
        assert!(heard > started);
        progress.heard(8);
        assert_eq!(progress.report().at_head, heard, "it did not get there");
        progress.reached("log", 8, 8, 9);
        progress.heard(9);
        assert_eq!(progress.report().at_head, heard, "it is behind already");
    }
}
