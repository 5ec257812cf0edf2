//! Notifications of appends, on a channel of Postgres.

use std::{sync::Arc, time::Duration};

use sqlx::{Acquire as _, postgres::PgListener};
use tokio::{
    runtime::Handle,
    sync::Notify,
    time::{Interval, MissedTickBehavior, interval, sleep, timeout},
};
use tokio_util::task::AbortOnDropHandle;

use super::{
    ANSWER_TIMEOUT, Database,
    append::check,
    in_time,
    session::{Pool, keep_or_close},
};
use crate::Error;

/// The channel of all nodes. A message has no content and may be lost: after
/// [`POLL_INTERVAL`], nodes read the log anyway.
const CHANNEL_NAME: &str = "orderlog";

/// Nodes read the log at least every 250 ms, so that a lost message delays no node longer. A
/// listener that failed connects again after the same time.
const POLL_INTERVAL: Duration = Duration::from_millis(250);

/// A listener connects anew after 60 s, because nothing else shows that its server has vanished
/// or takes no more writes.
const LISTENER_LIFETIME: Duration = Duration::from_secs(60);

/// Notifies the other nodes of this node's appends, and receives their notifications.
#[derive(Debug)]
pub(crate) struct Channel {
    pool: Pool,
    received: Arc<Notify>,
    poll: Interval,
    /// A task of its own, so that no poll cuts a slow connection attempt short.
    _listener: AbortOnDropHandle<()>,
}

impl Channel {
    /// Listens on `runtime`, and notifies on connections of `pool`.
    pub(super) fn new(database: Database, pool: Pool, log_id: String, runtime: &Handle) -> Self {
        let mut poll = interval(POLL_INTERVAL);
        poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let received = Arc::new(Notify::new());
        let listener = runtime.spawn(listen(database, log_id, Arc::clone(&received)));
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
        let notified = async {
            let mut connection = self.pool.get().await?;
            let notify = sqlx::query("SELECT pg_notify($1, '')").bind(CHANNEL_NAME);
            let notified = in_time(ANSWER_TIMEOUT, notify.execute(&mut *connection)).await;
            keep_or_close(connection, notified)
        };
        if let Err(error) = notified.await {
            tracing::debug!(%error, "other nodes were not notified; they poll the log");
        }
    }
}

/// Notifies `received` of each message, and connects again after a failure. A connection is left
/// only for a new one, so that the lock on the log is held throughout.
async fn listen(database: Database, log_id: String, received: Arc<Notify>) {
    let mut current = None;
    loop {
        let ended = match connect(&database, &log_id).await {
            Ok(listener) => {
                let listener = current.insert(listener);
                let receiving = receive(listener, &received);
                timeout(LISTENER_LIFETIME, receiving).await
            }
            Err(error) => Ok(Err(error)),
        };
        if let Ok(ended) = ended {
            if let Err(error) = ended {
                tracing::debug!(%error, "the node receives no notifications; it polls the log");
            }
            sleep(POLL_INTERVAL).await;
        }
    }
}

/// Opens a connection that listens. It holds the shared lock on the log, so that copies stay away
/// also while the node appends nothing.
async fn connect(database: &Database, log_id: &str) -> Result<PgListener, Error> {
    let mut listener = database.listener().await?;
    listener.eager_reconnect(false);
    check(listener.acquire().await?, Some(log_id)).await?;
    in_time(ANSWER_TIMEOUT, listener.listen(CHANNEL_NAME)).await?;
    Ok(listener)
}

/// Notifies `received` of each message until the connection ends.
async fn receive(listener: &mut PgListener, received: &Notify) -> Result<(), Error> {
    while listener.try_recv().await?.is_some() {
        received.notify_one();
    }
    Ok(())
}
