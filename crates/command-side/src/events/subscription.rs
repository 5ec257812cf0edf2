//! One subscriber's stream: the log from its position on, then the tail as it grows.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use contract::encoded::SubscribeResponse;
use event_log::Reader;
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use tonic::Status;
use wire::Error;

use crate::{
    error::store_error,
    events::{
        dispatch::{Dispatcher, Registration},
        filter::Filter,
        tail::Tail,
    },
};

/// Events read in one go at first, while their size is not known.
const FIRST_PAGE: usize = 128;

/// Bytes of events after which a response ends (a receiver's default limit is 4 MiB), and that are
/// read in one go, more or less. Who does not read holds a few times as many; larger ones are not
/// streamed faster.
const MOST_BYTES: usize = 256 << 10;

/// Events that a filter may skip before the subscriber hears how far it is.
const MOST_SKIPPED: u64 = 100_000;

/// How long the stream is silent at most.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// What a stream reads from.
#[derive(Debug, Clone)]
pub(crate) struct Sources {
    pub(crate) reader: Arc<dyn Reader>,
    pub(crate) tail: Arc<Tail>,
    pub(crate) dispatcher: Arc<Dispatcher>,
    /// Whether this node knows what others append.
    pub(crate) available: watch::Receiver<bool>,
    /// Ends the streams.
    pub(crate) stop: CancellationToken,
}

/// Why a stream ends before its time.
enum End {
    /// The subscriber has gone.
    Gone,
    /// It is to be told this.
    Failed(Error),
}

#[derive(Debug)]
pub(crate) struct Subscription {
    sources: Sources,
    filter: Filter,
    /// Everything that matches up to here has been delivered.
    position: u64,
    /// Where the log ended when the subscriber came, whoever had appended.
    head: u64,
    /// Events in a response.
    batch: usize,
    /// Events read in one go.
    page: usize,
    responses: mpsc::Sender<Result<SubscribeResponse, Status>>,
    /// Where the subscriber believes to be.
    told: u64,
    last_sent: Instant,
    /// Whether the last response said that this was all.
    caught_up: bool,
}

impl Subscription {
    /// To what matches after a position of a log that ends at `head` now, at most `batch` events in
    /// a response.
    pub(crate) fn new(
        sources: Sources,
        filter: Filter,
        position: u64,
        head: u64,
        batch: usize,
        responses: mpsc::Sender<Result<SubscribeResponse, Status>>,
    ) -> Self {
        Self {
            sources,
            filter,
            position,
            head,
            batch,
            page: FIRST_PAGE,
            responses,
            told: position,
            last_sent: Instant::now(),
            caught_up: false,
        }
    }

    /// Delivers up to where the log ended, or for as long as the subscriber stays.
    pub(crate) async fn run(mut self, follow: bool) {
        let stop = self.sources.stop.clone();
        let gone = self.responses.clone();
        let delivered = tokio::select! {
            delivered = self.deliver(follow) => delivered,
            () = gone.closed() => return,
            () = stop.cancelled() => Err(End::Failed(Error::ShuttingDown)),
        };
        if let Err(End::Failed(error)) = delivered {
            // Fails when the subscriber has gone meanwhile.
            let _ = self.responses.send(Err(error.into())).await;
        }
    }

    async fn deliver(&mut self, follow: bool) -> Result<(), End> {
        self.catch_up(self.head).await?;
        if !self.caught_up {
            self.send(Vec::new(), self.position).await?;
        }
        if !follow {
            return Ok(());
        }
        let (registration, from) = self.sources.dispatcher.register(self.filter.interests());
        self.catch_up(from).await?;
        self.live(registration).await
    }

    async fn live(&mut self, registration: Registration) -> Result<(), End> {
        loop {
            let heartbeat = tokio::time::sleep_until(self.last_sent + HEARTBEAT);
            let due = tokio::select! {
                biased;
                () = registration.woken() => false,
                () = heartbeat => true,
            };
            let (cleared, upto) = registration.cleared(self.position);
            self.position = cleared;
            self.catch_up(upto).await?;
            if due && self.last_sent.elapsed() >= HEARTBEAT {
                // That this was all is more than it knows: another node may do better.
                if !*self.sources.available.borrow() {
                    return Err(End::Failed(Error::StoreUnavailable));
                }
                self.send(Vec::new(), self.position).await?;
            }
        }
    }

    /// Delivers what matches up to a position.
    async fn catch_up(&mut self, upto: u64) -> Result<(), End> {
        while self.position < upto {
            let wanted = (upto - self.position).min(self.batch.min(self.page) as u64) as usize;
            let records = match self.sources.tail.after(self.position, wanted) {
                Some(records) => records,
                None => self.page(upto, wanted).await?,
            };
            let bytes: usize = records.iter().map(Bytes::len).sum();
            // What a subscriber that does not read holds, it holds for long.
            self.page = (MOST_BYTES * records.len() / bytes.max(1)).max(1);
            self.deliver_some(records).await?;
            // A filter may skip for long without waiting for anything.
            tokio::task::yield_now().await;
            if self.position - self.told >= MOST_SKIPPED {
                self.send(Vec::new(), self.position).await?;
            }
        }
        Ok(())
    }

    async fn page(&self, upto: u64, wanted: usize) -> Result<Vec<Bytes>, End> {
        let page = self.sources.reader.page(self.position, upto, wanted).await;
        let page = page.map_err(|error| End::Failed(store_error(&error)))?;
        if page.records.is_empty() {
            let damaged = format!("the log ends at {} before its head {upto}", self.position);
            return Err(End::Failed(store_error(&event_log::Error::Damaged(
                damaged,
            ))));
        }
        Ok(page.records)
    }

    /// Delivers those of consecutive events that match.
    async fn deliver_some(&mut self, records: Vec<Bytes>) -> Result<(), End> {
        let mut events = Vec::with_capacity(records.len());
        let mut bytes = 0;
        for record in records {
            if self.filter.matches(&record) {
                if bytes > 0 && bytes + record.len() > MOST_BYTES {
                    bytes = 0;
                    self.send(std::mem::take(&mut events), self.position)
                        .await?;
                }
                bytes += record.len();
                events.push(record);
            }
            self.position += 1;
        }
        if !events.is_empty() {
            self.send(events, self.position).await?;
        }
        Ok(())
    }

    async fn send(&mut self, events: Vec<Bytes>, position: u64) -> Result<(), End> {
        let head_position = self.sources.tail.head().max(self.head).max(position);
        let response = SubscribeResponse {
            events,
            position,
            head_position,
            caught_up: position == head_position,
            log_id: self.sources.reader.log_id().to_owned(),
        };
        self.responses
            .send(Ok(response))
            .await
            .map_err(|_| End::Gone)?;
        self.told = position;
        self.caught_up = position == head_position;
        self.last_sent = Instant::now();
        Ok(())
    }
}
