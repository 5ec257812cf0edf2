//! The connections of a pool that reads of many rows may use.

use tokio::sync::{Semaphore, SemaphorePermit};

/// Limits the reads of many rows, of subscribers that catch up and of verifications, to all
/// connections but one. A short read does not wait for them.
#[derive(Debug)]
pub(crate) struct LongReads {
    permits: Semaphore,
}

impl LongReads {
    /// Limits the reads of a pool with `connections`. A pool of one connection gives it to both.
    pub(crate) fn on(connections: u32) -> Self {
        let permits = connections.saturating_sub(1).max(1);
        Self {
            permits: Semaphore::new(permits as usize),
        }
    }

    /// Waits for a place, which the read keeps until it drops the permit.
    pub(crate) async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        // The semaphore is never closed, so that every read gets a permit.
        self.permits.acquire().await.ok()
    }
}
