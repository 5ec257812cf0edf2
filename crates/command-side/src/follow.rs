use std::{sync::Arc, time::Duration};

use event_log::{News, Reader};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::tail::Tail;

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
    /// Notified by the writer.
    pub(crate) appended: Arc<Notify>,
    pub(crate) stop: CancellationToken,
}

impl Follow {
    /// Works until it is stopped.
    pub async fn run(mut self) {
        let stop = self.stop.clone();
        // Nothing that it does is harmed by being cut short.
        stop.run_until_cancelled(async {
            loop {
                tokio::select! {
                    () = self.appended.notified() => {
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
        loop {
            match self
                .reader
                .page(self.tail.head(), i64::MAX as u64, PAGE)
                .await
            {
                Ok(page) if page.records.is_empty() => return,
                Ok(page) => self.tail.push(page.first, page.records),
                Err(error) => {
                    tracing::debug!(%error, "what other nodes append is not known for now");
                    return;
                }
            }
        }
    }
}
