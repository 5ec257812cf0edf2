//! The one writer: takes all commands that wait, decides them, commits once, answers all.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use event_log::{Batch, Encoder, Error, sqlite::Appender};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot, watch};
use wire::Error as Refusal;

use crate::{
    batch::{Decider, Outcome, needs},
    command::Command,
    store_error,
    tail::Tail,
};

/// Commands that wait at most; past that, calls are refused.
pub(crate) const QUEUE: usize = 2048;

/// Commands that are committed together at most.
const MOST: usize = 512;

/// How often a store that failed is asked whether it is back.
const PROBE: Duration = Duration::from_secs(1);

/// The answer to a command: what it came to, at which position.
pub(crate) type Answer = Result<(Outcome, u64), Refusal>;

/// A command that waits to be decided.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) command: Command,
    pub(crate) answer: oneshot::Sender<Answer>,
    /// A place among the commands in flight on streams, given back when this one is answered.
    pub(crate) permit: Option<OwnedSemaphorePermit>,
}

/// Decides and appends.
#[derive(Debug)]
pub struct Writer {
    pub(crate) jobs: mpsc::Receiver<Job>,
    pub(crate) appender: Appender,
    pub(crate) tail: Arc<Tail>,
    /// Whether the store answered last time.
    pub(crate) available: watch::Sender<bool>,
    /// False while commands come that were answered before, as when an import runs again.
    pub(crate) hopeful: bool,
}

/// The position of a batch's first event, and what each command came to.
type Committed = (u64, Vec<Result<Outcome, Refusal>>);

/// Now, in nanoseconds since 1970.
pub(crate) fn now() -> i64 {
    let elapsed = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(elapsed.as_nanos()).unwrap_or(i64::MAX)
}

impl Writer {
    /// Works until nobody can send commands any more and all that were sent are answered, then
    /// closes the log. Its futures are not to be dropped before: a commit would be cut short.
    pub async fn run(mut self) {
        let mut jobs = Vec::with_capacity(MOST);
        while self.next(&mut jobs).await {
            self.work(&mut jobs).await;
        }
        self.appender.close().await;
    }

    /// Waits for commands; false when there will be none.
    async fn next(&mut self, jobs: &mut Vec<Job>) -> bool {
        while !*self.available.borrow() {
            match tokio::time::timeout(PROBE, self.jobs.recv_many(jobs, MOST)).await {
                Ok(received) => return received > 0,
                Err(_) => {
                    let back = self.appender.head().await.is_ok();
                    self.available.send_replace(back);
                }
            }
        }
        self.jobs.recv_many(jobs, MOST).await > 0
    }

    async fn work(&mut self, jobs: &mut Vec<Job>) {
        let mut waiting = Vec::with_capacity(jobs.len());
        let commands: Vec<_> = jobs
            .drain(..)
            .map(
                |Job {
                     command,
                     answer,
                     permit,
                 }| {
                    waiting.push((answer, permit));
                    command
                },
            )
            .collect();
        let committed = self.commit(commands).await;
        self.available.send_if_modified(|available| {
            std::mem::replace(available, committed.is_ok()) != committed.is_ok()
        });
        // Who does not wait for the answer any more has gone; its command has not.
        match committed {
            Ok((first, outcomes)) => {
                for ((answer, _), outcome) in waiting.into_iter().zip(outcomes) {
                    let _ = answer.send(outcome.map(|outcome| {
                        let position = outcome.position.resolve(first);
                        (outcome, position)
                    }));
                }
            }
            Err(error) => {
                let refusal = store_error(&error);
                for (answer, _) in waiting {
                    let _ = answer.send(Err(refusal.clone()));
                }
            }
        }
    }

    /// What each command came to, and the position of the first event of all.
    async fn commit(&mut self, commands: Vec<Command>) -> Result<Committed, Error> {
        match self.attempt(commands.clone(), self.hopeful).await {
            Err(Error::Conflict) => self.attempt(commands, false).await,
            committed => committed,
        }
    }

    async fn attempt(&mut self, commands: Vec<Command>, hopeful: bool) -> Result<Committed, Error> {
        let (aggregates, request_ids) = needs(commands.iter(), hopeful);
        let loaded = self.appender.load(&aggregates, &request_ids).await?;
        self.hopeful = loaded.requests.is_empty();
        let mut decider = Decider::new(loaded, now())?;
        let outcomes = commands
            .into_iter()
            .map(|command| decider.decide(command))
            .collect();
        let batch = decider.finish();
        let first = self.appender.append(&batch).await?;
        // Before anybody is answered: who knows a position may subscribe after it.
        self.publish(first, &batch);
        Ok((first, outcomes))
    }

    fn publish(&self, first: u64, batch: &Batch) {
        let bytes = batch.events.iter().map(|event| event.record.len()).sum();
        let mut encoder = Encoder::with_capacity(batch.events.len(), bytes);
        let records = (first..)
            .zip(&batch.events)
            .map(|(position, event)| encoder.push(position, &event.record));
        self.tail.push(first, records.collect());
    }
}
