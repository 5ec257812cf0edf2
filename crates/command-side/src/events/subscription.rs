//! One subscriber's stream: catches up in the log from the subscriber's position, then delivers new
//! events from the tail.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use contract::encoded::SubscribeResponse;
use event_log::{MAX_PAGE_BYTES, Point, Position, Reader};
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use tonic::Status;
use wire::{Error, ResumeToken};

use crate::{
    error::store_error,
    events::{
        StreamEnd,
        dispatch::{Dispatcher, Registration},
        filter::Filter,
        tail::{Divergence, Tail},
    },
};

/// Limits the events of the first read, before the subscription knows their size.
const FIRST_PAGE_EVENTS: usize = 128;

/// Limits the events that a filter skips before the subscription sends its position.
const MAX_SKIPPED_EVENTS: u64 = 100_000;

/// The interval after which a stream without events sends its position.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(10);

/// The sources that every subscription reads.
#[derive(Debug, Clone)]
pub(crate) struct Sources {
    pub(crate) reader: Arc<dyn Reader>,
    pub(crate) tail: Arc<Tail>,
    pub(crate) dispatcher: Arc<Dispatcher>,
    /// True while [`Follow`](super::Follow) can read other nodes' appends.
    pub(crate) available: watch::Receiver<bool>,
    /// Ends the streams at shutdown.
    pub(crate) stop: CancellationToken,
}

#[derive(Debug)]
pub(crate) struct Subscription {
    sources: Sources,
    filter: Filter,
    /// The subscription has delivered every matching event at or below this position.
    position: Position,
    /// The point at `position`. `None` while it is not known, because the position went on without
    /// a read.
    point: Option<Point>,
    /// Changes when the log goes back.
    divergences: watch::Receiver<Option<Divergence>>,
    /// The log's newest position at the start of the subscription, read from the store.
    head: Position,
    /// Limits the events of a response.
    batch: usize,
    /// Limits the events of a read to about those of a page's bytes, so that the store does not
    /// measure many more. Follows from the size of the last ones.
    page: usize,
    responses: mpsc::Sender<Result<SubscribeResponse, Status>>,
    /// The position of the last response, or the subscriber's own before the first.
    sent: Position,
    /// The point at `sent`, if it is known.
    sent_point: Option<Point>,
    last_sent: Instant,
    /// The position up to which the node had announced events at the last read.
    announced: Position,
    /// True since a response had every announced event. False again after a read of the store: the
    /// subscription has fallen behind the events in memory.
    caught_up: bool,
}

/// The place at which a subscription begins.
#[derive(Debug)]
pub(crate) struct Start {
    /// The subscriber has every matching event at or below this position.
    pub(crate) position: Position,
    /// The point at `position`, if the subscriber knows it. The log has it.
    pub(crate) point: Option<Point>,
    /// The log's newest position.
    pub(crate) head: Position,
    /// Taken before `head` was read, so that no divergence is missed.
    pub(crate) divergences: watch::Receiver<Option<Divergence>>,
}

impl Subscription {
    /// Makes a subscription to the events after `start` that match `filter`. A response has at most
    /// `batch` events.
    pub(crate) fn new(
        sources: Sources,
        filter: Filter,
        start: Start,
        batch: usize,
        responses: mpsc::Sender<Result<SubscribeResponse, Status>>,
    ) -> Self {
        let Start {
            position,
            point,
            head,
            divergences,
        } = start;
        Self {
            sources,
            filter,
            position,
            point,
            divergences,
            head,
            batch,
            page: FIRST_PAGE_EVENTS,
            responses,
            sent: position,
            sent_point: point.or((position == Position::START).then_some(Point::START)),
            last_sent: Instant::now(),
            announced: head,
            caught_up: false,
        }
    }

    /// Delivers events up to `head`; with `follow`, until the subscriber has gone.
    pub(crate) async fn run(mut self, follow: bool) {
        let stop = self.sources.stop.clone();
        let gone = self.responses.clone();
        let mut divergences = self.divergences.clone();
        let delivered = tokio::select! {
            biased;
            // The tail has another history than the subscriber then.
            _ = divergences.changed() => Err(StreamEnd::Failed(self.diverged().await)),
            delivered = self.deliver(follow) => delivered,
            () = gone.closed() => return,
            () = stop.cancelled() => Err(StreamEnd::Failed(Error::ShuttingDown)),
        };
        if let Err(StreamEnd::Failed(error)) = delivered {
            // The send fails if the subscriber has gone.
            let _ = self.responses.send(Err(error.into())).await;
        }
    }

    /// Returns the error that ends the stream after the log went back. A subscriber that has seen no
    /// lost event may resume where it is.
    async fn diverged(&self) -> Error {
        let divergence = *self.divergences.borrow();
        let shared = divergence.and_then(|divergence| divergence.shared);
        let has_lost = match (shared, self.sent_point) {
            (Some(shared), _) => self.sent > shared,
            (None, Some(point)) => match self.sources.reader.point(self.sent).await {
                Ok(found) => point.check(found).is_err(),
                // The subscriber finds out when it resumes.
                Err(_) => false,
            },
            (None, None) => true,
        };
        match has_lost {
            false => Error::StoreUnavailable,
            true => Error::LogDiverged {
                position: self.sent.get(),
                shared: shared.map(Position::get),
            },
        }
    }

    async fn deliver(&mut self, follow: bool) -> Result<(), StreamEnd<Error>> {
        self.catch_up(self.head).await?;
        if !follow {
            if !self.caught_up {
                self.send(Vec::new()).await?;
            }
            return Ok(());
        }
        let (registration, from) = self.sources.dispatcher.register(self.filter.interests());
        self.catch_up(from).await?;
        self.live(registration).await
    }

    async fn live(&mut self, registration: Registration) -> Result<(), StreamEnd<Error>> {
        loop {
            let (cleared, upto) = registration.cleared(self.position);
            self.skip_to(cleared);
            self.announced = upto;
            self.catch_up(upto).await?;
            let is_due = self.last_sent.elapsed() >= HEARTBEAT_INTERVAL;
            // A heartbeat would say `caught_up`, though this node cannot see other nodes' appends.
            // The subscriber may reach a node that can.
            if is_due && !*self.sources.available.borrow() {
                return Err(StreamEnd::Failed(Error::StoreUnavailable));
            }
            if is_due || self.is_caught_up() && !self.caught_up {
                self.send(Vec::new()).await?;
            }
            let heartbeat = tokio::time::sleep_until(self.last_sent + HEARTBEAT_INTERVAL);
            tokio::select! {
                biased;
                () = registration.woken() => {}
                () = heartbeat => {}
            }
        }
    }

    /// Delivers the matching events up to a position.
    async fn catch_up(&mut self, upto: Position) -> Result<(), StreamEnd<Error>> {
        while self.position < upto {
            let limit = self.batch.min(self.page) as u64;
            let limit = upto.since(self.position).min(limit) as usize;
            self.announced = self.sources.dispatcher.position().max(upto);
            let records = match self.sources.tail.after(self.position, limit) {
                Some(records) => records,
                None => {
                    self.caught_up = false;
                    self.page(upto, limit).await?
                }
            };
            let bytes: usize = records.iter().map(Bytes::len).sum();
            self.page = (MAX_PAGE_BYTES * records.len() / bytes.max(1)).max(1);
            self.deliver_matching(records).await?;
            // Yields, because a filter that skips events of the tail awaits nothing else.
            tokio::task::yield_now().await;
            if self.position.since(self.sent) >= MAX_SKIPPED_EVENTS {
                self.send(Vec::new()).await?;
            }
        }
        Ok(())
    }

    /// Reads a page of the log after the subscription's point.
    async fn page(&mut self, upto: Position, limit: usize) -> Result<Vec<Bytes>, StreamEnd<Error>> {
        let after = self.point().await?;
        let page = match self.sources.reader.page(after, upto, limit).await {
            Ok(page) => page,
            Err(event_log::Error::Diverged { .. }) => {
                return Err(StreamEnd::Failed(self.lost_point()));
            }
            Err(error) => return Err(StreamEnd::Failed(store_error(&error))),
        };
        if page.records.is_empty() {
            let damaged = format!("the log ends at {} before its head {upto}", self.position);
            return Err(StreamEnd::Failed(store_error(&event_log::Error::Damaged(
                damaged,
            ))));
        }
        Ok(page.records)
    }

    /// Returns the point at the subscription's position.
    async fn point(&mut self) -> Result<Point, StreamEnd<Error>> {
        let known = self
            .point
            .or_else(|| self.sources.tail.point(self.position));
        let point = match known {
            Some(point) => Some(point),
            None => self
                .sources
                .reader
                .point(self.position)
                .await
                .map_err(|error| StreamEnd::Failed(store_error(&error)))?,
        };
        self.point = point;
        point.ok_or_else(|| StreamEnd::Failed(self.lost_point()))
    }

    /// Returns the error for a log that no longer has the subscription's point. The follow task finds
    /// out more soon.
    fn lost_point(&self) -> Error {
        Error::LogDiverged {
            position: self.position.get(),
            shared: None,
        }
    }

    /// Moves on to a position without reading the events up to it, which match nothing.
    fn skip_to(&mut self, position: Position) {
        if position != self.position {
            self.position = position;
            self.point = None;
        }
    }

    /// Delivers the matching ones of consecutive events, which a page bounds.
    async fn deliver_matching(&mut self, records: Vec<Bytes>) -> Result<(), StreamEnd<Error>> {
        self.position += records.len();
        if let Some(newest) = records.last() {
            self.point = Some(Point::of(self.position, newest));
        }
        let events: Vec<_> = records
            .into_iter()
            .filter(|record| self.filter.matches(record))
            .collect();
        if events.is_empty() {
            return Ok(());
        }
        self.send(events).await
    }

    /// Returns whether the subscription has delivered every announced event, or keeps up since.
    fn is_caught_up(&self) -> bool {
        self.caught_up || self.position >= self.announced
    }

    async fn send(&mut self, events: Vec<Bytes>) -> Result<(), StreamEnd<Error>> {
        let position = self.position;
        let log_id = self.sources.reader.log_id().to_owned();
        let point = self.point().await?;
        let resume_token = ResumeToken {
            log_id: log_id.clone(),
            position: position.get(),
            event_id: point.event_id,
        };
        // The point may be of the new history already.
        if self.divergences.has_changed().unwrap_or(true) {
            return Err(StreamEnd::Failed(self.diverged().await));
        }
        self.caught_up = self.is_caught_up();
        let head_position = self.sources.tail.head().max(self.head).max(position);
        let response = SubscribeResponse {
            events,
            position: position.get(),
            head_position: head_position.get(),
            caught_up: self.caught_up,
            log_id,
            resume_token: resume_token.to_string(),
        };
        self.responses
            .send(Ok(response))
            .await
            .map_err(|_| StreamEnd::Gone)?;
        self.sent = position;
        self.sent_point = Some(point);
        self.last_sent = Instant::now();
        Ok(())
    }
}

#[cfg(test)]
mod tests;
