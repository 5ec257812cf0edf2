//! Reads that may take long: a few run, a few wait, and each ends in time.

use std::{num::NonZero, sync::Arc, thread, time::Duration};

use read_model::store::{self, Reader};
use tokio::{sync::Semaphore, time::timeout};
use wire::Error;

/// The reader of one kind of reads that may take long. Clones share their places.
#[derive(Debug, Clone)]
pub(crate) struct LongReads {
    documents: Reader,
    /// The reason for a rejection.
    overloaded: &'static str,
    /// The places of reads that run or wait.
    places: Arc<Semaphore>,
    /// The places of reads that run, one for each connection.
    running: Arc<Semaphore>,
    pub(crate) timeout: Duration,
}

impl LongReads {
    /// Opens a connection for each processor but one, which is left to other calls. More reads of a kind
    /// at once would only slow each other down. So many others may wait, and past them a read is rejected
    /// with the reason `overloaded`.
    pub(crate) async fn open<E>(
        timeout: Duration,
        waiting: usize,
        overloaded: &'static str,
        open: impl AsyncFn(u32) -> Result<Reader, E>,
    ) -> Result<Self, E> {
        let running = running();
        let connections = u32::try_from(running).unwrap_or(u32::MAX);
        Ok(Self {
            documents: open(connections).await?,
            overloaded,
            places: Arc::new(Semaphore::new(running + waiting)),
            running: Arc::new(Semaphore::new(running)),
            timeout,
        })
    }

    /// Runs a read as soon as it has a place.
    ///
    /// # Errors
    /// - [`Error::Overloaded`]: too many reads wait, or no place was free within the timeout.
    /// - [`Error::QueryTooSlow`]: the read took longer than the timeout, and was stopped.
    /// - The error of the read.
    pub(crate) async fn read<T>(
        &self,
        read: impl AsyncFnOnce(&Reader) -> Result<T, store::Error>,
    ) -> Result<T, Error> {
        let overloaded = Error::Overloaded(self.overloaded);
        let Ok(_place) = self.places.try_acquire() else {
            return Err(overloaded);
        };
        let Ok(Ok(_turn)) = timeout(self.timeout, self.running.acquire()).await else {
            return Err(overloaded);
        };
        in_time(self.timeout, read(&self.documents)).await
    }
}

/// Returns the number of reads of a kind that run at the same time.
fn running() -> usize {
    let processors = thread::available_parallelism().map_or(1, NonZero::get);
    (processors - 1).max(1)
}

/// Waits for a read, and stops it at the timeout.
///
/// # Errors
/// - [`Error::QueryTooSlow`]: the timeout is over.
/// - The error of the read.
pub(crate) async fn in_time<T>(
    limit: Duration,
    read: impl Future<Output = Result<T, store::Error>>,
) -> Result<T, Error> {
    let read = timeout(limit, read).await;
    let read = read.map_err(|_| Error::QueryTooSlow(limit))?;
    read.map_err(|error| Error::from(&error))
}

#[cfg(test)]
impl LongReads {
    /// Takes the turns of all reads, so that the next one waits until they are dropped.
    pub(crate) async fn take_all_turns(&self) -> tokio::sync::OwnedSemaphorePermit {
        let turns = u32::try_from(running()).unwrap();
        let running = Arc::clone(&self.running);
        running.acquire_many_owned(turns).await.unwrap()
    }

    /// Returns the number of lists that run or wait.
    pub(crate) fn waiting(&self) -> usize {
        running() + crate::queries::MAX_WAITING_LISTS - self.places.available_permits()
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use read_model::store::Writer;
    use tempfile::TempDir;
    use tokio::task::JoinSet;

    use super::*;

    const DEADLINE: Duration = Duration::from_secs(30);

    const WAITING: usize = 3;

    async fn reads(timeout: Duration) -> (TempDir, LongReads) {
        let folder = tempfile::tempdir().unwrap();
        let writer = Writer::open(&folder.path().join("read.db"), 1)
            .await
            .unwrap();
        let open = async |connections| writer.reader(connections).await;
        let reads = LongReads::open(timeout, WAITING, "too many", open).await;
        (folder, reads.unwrap())
    }

    #[tokio::test]
    async fn reads_past_the_limit_are_rejected_immediately_until_one_ends() {
        let (_folder, reads) = reads(Duration::from_secs(600)).await;
        let mut begun = JoinSet::new();
        while reads.places.available_permits() > 0 {
            let reads = reads.clone();
            begun.spawn(async move { reads.read::<()>(async |_| pending().await).await });
            tokio::task::yield_now().await;
        }
        assert_eq!(begun.len(), running() + WAITING);
        let surplus = reads.read::<()>(async |_| pending().await).await;
        assert!(matches!(surplus, Err(Error::Overloaded(_))), "{surplus:?}");
        begun.shutdown().await;
        let read: Result<(), _> = reads.read(async |_| Ok(())).await;
        read.unwrap();
    }

    #[tokio::test]
    async fn a_read_that_gets_no_place_in_time_is_rejected() {
        let (_folder, reads) = reads(Duration::from_millis(10)).await;
        let _all = reads.take_all_turns().await;
        let late = reads.read::<()>(async |_| Ok(()));
        let late = tokio::time::timeout(DEADLINE, late).await.unwrap();
        assert!(matches!(late, Err(Error::Overloaded(_))), "{late:?}");
    }

    #[tokio::test]
    async fn a_read_that_works_for_too_long_fails() {
        let (_folder, reads) = reads(Duration::from_millis(10)).await;
        let slow = reads.read::<()>(async |_| pending().await);
        let slow = tokio::time::timeout(DEADLINE, slow).await.unwrap();
        assert_eq!(slow, Err(Error::QueryTooSlow(reads.timeout)));
    }
}
