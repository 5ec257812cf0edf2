//! Pushes other nodes' events to the tail, and notifies those nodes of this node's appends.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use event_log::{Notifications, Position, Reader};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::events::tail::Tail;

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
    /// Notified when the log may hold events that the tail lacks.
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

    async fn catch_up(&self) {
        let is_readable = loop {
            match self
                .reader
                .page(self.tail.head(), Position::MAX, MAX_PAGE_EVENTS)
                .await
            {
                Ok(page) if page.records.is_empty() => break true,
                Ok(page) => {
                    self.tail.push(page.first, page.records);
                }
                Err(error) => {
                    // Logs the first failure of an outage only.
                    if *self.available.borrow() {
                        tracing::error!(%error, "the event store cannot be followed");
                    }
                    break false;
                }
            }
        };
        if is_readable && !*self.available.borrow() {
            // Sets the signal before `available` reports the recovery.
            self.signals.recovered.store(true, Ordering::Relaxed);
        }
        self.available
            .send_if_modified(|available| std::mem::replace(available, is_readable) != is_readable);
    }
}
