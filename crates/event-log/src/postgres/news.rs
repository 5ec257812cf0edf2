use std::time::Duration;

use sqlx::{PgPool, postgres::PgListener};
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::{ANSWER_TIMEOUT, in_time};

/// The channel on which nodes tell each other that they have appended. A message says no more: it
/// may be lost, and is only the sooner of two reasons to look.
const CHANNEL: &str = "orderlog";

/// After this time there is reason to look anyway.
const POLL: Duration = Duration::from_millis(250);

/// What other nodes do, and telling them what this one does.
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

    /// Returns when another node may have appended.
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

    /// Tells the others that this node has appended.
    pub(crate) async fn tell(&self) {
        let told = sqlx::query("SELECT pg_notify($1, '')").bind(CHANNEL);
        if let Err(error) = in_time(ANSWER_TIMEOUT, told.execute(&self.pool)).await {
            tracing::debug!(%error, "other nodes are not told, and will find out by themselves");
        }
    }
}

/// Returns when there was a message; whatever fails, it is not by returning.
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
    // One look serves for all that have come.
    while listener.next_buffered().is_some() {}
}
