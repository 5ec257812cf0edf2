//! Reads that may take long: a few run, a few wait, and each ends in time.

use std::{num::NonZero, sync::Arc, thread, time::Duration};

use read_model::store::{self, Reader};
use tokio::{sync::Semaphore, time::timeout};
use wire::Error;

/// Maximum number of lists that wait while one for each processor but one runs.
pub(crate) const MAX_WAITING_LISTS: usize = 16;

/// The reader of lists. Clones share their places.
#[derive(Debug, Clone)]
pub(crate) struct Lists {
    documents: Reader,
    /// The places of lists that run or wait.
    places: Arc<Semaphore>,
    /// The places of lists that run, one for each connection.
    running: Arc<Semaphore>,
    pub(crate) timeout: Duration,
}

impl Lists {
    /// Opens a connection for each processor but one, which is left to other calls. More lists at once
    /// would only slow each other down.
    pub(crate) async fn open<E>(
        timeout: Duration,
        open: impl AsyncFn(u32) -> Result<Reader, E>,
    ) -> Result<Self, E> {
        let running = running_lists();
        let connections = u32::try_from(running).unwrap_or(u32::MAX);
        Ok(Self {
            documents: open(connections).await?,
            places: Arc::new(Semaphore::new(running + MAX_WAITING_LISTS)),
            running: Arc::new(Semaphore::new(running)),
            timeout,
        })
    }

    /// Runs a read as soon as it has a place.
    ///
    /// # Errors
    /// - [`Error::Overloaded`]: too many lists wait, or no place was free within the timeout.
    /// - [`Error::QueryTooSlow`]: the read took longer than the timeout, and was stopped.
    /// - The error of the read.
    pub(crate) async fn read<T>(
        &self,
        read: impl AsyncFnOnce(&Reader) -> Result<T, store::Error>,
    ) -> Result<T, Error> {
        let overloaded = Error::Overloaded("too many lists at the same time");
        let Ok(_place) = self.places.try_acquire() else {
            return Err(overloaded);
        };
        let Ok(Ok(_turn)) = timeout(self.timeout, self.running.acquire()).await else {
            return Err(overloaded);
        };
        in_time(self.timeout, read(&self.documents)).await
    }
}

/// Returns the number of lists that run at the same time.
fn running_lists() -> usize {
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
impl Lists {
    /// Takes the turns of all lists, so that the next list waits until they are dropped.
    pub(crate) async fn take_all_turns(&self) -> tokio::sync::OwnedSemaphorePermit {
        let turns = u32::try_from(running_lists()).unwrap();
        let running = Arc::clone(&self.running);
        running.acquire_many_owned(turns).await.unwrap()
    }

    /// Returns the number of lists that run or wait.
    pub(crate) fn waiting(&self) -> usize {
        running_lists() + MAX_WAITING_LISTS - self.places.available_permits()
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

    async fn lists(timeout: Duration) -> (TempDir, Lists) {
        let folder = tempfile::tempdir().unwrap();
        let writer = Writer::open(&folder.path().join("read.db"), 1)
            .await
            .unwrap();
        let open = async |connections| writer.reader(connections).await;
        let lists = Lists::open(timeout, open).await.unwrap();
        (folder, lists)
    }

    #[tokio::test]
    async fn lists_past_the_limit_are_rejected_immediately_until_one_ends() {
        let (_folder, lists) = lists(Duration::from_secs(600)).await;
        let mut reads = JoinSet::new();
        while lists.places.available_permits() > 0 {
            let lists = lists.clone();
            reads.spawn(async move { lists.read::<()>(async |_| pending().await).await });
            tokio::task::yield_now().await;
        }
        assert_eq!(reads.len(), running_lists() + MAX_WAITING_LISTS);
        let surplus = lists.read::<()>(async |_| pending().await).await;
        assert!(matches!(surplus, Err(Error::Overloaded(_))), "{surplus:?}");
        reads.shutdown().await;
        let read: Result<(), _> = lists.read(async |_| Ok(())).await;
        read.unwrap();
    }

    #[tokio::test]
    async fn a_list_that_gets_no_place_in_time_is_rejected() {
        let (_folder, lists) = lists(Duration::from_millis(10)).await;
        let _all = lists.take_all_turns().await;
        let late = lists.read::<()>(async |_| Ok(()));
        let late = tokio::time::timeout(DEADLINE, late).await.unwrap();
        assert!(matches!(late, Err(Error::Overloaded(_))), "{late:?}");
    }

    #[tokio::test]
    async fn a_list_that_works_for_too_long_fails() {
        let (_folder, lists) = lists(Duration::from_millis(10)).await;
        let slow = lists.read::<()>(async |_| pending().await);
        let slow = tokio::time::timeout(DEADLINE, slow).await.unwrap();
        assert_eq!(slow, Err(Error::QueryTooSlow(lists.timeout)));
    }
}
