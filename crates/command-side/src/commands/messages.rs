//! Decodes and checks the messages of commands.

use std::sync::Arc;

use contract::Raw;
use tokio::{sync::Semaphore, task::spawn_blocking};
use wire::Error;

/// Maximum bytes of a message that the commands' thread decodes itself: about 0.1 ms of its time.
const MAX_INLINE_BYTES: usize = 64 << 10;

/// Maximum number of larger messages that are decoded at a time. Others wait.
const MAX_DECODING: usize = 2;

/// Decodes and checks small messages on the calling thread, and large ones on another, so that a
/// large message delays no other command.
#[derive(Debug, Clone)]
pub(super) struct Messages {
    decoding: Arc<Semaphore>,
}

impl Messages {
    pub(super) fn new() -> Self {
        Self {
            decoding: Arc::new(Semaphore::new(MAX_DECODING)),
        }
    }

    /// Runs `check` on a message.
    ///
    /// # Errors
    /// The error of `check`, or [`Error::Internal`] if it panics.
    pub(super) async fn check<T: Send + 'static>(
        &self,
        message: Raw,
        check: impl FnOnce(&Raw) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        if message.bytes().len() <= MAX_INLINE_BYTES {
            return check(&message);
        }
        // The semaphore is never closed, so that every message gets a permit.
        let permit = Arc::clone(&self.decoding).acquire_owned().await.ok();
        let checked = spawn_blocking(move || {
            let _permit = permit;
            check(&message)
        });
        checked.await.map_err(Error::internal)?
    }
}
