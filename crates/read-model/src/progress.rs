//! The progress of a projection: its position, the head of its source, and its last error.

use std::time::Instant;

use tokio::sync::watch;

/// Holds the newest report of a projection. The projection writes it; others read it or wait for
/// it.
#[derive(Debug, Clone)]
pub struct Progress {
    report: watch::Sender<Report>,
}

/// A projection's progress at one moment.
#[derive(Debug, Clone)]
pub struct Report {
    /// The position up to which the projection has read the log.
    pub position: u64,
    /// The position up to which answers are complete: they include every change at or below it.
    ///
    /// The search index receives each order only in its newest state. While it catches up,
    /// `position` therefore passes changes that arrive later, and `answers` stays behind.
    pub answers: u64,
    /// The position up to which orders show their new names. The search index may show a name later
    /// than `answers` says.
    pub names: u64,
    /// The newest log position known to the projection.
    pub head: u64,
    /// The head at the first call of [`Progress::record_position`]. Once `answers` is here, the
    /// projection has caught up with the events from before its start. `None` before that call.
    pub initial_head: Option<u64>,
    /// The last time the projection was known to be at the head; initially its start.
    pub at_head: Instant,
    /// The generation of the read model that the projection writes.
    pub generation: u64,
    /// The log that the projection follows; empty while unknown.
    pub log_id: String,
    /// The histories by which the index and the documents name the history of the log that both are
    /// made from. `None` while the index is not known to be of the documents' history.
    pub shared: Option<SharedHistory>,
    /// The error that stops the projection, if any.
    pub error: Option<String>,
}

/// The names of one history of the log: the process that makes a read model chooses one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedHistory {
    /// The name in the checkpoint of the index.
    pub index: String,
    /// The name in the checkpoint of the documents.
    pub documents: String,
}

/// The positions of [`Report`] that a projection has reached.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reached {
    /// See [`Report::position`].
    pub position: u64,
    /// See [`Report::answers`].
    pub answers: u64,
    /// See [`Report::names`].
    pub names: u64,
}

impl Reached {
    /// Returns the positions of a projection that has reached this one in every way.
    #[must_use]
    pub fn all(position: u64) -> Self {
        Self {
            position,
            answers: position,
            names: position,
        }
    }
}

impl Progress {
    /// Creates the progress of a projection that starts at `position`.
    #[must_use]
    pub fn new(log_id: String, position: u64, generation: u64) -> Self {
        let report = Report {
            position,
            answers: position,
            names: position,
            head: position,
            initial_head: None,
            at_head: Instant::now(),
            generation,
            log_id,
            shared: None,
            error: None,
        };
        Self {
            report: watch::Sender::new(report),
        }
    }

    /// Returns the newest report.
    #[must_use]
    pub fn report(&self) -> Report {
        self.report.borrow().clone()
    }

    /// Returns a receiver of every later report.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Report> {
        self.report.subscribe()
    }

    /// Waits, without a timeout, until `answers` reaches `position`.
    pub async fn wait_for(&self, position: u64) {
        let mut report = self.report.subscribe();
        // `self` holds the sender, so the channel stays open.
        let _ = report.wait_for(|report| report.answers >= position).await;
    }

    /// Waits, without a timeout, until `answers` and `names` reach `position`.
    pub async fn wait_for_names(&self, position: u64) {
        let mut report = self.report.subscribe();
        let reached = |report: &Report| report.answers.min(report.names) >= position;
        // `self` holds the sender, so the channel stays open.
        let _ = report.wait_for(reached).await;
    }

    /// Waits, without a timeout, until `answers` reaches `initial_head`, and returns
    /// `initial_head`.
    pub async fn wait_until_caught_up(&self) -> u64 {
        let mut report = self.report.subscribe();
        let up = |report: &Report| {
            report
                .initial_head
                .is_some_and(|initial_head| report.answers >= initial_head)
        };
        // `self` holds the sender, so the channel stays open.
        report
            .wait_for(up)
            .await
            .ok()
            .and_then(|up| up.initial_head)
            .unwrap_or_default()
    }

    /// Records a new head. A projection that was at the previous head was there until now.
    pub fn record_head(&self, head: u64) {
        self.report.send_modify(|report| {
            if report.position >= report.head {
                report.at_head = Instant::now();
            }
            // The head rises even if the projection does not get there: `at_head` then keeps this
            // moment.
            report.head = report.head.max(head);
        });
    }

    /// Records the log, the positions and the head, and clears the error.
    pub fn record_position(&self, log_id: &str, reached: Reached, head: u64) {
        self.report.send_modify(|report| {
            if report.log_id != log_id {
                log_id.clone_into(&mut report.log_id);
            }
            let position = reached.position;
            report.position = position;
            report.answers = reached.answers;
            report.names = reached.names;
            report.head = head.max(position);
            report.initial_head.get_or_insert(report.head);
            if position >= head {
                report.at_head = Instant::now();
            }
            report.error = None;
        });
    }

    /// Records that the index and the documents are made from the same history of the log, or that
    /// this is not known.
    pub fn record_shared(&self, shared: Option<SharedHistory>) {
        self.report.send_if_modified(|report| {
            let is_new = report.shared != shared;
            report.shared = shared;
            is_new
        });
    }

    /// Records that the projection begins again at the start of the log, in a new generation.
    pub fn start_over(&self, generation: u64) {
        self.report.send_modify(|report| {
            report.position = 0;
            report.answers = 0;
            report.names = 0;
            report.head = 0;
            report.initial_head = None;
            report.generation = generation;
        });
    }

    /// Records the generation that the projection writes from now on.
    pub fn record_generation(&self, generation: u64) {
        self.report
            .send_modify(|report| report.generation = generation);
    }

    /// Records the error that stops the projection.
    pub fn record_error(&self, error: &str) {
        self.report
            .send_modify(|report| report.error = Some(error.to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lag_counts_from_the_first_head_that_the_projection_did_not_reach() {
        let progress = Progress::new("log".into(), 7, 1);
        let started = progress.report().at_head;
        progress.record_head(8);
        let record_head = progress.report().at_head;
        assert!(record_head > started);
        progress.record_head(8);
        assert_eq!(
            progress.report().at_head,
            record_head,
            "it did not get there"
        );
        progress.record_position("log", Reached::all(8), 9);
        progress.record_head(9);
        assert_eq!(
            progress.report().at_head,
            record_head,
            "it is behind already"
        );
    }
}
