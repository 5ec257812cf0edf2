//! The state that all queries share: the documents, the search engine, and the limits.

use std::{sync::Arc, time::Duration};

use read_model::{progress::Progress, search::Engine, store::Reader};
use tokio::{
    sync::{Semaphore, watch},
    time::timeout_at,
};
use tokio_util::sync::CancellationToken;
use wire::{Error, Limit};

use crate::{highlights::Highlights, long_reads::LongReads, wait::Wait, watch::Dispatch};

/// Maximum number of lists that wait while one for each processor but one runs.
pub(crate) const MAX_WAITING_LISTS: usize = 16;

/// Maximum number of statistics of customers that wait while one for each processor but one runs. Most
/// take less than a millisecond.
const MAX_WAITING_STATISTICS: usize = 256;

/// Maximum number of concurrent text searches. The engine runs fewer at a time, and the others
/// wait.
const MAX_SEARCHES: usize = 256;

/// Maximum number of open streams.
const MAX_WATCHERS: usize = 1000;

/// Connections for the reads of one order or of the statistics of all.
const POINT_CONNECTIONS: u32 = 2;

/// Connections for the pages of text searches, which read at most 500 orders by their rows.
const PAGE_CONNECTIONS: u32 = 1;

/// Connections for WatchOrders: one for slow watchers while another lists the initial orders.
const WATCH_CONNECTIONS: u32 = 2;

/// Connections for the changes of all watchers.
const DISPATCH_CONNECTIONS: u32 = 1;

pub(crate) const LIMITS: [Limit; 4] = [
    Limit::new(
        "searches without text that wait; one for each processor but one runs",
        MAX_WAITING_LISTS as u64,
        "`OVERLOADED`",
    ),
    Limit::new(
        "statistics of customers that wait; one for each processor but one runs",
        MAX_WAITING_STATISTICS as u64,
        "`OVERLOADED`",
    ),
    Limit::new(
        "text searches, of which one for each processor runs",
        MAX_SEARCHES as u64,
        "`OVERLOADED`",
    ),
    Limit::new("`WatchOrders` streams", MAX_WATCHERS as u64, "`OVERLOADED`"),
];

/// Readers of the documents with connections of their own for each kind of read, so that no kind
/// waits for another.
#[derive(Debug, Clone)]
pub struct Readers {
    /// Reads single orders and the statistics of all.
    points: Reader,
    lists: LongReads,
    /// Reads the statistics of a customer, who may have a large part of all orders.
    statistics: LongReads,
    /// Reads the pages of text searches.
    pages: Reader,
    /// Reads for WatchOrders.
    watchers: Reader,
    /// Reads the changes for all watchers.
    changes: Reader,
}

impl Readers {
    /// Opens the readers. `open` opens a reader with a number of connections, and `timeout` bounds
    /// each long read.
    ///
    /// # Errors
    /// The error of `open`.
    pub async fn open<E>(
        timeout: Duration,
        open: impl AsyncFn(u32) -> Result<Reader, E>,
    ) -> Result<Self, E> {
        let lists = "too many lists at the same time";
        let statistics = "too many statistics of customers at the same time";
        Ok(Self {
            points: open(POINT_CONNECTIONS).await?,
            lists: LongReads::open(timeout, MAX_WAITING_LISTS, lists, &open).await?,
            statistics: LongReads::open(timeout, MAX_WAITING_STATISTICS, statistics, &open).await?,
            pages: open(PAGE_CONNECTIONS).await?,
            watchers: open(WATCH_CONNECTIONS).await?,
            changes: open(DISPATCH_CONNECTIONS).await?,
        })
    }

    /// Returns a receiver that is false while the documents have events that the log no longer has.
    #[must_use]
    pub fn consistent(&self) -> watch::Receiver<bool> {
        self.points.consistent()
    }

    /// Returns a receiver that is false while the index of lists is filled, and lists fail.
    #[must_use]
    pub fn listed(&self) -> watch::Receiver<bool> {
        self.points.listed()
    }
}

/// Implements QueryService from the documents and the search engine.
#[derive(Debug, Clone)]
pub struct Queries {
    /// Reads single orders and the statistics of all, and tells the position of the documents.
    pub(crate) documents: Reader,
    pub(crate) lists: LongReads,
    /// Reads the statistics of a customer.
    pub(crate) statistics: LongReads,
    /// Reads the pages of text searches.
    pub(crate) pages: Reader,
    /// Reads for WatchOrders.
    pub(crate) watched: Reader,
    pub(crate) dispatch: Dispatch,
    /// Lets one stream at a time list its initial orders.
    pub(crate) initial_lists: Arc<Semaphore>,
    pub(crate) engine: Arc<dyn Engine>,
    pub(crate) highlights: Highlights,
    pub(crate) index: Progress,
    pub(crate) stop: CancellationToken,
    pub(crate) watchers: Arc<Semaphore>,
    pub(crate) searches: Arc<Semaphore>,
}

impl Queries {
    /// Creates the service from the documents and the search engine. `index` is the progress of the
    /// engine's index. `stop` ends the streams.
    pub fn new(
        readers: Readers,
        engine: Arc<dyn Engine>,
        index: Progress,
        stop: CancellationToken,
    ) -> Self {
        let Readers {
            points,
            lists,
            statistics,
            pages,
            watchers,
            changes,
        } = readers;
        let searches = Arc::new(Semaphore::new(MAX_SEARCHES));
        Self {
            documents: points,
            highlights: Highlights::new(lists.timeout, Arc::clone(&searches)),
            lists,
            statistics,
            pages,
            watched: watchers,
            dispatch: Dispatch::new(changes),
            initial_lists: Arc::new(Semaphore::new(1)),
            engine,
            index,
            stop,
            watchers: Arc::new(Semaphore::new(MAX_WATCHERS)),
            searches,
        }
    }

    /// Hands changed orders to the WatchOrders streams, until `stop` is cancelled. Without this, they
    /// get heartbeats only.
    pub fn dispatch(&self, stop: CancellationToken) -> impl Future<Output = ()> + use<> {
        self.dispatch.clone().run(stop)
    }

    /// Returns the number of open WatchOrders streams.
    #[must_use]
    pub fn watching(&self) -> usize {
        MAX_WATCHERS - self.watchers.available_permits()
    }

    /// Waits until the documents have been compared with the log and reach the request's position.
    ///
    /// # Errors
    /// - [`Error::StoreUnavailable`]: no node has streamed the log since the start, so that the
    ///   documents have not been compared with it.
    /// - [`Error::ReadModelDiverged`]: the documents have events that the log no longer has.
    /// - [`Error::ReadModelBehind`]: the deadline passes.
    pub(crate) async fn reached(&self, wait: Wait) -> Result<Reached, Error> {
        let compared = timeout_at(wait.deadline, self.documents.wait_until_compared());
        if !matches!(compared.await, Ok(Ok(()))) {
            return Err(Error::StoreUnavailable);
        }
        let mut consistent = self.documents.consistent();
        if !*consistent.borrow_and_update() {
            // Documents that differ from the log may never get to the position.
            return Err(Error::ReadModelDiverged);
        }
        let reached = async {
            if self.documents.wait_for(wait.position).await.is_err() {
                // The projector has ended, and the process ends soon. The request's deadline still
                // applies.
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            reached = wait.until(reached, || self.documents.position()) => reached?,
            _ = consistent.changed() => return Err(Error::ReadModelDiverged),
        }
        Ok(Reached {
            position: wait.position,
            consistent,
        })
    }
}

/// The documents have reached the position of a request.
#[derive(Debug)]
pub(crate) struct Reached {
    position: u64,
    /// Changes when the log goes back.
    consistent: watch::Receiver<bool>,
}

impl Reached {
    /// Checks an answer of the documents at `as_of`, which were read since.
    ///
    /// # Errors
    /// [`Error::ReadModelDiverged`]: the log went back meanwhile, so that the answer may have lost
    /// events, or is of documents that started over and are not at the position yet.
    pub(crate) fn check(&self, as_of: u64) -> Result<(), Error> {
        match self.consistent.has_changed() {
            Ok(false) if as_of >= self.position => Ok(()),
            _ => Err(Error::ReadModelDiverged),
        }
    }
}

#[cfg(test)]
mod tests {
    use contract::orders::v1::{
        GetCustomerStatisticsRequest, SearchOrdersRequest, query_service_server::QueryService as _,
    };
    use read_model::{search::embedded::EmbeddedIndex, store::Writer};
    use tempfile::TempDir;
    use tonic::{Code, Request};

    use super::*;

    async fn queries() -> (TempDir, Writer, Queries) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("read.db");
        let mut writer = Writer::open(&file, 1).await.unwrap();
        writer.apply("log", &[], 0).await.unwrap();
        writer.set_consistent(true);
        let open = async |connections| writer.reader(connections).await;
        let readers = Readers::open(Duration::from_secs(600), open).await.unwrap();
        let engine = Arc::new(EmbeddedIndex::open(folder.path()).unwrap());
        let index = Progress::new(String::new(), 0, 1);
        let queries = Queries::new(readers, engine, index, CancellationToken::new());
        (folder, writer, queries)
    }

    #[tokio::test]
    async fn g12_answer_is_refused_if_the_log_went_back_after_the_wait() {
        let (_folder, writer, queries) = queries().await;
        let list =
            |queries: Queries| async move { queries.search(SearchOrdersRequest::default()).await };
        assert_eq!(list(queries.clone()).await.unwrap().as_of_position, 0);
        // The list has reached its position, and waits for its turn.
        let turns = queries.lists.take_all_turns().await;
        let waiting = tokio::spawn(list(queries.clone()));
        while queries.lists.waiting() == 0 {
            assert!(!waiting.is_finished());
            tokio::task::yield_now().await;
        }
        writer.set_consistent(false);
        writer.set_consistent(true);
        drop(turns);
        let answered = waiting.await.unwrap();
        assert_eq!(answered.unwrap_err(), Error::ReadModelDiverged);
        list(queries).await.unwrap();
    }

    #[tokio::test]
    async fn g13_statistics_of_a_customer_take_turns_and_delay_no_list() {
        let (_folder, _writer, mut queries) = queries().await;
        queries.statistics.timeout = Duration::from_millis(10);
        let _turns = queries.statistics.take_all_turns().await;
        let request = GetCustomerStatisticsRequest {
            customer_id: "ann".to_owned(),
            ..GetCustomerStatisticsRequest::default()
        };
        let rejected = queries.get_customer_statistics(Request::new(request)).await;
        let rejected = rejected.unwrap_err();
        assert_eq!(rejected.code(), Code::ResourceExhausted, "{rejected:?}");
        let list = queries.search(SearchOrdersRequest::default()).await;
        list.unwrap();
    }

    #[tokio::test]
    async fn g12_wait_ends_when_the_log_goes_back() {
        let (_folder, writer, queries) = queries().await;
        let request = SearchOrdersRequest {
            min_position: 7,
            ..SearchOrdersRequest::default()
        };
        let waiting = tokio::spawn(async move { queries.search(request).await });
        tokio::task::yield_now().await;
        writer.set_consistent(false);
        let ended = waiting.await.unwrap();
        assert_eq!(ended.unwrap_err(), Error::ReadModelDiverged);
    }
}
