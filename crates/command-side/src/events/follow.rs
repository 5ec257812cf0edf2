//! Pushes other nodes' events to the tail, and notifies those nodes of this node's appends. Finds out if
//! the log went back (guarantee G12), and makes the node go on with the log as it is.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use event_log::{Error, Notifications, Point, Position, Reader};
use telemetry::metrics;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::events::{
    dispatch::Dispatcher,
    tail::{Divergence, Tail},
};

/// Limits the events of one read.
const MAX_PAGE_EVENTS: usize = 512;

/// The minimum interval of notifications to other nodes: 5 ms. All appends within it share one
/// notification.
const NOTIFY_INTERVAL: Duration = Duration::from_millis(5);

/// The task that pushes other nodes' events to the tail, and notifies those nodes of this node's
/// appends.
#[derive(Debug)]
pub struct Follow {
    pub(crate) notifications: Notifications,
    pub(crate) reader: Arc<dyn Reader>,
    pub(crate) tail: Arc<Tail>,
    pub(crate) dispatcher: Arc<Dispatcher>,
    pub(crate) signals: Arc<Signals>,
    /// True if the last read of the store succeeded.
    pub(crate) available: watch::Sender<bool>,
    pub(crate) stop: CancellationToken,
}

/// The signals that the writer and [`Follow`] send each other.
#[derive(Debug, Default)]
pub(crate) struct Signals {
    /// Set when [`Follow`] reads the store after an outage. The store may have closed the writer's
    /// connection during the outage.
    pub(crate) recovered: AtomicBool,
    /// Notified when this node has appended.
    pub(crate) appended: Notify,
    /// Notified when the log may hold events that the tail lacks, or others than the tail has.
    pub(crate) behind: Notify,
}

impl Follow {
    /// Follows the log until it is stopped.
    pub async fn run(mut self) {
        let stop = self.stop.clone();
        // Cancelling the future at any await is safe.
        stop.run_until_cancelled(async {
            loop {
                tokio::select! {
                    () = self.signals.behind.notified() => self.catch_up().await,
                    () = self.signals.appended.notified() => {
                        self.notifications.send().await;
                        tokio::time::sleep(NOTIFY_INTERVAL).await;
                    }
                    () = self.notifications.next() => self.catch_up().await,
                }
            }
        })
        .await;
    }

    /// Pushes the events after the tail to it. Finds out if the log went back, because the log must
    /// still have the newest point of the tail.
    async fn catch_up(&self) {
        let read = loop {
            let newest = self.tail.newest();
            match self.read_after(newest).await {
                Ok(records) if records.is_empty() => break Ok(()),
                // A push fails if the writer has pushed meanwhile. The next page follows that.
                Ok(records) => {
                    self.tail.push(newest, records);
                }
                Err(Error::Diverged { .. }) => {
                    if let Err(error) = self.restart(newest).await {
                        break Err(error);
                    }
                }
                Err(error) => break Err(error),
            }
        };
        if let Err(error) = &read
            && *self.available.borrow()
        {
            // Logs the first failure of an outage only.
            tracing::error!(%error, "the event store cannot be followed");
        }
        self.set_available(read.is_ok());
    }

    async fn read_after(&self, newest: Point) -> Result<Vec<Bytes>, Error> {
        let page = self.reader.page(newest, Position::MAX, MAX_PAGE_EVENTS);
        Ok(page.await?.records)
    }

    /// Ends the streams and forgets the events of the history that the log has left, and goes on with
    /// the log as it is. `newest` is the newest point that this node had seen.
    async fn restart(&self, newest: Point) -> Result<(), Error> {
        // No stream begins until the tail and the dispatch are of the same history again.
        self.set_available(false);
        let shared = self.newest_shared(newest.position).await?;
        let head = self.reader.head().await?;
        let head = match head {
            Position::START => Some(Point::START),
            _ => self.reader.point(head).await?,
        };
        let head =
            head.ok_or_else(|| Error::Damaged("the log lacks its newest event".to_owned()))?;
        let divergence = Divergence {
            seen: newest.position,
            shared,
        };
        self.tail.restart(head, divergence);
        self.dispatcher.restart(head.position);
        metrics::log_diverged();
        let lost_from = shared.map(|shared| (shared + 1).get());
        tracing::error!(
            lost_from,
            lost_to = newest.position.get(),
            head = head.position.get(),
            "the log went back and lost events; this node goes on with the log as it is"
        );
        Ok(())
    }

    /// Returns the newest position before `seen` whose event the log still has, or `None` if it is
    /// before the events in memory.
    async fn newest_shared(&self, seen: Position) -> Result<Option<Position>, Error> {
        let Some(start) = self.tail.start() else {
            return Ok(None);
        };
        // The newest event is lost, and no event after a lost one is shared.
        let (mut shared, mut lost) = (start, seen);
        while lost.since(shared) > 1 {
            let middle = shared + (lost.since(shared) / 2) as usize;
            match self.tail.point(middle) {
                Some(point) if self.reader.point(middle).await? == Some(point) => shared = middle,
                _ => lost = middle,
            }
        }
        Ok((shared > start || shared == Position::START).then_some(shared))
    }

    fn set_available(&self, is_readable: bool) {
        if is_readable && !*self.available.borrow() {
            // Sets the signal before `available` reports the recovery.
            self.signals.recovered.store(true, Ordering::Relaxed);
        }
        self.available
            .send_if_modified(|available| std::mem::replace(available, is_readable) != is_readable);
    }
}
