//! The one writer of a node: takes all queued commands, decides them, commits them in one
//! transaction, and replies to all.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use event_log::{Appender, Batch, Encoder, Error, Point, Position};
use telemetry::{metrics, trace};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tracing::Span;

use crate::{
    commands::{
        Command,
        decide::{Decider, Outcome, Rejection, needs},
    },
    error::store_error,
    events::{follow::Signals, tail::Tail},
};

/// Limits the commands that wait for the writer. Past it, a single call fails with
/// [`wire::Error::Overloaded`], and a stream waits.
pub(crate) const QUEUE_CAPACITY: usize = 2048;

/// Limits the commands of one transaction.
const MAX_BATCH_COMMANDS: usize = 512;

/// Limits the bytes of the messages of one transaction to 4 MiB, unless one message is larger, so
/// that the store commits it well within its timeouts.
const MAX_BATCH_BYTES: usize = 4 << 20;

/// The interval of probes while the store does not answer.
const PROBE_INTERVAL: Duration = Duration::from_millis(250);

/// The reply to a command: its outcome and the resolved position of its event.
pub(crate) type Reply = Result<(Outcome, Position), wire::Error>;

/// A queued command.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) command: Command,
    /// The bytes of the command's message.
    pub(crate) bytes: usize,
    pub(crate) reply: oneshot::Sender<Reply>,
    /// A permit of the limit on streamed commands, released after the reply. `None` for a single
    /// call.
    pub(crate) permit: Option<OwnedSemaphorePermit>,
}

/// The task that decides and appends commands.
#[derive(Debug)]
pub struct Writer {
    pub(crate) jobs: mpsc::Receiver<Job>,
    pub(crate) appender: Box<dyn Appender>,
    pub(crate) tail: Arc<Tail>,
    pub(crate) signals: Arc<Signals>,
    /// False from a failed commit until a probe succeeds.
    pub(crate) available: watch::Sender<bool>,
    /// The commands alone that the store has cancelled since the last commit.
    pub(crate) timeouts: u32,
    /// True unless the last load found known request ids, as in a repeated import. Batches then
    /// begin with [`Attempt::Optimistic`].
    pub(crate) optimistic: bool,
}

/// The ways to commit a batch, from the fastest to the surest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Attempt {
    /// Loads only what most likely exists, see [`needs`].
    Optimistic,
    /// Loads everything.
    Complete,
    /// Loads everything, and keeps other nodes from appending meanwhile.
    Exclusive,
}

/// The position of a batch's first event, and the result of each command.
type Committed = (Position, Vec<Result<Outcome, Rejection>>);

/// Returns the time of the system clock, in nanoseconds since 1970.
pub(crate) fn now() -> i64 {
    let elapsed = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(elapsed.as_nanos()).unwrap_or(i64::MAX)
}

/// Limits the commands alone that the store cancels in a row, because they take too long. The writer
/// then takes the store for slow rather than the commands, and waits until it answers again.
const MAX_TIMEOUTS: u32 = 2;

/// Returns the span of log lines about a batch that failed. A batch of one command has the span of
/// that command.
fn log_span(commands: &[Command]) -> Span {
    match commands {
        [command] => command.log_span(),
        _ => Span::none(),
    }
}

/// Replies that the store does not answer.
fn reject(job: Job) {
    // The send fails if the caller has gone.
    let _ = job.reply.send(Err(wire::Error::StoreUnavailable));
}

/// Returns how many commands a transaction takes of those that wait, whose messages have these
/// bytes: as many as [`MAX_BATCH_BYTES`] allows, but at least one.
fn batch_length(waiting: impl Iterator<Item = usize>) -> usize {
    let mut total = 0;
    let fitting = waiting.take_while(|bytes| {
        total += bytes;
        total <= MAX_BATCH_BYTES
    });
    fitting.count().max(1)
}

impl Writer {
    /// Runs until `stop`, or until every sender of commands is dropped. Before it ends, the writer
    /// replies to the queued commands and closes the log. Dropping the future earlier cuts a commit
    /// short.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut jobs = Vec::with_capacity(MAX_BATCH_COMMANDS);
        while self.next(&mut jobs, &stop).await {
            while !jobs.is_empty() {
                let batch = batch_length(jobs.iter().map(|job| job.bytes));
                let later = jobs.split_off(batch);
                self.process(&mut jobs).await;
                jobs.extend(later);
                if !*self.available.borrow() {
                    // An outage: the next transaction would wait for the store too.
                    jobs.drain(..).for_each(reject);
                }
            }
        }
        self.appender.close().await;
    }

    /// Waits for commands. Returns false when the queue is closed and empty.
    async fn next(&mut self, jobs: &mut Vec<Job>, stop: &CancellationToken) -> bool {
        if !*self.available.borrow() && !self.wait_for_store(stop).await {
            return false;
        }
        tokio::select! {
            biased;
            received = self.jobs.recv_many(jobs, MAX_BATCH_COMMANDS) => received > 0,
            () = stop.cancelled() => {
                self.jobs.close();
                self.jobs.recv_many(jobs, MAX_BATCH_COMMANDS).await > 0
            }
        }
    }

    /// Rejects commands until a probe of the store succeeds. Returns false when the queue is closed
    /// and empty.
    async fn wait_for_store(&mut self, stop: &CancellationToken) -> bool {
        loop {
            let probe = async {
                tokio::time::sleep(PROBE_INTERVAL).await;
                self.appender.has_seen(self.tail.newest());
                self.appender.probe().await
            };
            let mut probe = std::pin::pin!(probe);
            let probed = loop {
                tokio::select! {
                    probed = &mut probe => break probed,
                    job = self.jobs.recv() => match job {
                        Some(job) => reject(job),
                        None => return false,
                    },
                    () = stop.cancelled(), if !self.jobs.is_closed() => self.jobs.close(),
                }
            };
            if probed.is_ok() {
                // The store may have committed the failed batch: the tail must catch up.
                self.signals.behind.notify_one();
                self.available.send_replace(true);
                return true;
            }
        }
    }

    /// Commits the commands as one batch, and replies to each.
    async fn process(&mut self, jobs: &mut Vec<Job>) {
        if self.signals.recovered.swap(false, Ordering::Relaxed) {
            // A dead connection fails on this read instead of on a command. The next call opens a
            // new one.
            self.appender.has_seen(self.tail.newest());
            let _ = self.appender.head().await;
        }
        let mut waiting = Vec::with_capacity(jobs.len());
        let mut commands = Vec::with_capacity(jobs.len());
        for job in jobs.drain(..) {
            waiting.push((job.reply, job.permit));
            commands.push(job.command);
        }
        let (began, since) = (SystemTime::now(), Instant::now());
        let replies = self.commit_in_parts(&commands).await;
        let ended = SystemTime::now();
        let is_committed = *self.available.borrow();
        if is_committed {
            metrics::appended(commands.len(), since.elapsed());
        }
        for ((caller, _), reply) in waiting.into_iter().zip(replies) {
            // The send fails if the caller has gone. The command is committed nevertheless.
            let _ = caller.send(reply);
        }
        // Records the spans after the replies, so that no caller waits for them.
        if trace::is_on() && is_committed {
            let traces = commands.iter().map(|command| &command.origin.traceparent);
            for traceparent in traces.filter(|it| !it.is_empty()) {
                trace::record("append", traceparent, (began, ended), &[]);
            }
        }
    }

    /// Commits the commands as one batch if the store can, so that all of them share one commit. After
    /// a failure that a single command may have caused, the others commit without it.
    async fn commit_in_parts(&mut self, commands: &[Command]) -> Vec<Reply> {
        let mut replies = Vec::with_capacity(commands.len());
        let mut parts = vec![commands];
        while let Some(part) = parts.pop() {
            let committed = self.commit(part).await;
            match committed {
                // Few halves find one damaged page.
                Err(Error::Damaged(_) | Error::UnknownSchema { .. }) if part.len() > 1 => {
                    let (first, second) = part.split_at(part.len() / 2);
                    parts.extend([second, first]);
                }
                // A half that is too slow as well would take its 5 s before the others.
                Err(Error::TimedOut(_)) if part.len() > 1 => parts.extend(part.chunks(1).rev()),
                committed => replies.extend(self.replies(committed, part)),
            }
            if !*self.available.borrow() {
                break;
            }
        }
        replies.resize(commands.len(), Err(wire::Error::StoreUnavailable));
        replies
    }

    /// Converts the result of a commit to replies. After an outage, `available` is false. A
    /// damaged record is no outage, and neither is one command alone that takes too long.
    fn replies(&mut self, committed: Result<Committed, Error>, commands: &[Command]) -> Vec<Reply> {
        let error = match committed {
            Ok((first, outcomes)) => {
                self.timeouts = 0;
                let replies = commands.iter().zip(outcomes).map(|(command, outcome)| {
                    let outcome = outcome.map_err(|rejection| rejection.error(command, first))?;
                    let position = outcome.position.resolve(first);
                    Ok((outcome, position))
                });
                return replies.collect();
            }
            Err(error) => error,
        };
        let rejection = log_span(commands).in_scope(|| store_error(&error));
        let is_outage = match error {
            Error::Damaged(_) | Error::UnknownSchema { .. } => false,
            Error::TimedOut(_) => {
                self.timeouts += 1;
                self.timeouts >= MAX_TIMEOUTS
            }
            _ => true,
        };
        if let Error::Diverged { .. } = error {
            // The follow task makes the node go on with the log as it is.
            self.signals.behind.notify_one();
        }
        if is_outage {
            self.timeouts = 0;
            self.available.send_replace(false);
        }
        vec![Err(rejection); commands.len()]
    }

    /// Decides and appends commands as one batch. Retries once after a conflict.
    async fn commit(&mut self, commands: &[Command]) -> Result<Committed, Error> {
        let attempt = if self.optimistic {
            Attempt::Optimistic
        } else {
            Attempt::Complete
        };
        match self.attempt(commands, attempt).await {
            Err(Error::Conflict) => {
                let committed = self.attempt(commands, Attempt::Exclusive).await;
                committed.map_err(|error| match error {
                    Error::Conflict => Error::Damaged(
                        "a batch conflicts with the log, which no other node has changed"
                            .to_owned(),
                    ),
                    other => other,
                })
            }
            committed => committed,
        }
    }

    async fn attempt(
        &mut self,
        commands: &[Command],
        attempt: Attempt,
    ) -> Result<Committed, Error> {
        self.appender.has_seen(self.tail.newest());
        let is_optimistic = attempt == Attempt::Optimistic;
        let (needed, request_ids) = needs(commands.iter(), is_optimistic);
        let loaded = self
            .appender
            .load(&needed, &request_ids, attempt == Attempt::Exclusive)
            .await?;
        self.optimistic = loaded.requests.is_empty();
        let mut decider = Decider::new(loaded, now());
        let mut outcomes = Vec::with_capacity(commands.len());
        for command in commands {
            let outcome = decider.decide(command.clone());
            // The command may repeat an earlier one whose reply was not loaded.
            if is_optimistic && outcome.is_err() && !command.request_id.is_empty() {
                return Box::pin(self.attempt(commands, Attempt::Complete)).await;
            }
            outcomes.push(outcome);
        }
        let batch = decider.finish();
        let before = self.appender.append(&batch).await?;
        // Publishes before the replies: a client that knows a position may subscribe after it.
        self.publish(before, &batch);
        Ok((before.position + 1, outcomes))
    }

    /// Pushes the events of a batch after the point `before` to the tail.
    fn publish(&self, before: Point, batch: &Batch) {
        let bytes = batch.events.iter().map(|event| event.record.len()).sum();
        let mut encoder = Encoder::with_capacity(batch.events.len(), bytes);
        let records = (before.position + 1)
            .onwards()
            .zip(&batch.events)
            .map(|(position, event)| encoder.push(position, &event.record));
        if batch.events.is_empty() {
            return;
        }
        if !self.tail.push(before, records.collect()) {
            self.signals.behind.notify_one();
        }
        self.signals.appended.notify_one();
    }
}

#[cfg(test)]
mod tests;
