use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use event_log::{News, Reader};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::events::tail::Tail;

/// Events read in one go.
const PAGE: usize = 512;

/// From telling the others to telling them again at least: what comes in between is told at once.
const PAUSE: Duration = Duration::from_millis(5);

/// Brings the tail what other nodes append, and tells them what this one does.
#[derive(Debug)]
pub struct Follow {
    pub(crate) news: News,
    pub(crate) reader: Arc<dyn Reader>,
    pub(crate) tail: Arc<Tail>,
    pub(crate) signals: Arc<Signals>,
    /// Whether the store answered last time.
    pub(crate) available: watch::Sender<bool>,
    pub(crate) stop: CancellationToken,
}

/// What the writer tells, and is told.
#[derive(Debug, Default)]
pub(crate) struct Signals {
    /// The store answers again those who follow it, and may have let go of the writer meanwhile.
    pub(crate) recovered: AtomicBool,
    /// This node has appended.
    pub(crate) appended: Notify,
    /// There is something in the log that the tail does not have.
    pub(crate) behind: Notify,
}

impl Follow {
    /// Works until it is stopped.
    pub async fn run(mut self) {
        let stop = self.stop.clone();
        // Nothing that it does is harmed by being cut short.
        stop.run_until_cancelled(async {
            loop {
                tokio::select! {
                    () = self.signals.behind.notified() => self.catch_up().await,
                    () = self.signals.appended.notified() => {
                        self.news.tell().await;
                        tokio::time::sleep(PAUSE).await;
                    }
                    () = self.news.next() => self.catch_up().await,
                }
            }
        })
        .await;
    }

    async fn catch_up(&self) {
        let answers = loop {
            match self
                .reader
                .page(self.tail.head(), i64::MAX as u64, PAGE)
                .await
            {
                Ok(page) if page.records.is_empty() => break true,
                Ok(page) => {
                    self.tail.push(page.first, page.records);
                }
                Err(error) => {
                    // Once, and not at every attempt.
                    if *self.available.borrow() {
                        tracing::error!(%error, "the event store cannot be followed");
                    }
                    break false;
                }
            }
        };
        if answers && !*self.available.borrow() {
            // Before anybody is told.
            self.signals.recovered.store(true, Ordering::Relaxed);
        }
        self.available
            .send_if_modified(|available| std::mem::replace(available, answers) != answers);
    }
}
