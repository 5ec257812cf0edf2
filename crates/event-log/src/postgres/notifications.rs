//! Notifications of appends, on a channel of Postgres.

use std::time::Duration;

use sqlx::{PgPool, postgres::PgListener};
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::{ANSWER_TIMEOUT, in_time};

/// The channel of all nodes. A message has no content and may be lost: after
/// [`POLL_INTERVAL`], nodes read the log anyway.
const CHANNEL_NAME: &str = "orderlog";

/// Nodes read the log at least every 250 ms, so that a lost message delays no node longer.
const POLL_INTERVAL: Duration = Duration::from_millis(250);

/// Notifies the other nodes of this node's appends, and receives their notifications.
#[derive(Debug)]
pub(crate) struct Channel {
    pool: PgPool,
    listener: Option<PgListener>,
    poll: Interval,
}

impl Channel {
    pub(super) fn new(pool: PgPool) -> Self {
        let mut poll = interval(POLL_INTERVAL);
        poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            pool,
            listener: None,
            poll,
        }
    }

    /// Returns when another node may have appended: after a message, or after [`POLL_INTERVAL`].
    pub(crate) async fn next(&mut self) {
        let Self {
            pool,
            listener,
            poll,
        } = self;
        tokio::select! {
            _ = poll.tick() => {}
            () = listen(pool, listener) => {}
        }
    }

    /// Notifies the other nodes that this node has appended. A failure is only logged, because the
    /// other nodes also poll.
    pub(crate) async fn send(&self) {
        let notify = sqlx::query("SELECT pg_notify($1, '')").bind(CHANNEL_NAME);
        if let Err(error) = in_time(ANSWER_TIMEOUT, notify.execute(&self.pool)).await {
            tracing::debug!(%error, "other nodes were not notified; they poll the log");
        }
    }
}

/// Returns after a message. A failed call never returns, and the next call connects anew.
async fn listen(pool: &PgPool, slot: &mut Option<PgListener>) {
    let listener = match slot {
        Some(listener) => listener,
        None => {
            let Ok(mut listener) = PgListener::connect_with(pool).await else {
                return std::future::pending().await;
            };
            if listener.listen(CHANNEL_NAME).await.is_err() {
                return std::future::pending().await;
            }
            slot.insert(listener)
        }
    };
    if listener.recv().await.is_err() {
        *slot = None;
        return std::future::pending().await;
    }
    // One read of the log serves all buffered messages.
    while listener.next_buffered().is_some() {}
}
