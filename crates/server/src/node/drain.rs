//! The shutdown of a node: health turns, calls finish, connections close.

use std::{pin::pin, time::Duration};

use futures_util::future::OptionFuture;
use sd_notify::NotifyState;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Error, WriteSide, tell_manager};
use crate::ops::health::Health;

/// Time between the rejection of new calls and the closing of connections at shutdown. A call that
/// meets the closing of its connection would fail without a reason.
const FAREWELL: Duration = Duration::from_millis(250);

/// The steps from the signal to end until the connections have closed.
pub(super) struct Drain {
    pub(super) health: Health,
    pub(super) streams: CancellationToken,
    pub(super) stop_accepting: CancellationToken,
    pub(super) timeout: Duration,
}

impl Drain {
    /// Waits for `shutdown` and lets the calls in progress finish. `serving` is the listener, which
    /// ends when all connections have closed.
    ///
    /// # Errors
    /// [`Error::Thread`]: a task has panicked. The node then cannot serve any more.
    pub(super) async fn after(
        mut self,
        shutdown: impl Future<Output = Duration>,
        serving: impl Future<Output = Result<(), Error>>,
        mut write: Option<&mut WriteSide>,
    ) -> Result<(), Error> {
        let draining = CancellationToken::new();
        let health_followed = tokio::spawn(self.health.clone().follow(draining.clone()));
        let mut serving = pin!(serving);
        let writer_failed = OptionFuture::from(write.as_mut().map(|side| side.failed()));
        let delay = tokio::select! {
            served = &mut serving => return served,
            Some(error) = writer_failed => return Err(error),
            delay = shutdown => delay,
        };
        tracing::info!("shutting down");
        let deadline = Instant::now() + self.timeout;
        tell_manager(NotifyState::Stopping, "calls in flight are finished");
        // The follower ends first, because it could overwrite the drained status.
        draining.cancel();
        health_followed
            .await
            .map_err(|error| Error::Thread(error.into()))?;
        let farewell = async {
            self.health.drain().await;
            tokio::time::sleep(delay).await;
            self.streams.cancel();
            tokio::time::sleep(FAREWELL).await;
            self.stop_accepting.cancel();
            self.health.close().await;
        };
        // The server runs meanwhile, so that late clients receive a status too.
        let drained = async { tokio::join!(farewell, &mut serving).1 };
        match tokio::time::timeout_at(deadline, drained).await {
            Ok(served) => served,
            Err(_) => {
                tracing::warn!("calls in flight are cut off: the drain timeout is over");
                Ok(())
            }
        }
    }
}
