//! The documents: follows the log through EventService and applies its events.

use std::{
    pin::pin,
    time::{Duration, SystemTime},
};

use contract::orders::v1::SubscribeResponse;
use read_model::{
    generations::{Generation, Generations, NextGeneration},
    progress::{Progress, Reached},
    store::{self, Reader, Writer},
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use crate::{
    Nodes,
    backoff::Backoff,
    stream::{self, Stream},
    traces::Traces,
};

mod handle;
mod retry;
#[cfg(test)]
mod tests;

#[cfg(test)]
pub(crate) use handle::Parking;
pub(crate) use handle::{DocumentsHandle, DocumentsSwitch, RetryError};
use handle::{Switched, WriterRequest};

/// Time until the index of lists is filled once more after a failure.
const FILL_RETRY_INTERVAL: Duration = Duration::from_secs(2);

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Stream(#[from] stream::Error),
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// An unfinished generation that is filled because the log went back.
#[derive(Debug)]
struct Replacement {
    writer: Writer,
    generation: Generation,
}

/// Follows the log and writes the documents.
#[derive(Debug)]
pub(crate) struct Documents {
    nodes: Nodes,
    writer: Writer,
    progress: Progress,
    traces: Traces,
    requests: mpsc::Receiver<WriterRequest>,
    /// The files of the documents.
    generations: Generations,
    /// The documents that replace those with lost events, once they have caught up.
    replacement: Option<Replacement>,
    /// A switch that happens as soon as both generations are at the same position.
    pending: Option<(DocumentsSwitch, Switched)>,
    /// The earliest time of the next step that fills the index of lists.
    next_fill: Instant,
}

impl Documents {
    /// Creates the projection, which resumes at the documents' checkpoint.
    pub(crate) fn new(
        nodes: Nodes,
        generations: Generations,
        writer: Writer,
        traces: Traces,
    ) -> (Self, DocumentsHandle) {
        let (log_id, position) = match writer.checkpoint() {
            Some(checkpoint) => (checkpoint.log_id.clone(), checkpoint.position),
            None => (String::new(), 0),
        };
        let (sender, requests) = mpsc::channel(1);
        let progress = Progress::new(log_id, position, writer.generation());
        let handle = DocumentsHandle::new(sender, progress.clone());
        let documents = Self {
            nodes,
            traces,
            progress,
            writer,
            requests,
            generations,
            replacement: None,
            pending: None,
            next_fill: Instant::now(),
        };
        (documents, handle)
    }

    /// Opens a reader of the live documents with this many connections.
    pub(crate) fn reader(
        &self,
        connections: u32,
    ) -> impl Future<Output = Result<Reader, store::Error>> + use<> {
        self.writer.reader(connections)
    }

    /// Runs until `stop` is cancelled, then closes the documents.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut backoff = Backoff::new();
        while !stop.is_cancelled() {
            if let Err(error) = self.follow(&stop, &mut backoff).await {
                match error {
                    Error::Store(_) => {
                        self.fail_switch();
                        // Its file may be damaged: a build keeps no journal.
                        self.replacement = None;
                    }
                    Error::Stream(stream::Error::Diverged(..)) => {
                        // Each generation may have lost events. The next attempt finds out.
                        self.writer.set_consistent(false);
                        self.fail_switch();
                        self.replacement = None;
                    }
                    Error::Stream(stream::Error::OtherLog(..)) => {
                        self.writer.set_consistent(false);
                        self.nodes.turn_to_next();
                    }
                    Error::Stream(_) => self.nodes.turn_to_next(),
                }
                let progress = self.progress.clone();
                let delay = backoff.after_failure("documents", &error, &progress, &stop);
                self.answer_while(delay).await;
            }
        }
        self.writer.close().await;
    }

    /// Applies the stream of a node to the generation that is behind. Returns when the other
    /// generation is behind.
    async fn follow(
        &mut self,
        stop: &CancellationToken,
        backoff: &mut Backoff,
    ) -> Result<(), Error> {
        let generation = self.writer_behind().generation();
        let checkpoint = self.writer_behind().checkpoint().cloned();
        let nodes = self.nodes.clone();
        let subscribed = stop.run_until_cancelled(Stream::open(&nodes, checkpoint.as_ref(), true));
        let Some(stream) = self.answer_while(subscribed).await else {
            return Ok(());
        };
        let mut stream = match stream {
            Err(stream::Error::Diverged(node, message)) if self.pending.is_none() => {
                return self.start_over(&node, &message).await;
            }
            stream => stream?,
        };
        loop {
            self.switch_if_level().await;
            if self.writer_behind().generation() != generation {
                // The other generation is at another position than the stream.
                return Ok(());
            }
            if self.writer.generation() == generation {
                // The node has compared the checkpoint of the live documents with the log.
                self.writer.set_consistent(true);
            }
            let request = tokio::select! {
                () = stop.cancelled() => return Ok(()),
                // A closed request channel disables this branch, and the stream goes on.
                Some(request) = self.requests.recv() => request,
                response = stream.next() => {
                    // The body of a `select!` branch is not raced against the others, so nothing
                    // drops `apply` half-way.
                    self.apply(response?).await?;
                    backoff.reset();
                    continue;
                }
                () = sleep_until(self.next_fill), if self.writer.is_filling_lists() => {
                    self.fill_lists().await;
                    continue;
                }
            };
            self.answer(request).await;
        }
    }

    /// Begins a generation that replaces the documents, which have events that the log no longer has.
    /// Queries fail until it has caught up.
    async fn start_over(&mut self, node: &str, message: &str) -> Result<(), Error> {
        self.writer.set_consistent(false);
        tracing::error!(
            position = self.writer.position(),
            node,
            message,
            "the documents have events that are no longer in the log: they are made again from it"
        );
        let next = self.generations.open_next(NextGeneration::New);
        let next = next.map_err(store::Error::Files)?;
        // There is always a new generation.
        let generation = next.ok_or(store::Error::Stopped)?;
        let writer = Writer::open_new(&generation.path, generation.number).await?;
        self.progress.start_over(generation.number);
        self.replacement = Some(Replacement { writer, generation });
        Ok(())
    }

    /// Applies a response to the replacement. Makes it live once it has caught up with the first head
    /// that it saw.
    async fn replace(&mut self, response: &SubscribeResponse) -> Result<(), Error> {
        let Some(Replacement { writer, .. }) = &mut self.replacement else {
            return Ok(());
        };
        let (log_id, position) = (&response.log_id, response.position);
        writer.apply(log_id, &response.events, position).await?;
        let reached = writer.position();
        self.progress
            .record_position(log_id, Reached::all(reached), response.head_position);
        let head = self.progress.report().initial_head;
        if head.is_some_and(|head| reached < head) {
            return Ok(());
        }
        if let Some(replacement) = self.replacement.take() {
            let Replacement {
                mut writer,
                generation,
            } = replacement;
            writer.finish().await?;
            let switch = || self.generations.switch(&generation);
            writer.replace_unchecked(&self.writer, switch).await?;
            // The old writer is dropped, not closed: a reader may still use its file.
            self.writer = writer;
            self.writer.set_consistent(true);
            tracing::info!(position = reached, "the documents are made again");
        }
        Ok(())
    }

    /// Returns the writer to apply events to: the replacement, or the one at the lower position, if a
    /// switch waits. Both must reach the same position before the switch.
    fn writer_behind(&mut self) -> &mut Writer {
        if let Some(replacement) = &mut self.replacement {
            return &mut replacement.writer;
        }
        match &mut self.pending {
            Some((next, _)) if next.writer.position() < self.writer.position() => &mut next.writer,
            _ => &mut self.writer,
        }
    }

    /// Answers requests and fills the index of lists until `work` completes.
    async fn answer_while<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        loop {
            let request = tokio::select! {
                worked = &mut work => return worked,
                Some(request) = self.requests.recv() => request,
                () = sleep_until(self.next_fill), if self.writer.is_filling_lists() => {
                    self.fill_lists().await;
                    continue;
                }
            };
            self.answer(request).await;
        }
    }

    /// Brings some orders to an index of lists that has to be filled. Documents go on if it cannot be
    /// written.
    async fn fill_lists(&mut self) {
        if let Err(error) = self.writer.fill_lists().await {
            tracing::error!(%error, "the index of lists cannot be filled");
            self.next_fill = Instant::now() + FILL_RETRY_INTERVAL;
        }
    }

    async fn apply(&mut self, response: SubscribeResponse) -> Result<(), Error> {
        if self.replacement.is_some() {
            return self.replace(&response).await;
        }
        if let Some((next, _)) = &self.pending {
            // Applies no event past the higher of the two positions, where the switch happens.
            let level = self.writer.position().max(next.writer.position());
            let count = response.events.partition_point(|it| it.position <= level);
            let position = response.position.min(level);
            let events = &response.events[..count];
            let behind = self.writer_behind();
            let followed = behind.generation();
            behind.apply(&response.log_id, events, position).await?;
            // After a switch that failed, the stream is not that of the live documents, which may be of
            // another history.
            if !self.switch_if_level().await || self.writer.generation() != followed {
                return Ok(());
            }
        }
        let (log_id, position) = (&response.log_id, response.position);
        self.progress
            .record_head(response.head_position.max(position));
        self.traces.received(&response.events);
        let began = SystemTime::now();
        self.writer
            .apply(log_id, &response.events, position)
            .await?;
        self.traces.projected(&response.events, began);
        let reached = self.writer.position();
        self.progress
            .record_position(log_id, Reached::all(reached), response.head_position);
        Ok(())
    }

    /// Performs the waiting switch if both generations are at the same position. Returns whether no
    /// switch waits any more.
    async fn switch_if_level(&mut self) -> bool {
        let position = self.writer.position();
        let is_level =
            |(next, _): &mut (DocumentsSwitch, Switched)| next.writer.position() == position;
        let Some((next, switched)) = self.pending.take_if(is_level) else {
            return self.pending.is_none();
        };
        let DocumentsSwitch {
            mut writer,
            generations,
            generation,
            totals,
        } = next;
        let switch = || generations.switch(&generation);
        let result = match writer.replace_live(&self.writer, totals, switch).await {
            Ok(()) => {
                // The old writer is dropped, not closed: a reader may still use its file.
                self.writer = writer;
                self.progress.record_generation(generation.number);
                self.retry_parked().await;
                Ok(())
            }
            Err(error) => Err((error, writer)),
        };
        // Sending fails if the caller no longer waits.
        let _ = switched.send(result);
        true
    }

    /// Fails the waiting switch, and returns its writer to the rebuild.
    fn fail_switch(&mut self) {
        if let Some((next, switched)) = self.pending.take() {
            // Sending fails if the caller no longer waits.
            let _ = switched.send(Err((store::Error::Stopped, next.writer)));
        }
    }

    /// Performs a request. Sending the answer fails if the caller no longer waits.
    async fn answer(&mut self, request: WriterRequest) {
        match request {
            WriterRequest::Switch(next, switched) if self.replacement.is_some() => {
                let _ = switched.send(Err((store::Error::Diverged, next.writer)));
            }
            WriterRequest::Switch(next, switched) => self.pending = Some((*next, switched)),
            WriterRequest::Retry { parked, retried } => {
                let _ = retried.send(self.retry(parked).await);
            }
            WriterRequest::Park(refused, done) => {
                let _ = done.send(self.writer.park(&refused).await);
            }
            WriterRequest::UnparkIndexed(rows, done) => {
                let _ = done.send(self.writer.unpark_indexed(&rows).await);
            }
            WriterRequest::RetryIndexing(order_ids, done) => {
                let mut queued = Ok(());
                for order_id in order_ids {
                    if queued.is_ok() {
                        queued = self.writer.retry_indexing(&order_id).await;
                    }
                }
                let _ = done.send(queued);
            }
            WriterRequest::RemoveReindexed(entries, done) => {
                let _ = done.send(self.writer.remove_reindexed(&entries).await);
            }
        }
    }
}
