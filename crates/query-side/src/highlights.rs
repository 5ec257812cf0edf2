//! Adds their highlights to the orders that a search found.

use std::{num::NonZero, sync::Arc, thread, time::Duration};

use contract::orders::v1::SearchOrdersResponse;
use read_model::search::highlights;
use tokio::{
    sync::Semaphore,
    task::spawn_blocking,
    time::{Instant, timeout_at},
};
use wire::Error;

/// Finds highlights on blocking threads. Clones share their turns.
#[derive(Debug, Clone)]
pub(crate) struct Highlights {
    /// The places of searches, which bound those that wait for a turn too.
    searches: Arc<Semaphore>,
    /// The turns: one for each processor, because more at once would only slow each other down.
    turns: Arc<Semaphore>,
    timeout: Duration,
}

impl Highlights {
    pub(crate) fn new(timeout: Duration, searches: Arc<Semaphore>) -> Self {
        let processors = thread::available_parallelism().map_or(1, NonZero::get);
        Self {
            searches,
            turns: Arc::new(Semaphore::new(processors)),
            timeout,
        }
    }

    /// Returns the response with the highlights of each of its orders.
    ///
    /// # Errors
    /// - [`Error::Overloaded`]: too many searches run or wait.
    /// - [`Error::QueryTooSlow`]: the timeout is over, including the wait for a turn.
    /// - [`Error::Internal`]: the work panicked.
    pub(crate) async fn add(
        &self,
        query: String,
        mut response: SearchOrdersResponse,
    ) -> Result<SearchOrdersResponse, Error> {
        let places = self.searches.try_acquire();
        let _place = places.map_err(|_| Error::Overloaded("too many searches"))?;
        let too_slow = Error::QueryTooSlow(self.timeout);
        let deadline = Instant::now() + self.timeout;
        let turn = timeout_at(deadline, Arc::clone(&self.turns).acquire_owned()).await;
        let Ok(Ok(turn)) = turn else {
            return Err(too_slow);
        };
        let found = spawn_blocking(move || {
            // The work keeps its turn until its end, even if the caller is gone.
            let _turn = turn;
            response.highlights = highlights(&query, &response.orders, deadline.into_std())?;
            Some(response)
        });
        found.await.map_err(Error::internal)?.ok_or(too_slow)
    }
}
