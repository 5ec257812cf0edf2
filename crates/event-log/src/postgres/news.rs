//! Announcements of appends, as notifications of Postgres.

use std::time::Duration;

use sqlx::{PgPool, postgres::PgListener};
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::{ANSWER_TIMEOUT, in_time};

/// The channel on which nodes announce appends. A message has no content and may be lost: after
/// [`POLL`], nodes read the log anyway.
const CHANNEL: &str = "orderlog";

/// Nodes read the log at least every 250 ms, so that a lost message delays no node longer.
const POLL: Duration = Duration::from_millis(250);

/// Announces this node's appends, and receives the announcements of other nodes.
#[derive(Debug)]
pub struct News {
    pool: PgPool,
    listener: Option<PgListener>,
    poll: Interval,
}

impl News {
    pub(super) fn new(pool: PgPool) -> Self {
        let mut poll = interval(POLL);
        poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            pool,
            listener: None,
            poll,
        }
    }

    /// Returns when another node may have appended: after a message, or after [`POLL`].
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
    pub(crate) async fn tell(&self) {
        let told = sqlx::query("SELECT pg_notify($1, '')").bind(CHANNEL);
        if let Err(error) = in_time(ANSWER_TIMEOUT, told.execute(&self.pool)).await {
            tracing::debug!(%error, "other nodes are not told, and will find out by themselves");
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
            if listener.listen(CHANNEL).await.is_err() {
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
