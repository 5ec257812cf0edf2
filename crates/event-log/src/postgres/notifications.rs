//! Notifications of appends, on a channel of Postgres.

use std::{sync::Arc, time::Duration};

use sqlx::{Acquire as _, PgPool, postgres::PgListener};
use tokio::{
    runtime::Handle,
    sync::Notify,
    time::{Interval, MissedTickBehavior, interval, sleep},
};
use tokio_util::task::AbortOnDropHandle;

use super::{ANSWER_TIMEOUT, append::check, in_time};
use crate::Error;

/// The channel of all nodes. A message has no content and may be lost: after
/// [`POLL_INTERVAL`], nodes read the log anyway.
const CHANNEL_NAME: &str = "orderlog";

/// Nodes read the log at least every 250 ms, so that a lost message delays no node longer. A
/// listener that failed connects again after the same time.
const POLL_INTERVAL: Duration = Duration::from_millis(250);

/// Notifies the other nodes of this node's appends, and receives their notifications.
#[derive(Debug)]
pub(crate) struct Channel {
    pool: PgPool,
    received: Arc<Notify>,
    poll: Interval,
    /// A task of its own, so that no poll cuts a slow connection attempt short.
    _listener: AbortOnDropHandle<()>,
}

impl Channel {
    /// Listens on `runtime`, on connections of `pool`.
    pub(super) fn new(pool: PgPool, log_id: String, runtime: &Handle) -> Self {
        let mut poll = interval(POLL_INTERVAL);
        poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let received = Arc::new(Notify::new());
        let listener = runtime.spawn(listen(pool.clone(), log_id, Arc::clone(&received)));
        Self {
            pool,
            received,
            poll,
            _listener: AbortOnDropHandle::new(listener),
        }
    }

    /// Returns when another node may have appended: after a message, or after [`POLL_INTERVAL`].
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.poll.tick() => {}
            () = self.received.notified() => {}
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

/// Notifies `received` of each message, and connects again after a failure.
async fn listen(pool: PgPool, log_id: String, received: Arc<Notify>) {
    loop {
        if let Err(error) = listen_once(&pool, &log_id, &received).await {
            tracing::debug!(%error, "the node receives no notifications; it polls the log");
        }
        sleep(POLL_INTERVAL).await;
    }
}

/// Notifies `received` of each message until the connection ends. The connection holds the shared
/// lock on the log, so that copies stay away also while the node appends nothing.
async fn listen_once(pool: &PgPool, log_id: &str, received: &Notify) -> Result<(), Error> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.eager_reconnect(false);
    check(listener.acquire().await?, Some(log_id)).await?;
    in_time(ANSWER_TIMEOUT, listener.listen(CHANNEL_NAME)).await?;
    while listener.try_recv().await?.is_some() {
        received.notify_one();
    }
    Ok(())
}
