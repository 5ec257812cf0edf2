//! WatchOrders: streams the orders that match now, then every change to them.
//!
//! A watcher registers with the [`dispatch`], lists the orders that match, and from then on takes the
//! changes that the dispatch hands to it. One that is too slow reads what it lacks by itself.

mod dispatch;
mod predicates;
#[cfg(test)]
mod tests;

use std::{
    collections::{HashSet, VecDeque},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use contract::orders::v1::{Order, WatchOrdersResponse};
use read_model::{
    Row,
    request::{Cursor, OrderFilter, Sort, SortField},
    store::{ChangeCursor, Reader},
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::{Instant, timeout_at},
};
use tokio_stream::Stream;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tracing::{Instrument as _, Span};
use wire::Error;

pub(crate) use self::dispatch::Dispatch;
use self::dispatch::{Registration, Taken, in_any_state};
use crate::{long_reads::in_time, queries::Queries};

/// Maximum number of orders that a watcher reads in one call, and so in one response.
const MAX_PAGE_ORDERS: usize = 200;

/// Maximum number of orders that are found at once for the initial list, of 16 bytes each.
const MAX_FOUND_ORDERS: usize = 10_000;

/// Maximum silence of a stream: a heartbeat follows after 10 s.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(10);

/// The order of the initial list. New orders come after those already listed.
const OLDEST_FIRST: Sort = Sort {
    field: SortField::CreatedAt,
    descending: false,
};

impl Queries {
    /// Watches the orders that match. With `changes_only` the stream leaves out those that match
    /// now.
    pub(crate) fn watch(
        &self,
        filter: OrderFilter,
        changes_only: bool,
    ) -> Result<OrderStream, Error> {
        let permit = Arc::clone(&self.watchers)
            .try_acquire_owned()
            .map_err(|_| Error::Overloaded("too many watch orders"))?;
        // Comes before the check, so that the log does not go back between the two.
        let mut revised = self.documents.revised();
        revised.mark_unchanged();
        if !self.documents.is_consistent() {
            return Err(Error::ReadModelDiverged);
        }
        // Comes before the first page, so that no change is between the two.
        let registration = self.dispatch.register(&filter);
        let watcher = Watcher {
            documents: self.watched.clone(),
            initial_lists: Arc::clone(&self.initial_lists),
            list_timeout: self.lists.timeout,
            revised,
            registration,
            in_any_state: in_any_state(&filter),
            filter,
            stop: self.stop.clone(),
            span: Span::current(),
            stage: match changes_only {
                true => Stage::Starting,
                false => Stage::Listing { after: None },
            },
            found: VecDeque::new(),
            is_all: false,
            reported: None,
            heartbeat: Instant::now() + HEARTBEAT_INTERVAL,
            _permit: permit,
        };
        Ok(OrderStream {
            step: Some(Box::pin(watcher.step())),
        })
    }
}

/// The next response of a watcher, and the watcher.
type Step = Pin<Box<dyn Future<Output = (Watcher, Result<WatchOrdersResponse, Error>)> + Send>>;

/// The responses of a watcher. A response is read only when the connection has room for it: a
/// client that does not read holds one response, encoded.
pub(crate) struct OrderStream {
    /// `None` after an error.
    step: Option<Step>,
}

impl Stream for OrderStream {
    type Item = Result<WatchOrdersResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(step) = &mut self.step else {
            return Poll::Ready(None);
        };
        let (watcher, response) = ready!(step.as_mut().poll(context));
        self.step = None;
        if response.is_ok() {
            self.step = Some(Box::pin(watcher.step()));
        }
        Poll::Ready(Some(response.map_err(Status::from)))
    }
}

struct Watcher {
    documents: Reader,
    /// Lets one stream at a time list, so that the changes of the others have a connection.
    initial_lists: Arc<Semaphore>,
    list_timeout: Duration,
    /// Notified when the orders that were sent may have changed without a change that follows.
    revised: watch::Receiver<()>,
    registration: Registration,
    filter: OrderFilter,
    /// The filter without its statuses.
    in_any_state: OrderFilter,
    stop: CancellationToken,
    span: Span,
    stage: Stage,
    /// Orders that are to be listed next.
    found: VecDeque<Cursor>,
    /// Whether those are the last.
    is_all: bool,
    /// The stream has sent every change up to this position; `None` before the first page.
    reported: Option<u64>,
    heartbeat: Instant,
    _permit: OwnedSemaphorePermit,
}

/// The source of the orders in the next response of a watcher.
#[derive(Debug, Clone, Copy)]
enum Stage {
    /// Nothing yet: the changes from now on are wanted.
    Starting,
    /// From the list of the orders that match now.
    Listing {
        /// The end of the last page.
        after: Option<Cursor>,
    },
    /// From the changes after a cursor, which it was too slow to take.
    CatchingUp {
        cursor: ChangeCursor,
        /// The dispatch hands out the changes after this position.
        until: u64,
    },
    /// From the dispatch.
    Following,
}

impl Watcher {
    async fn step(mut self) -> (Self, Result<WatchOrdersResponse, Error>) {
        let (stop, span) = (self.stop.clone(), self.span.clone());
        let response = async {
            tokio::select! {
                response = self.next() => response,
                () = stop.cancelled() => Err(Error::ShuttingDown),
            }
        };
        let response = response.instrument(span).await;
        (self, response)
    }

    async fn next(&mut self) -> Result<WatchOrdersResponse, Error> {
        let response = match self.stage {
            Stage::Starting => Ok(self.start()),
            Stage::Listing { after } => self.next_page(after).await,
            Stage::CatchingUp { .. } | Stage::Following => self.next_changes().await,
        };
        if self.revised.has_changed().unwrap_or(true) {
            return Err(Error::ReadModelDiverged);
        }
        response
    }

    /// Begins with the changes after the present position.
    fn start(&mut self) -> WatchOrdersResponse {
        let position = self.documents.position();
        self.reported = Some(position);
        self.stage = Stage::Following;
        WatchOrdersResponse {
            orders: Vec::new(),
            left_order_ids: Vec::new(),
            as_of_position: position,
            caught_up: true,
        }
    }

    /// Returns the next of the orders that match now.
    async fn next_page(&mut self, after: Option<Cursor>) -> Result<WatchOrdersResponse, Error> {
        let turn = Arc::clone(&self.initial_lists).acquire_owned().await;
        let _turn = turn.map_err(|_| Error::ShuttingDown)?;
        if self.found.is_empty() {
            self.find(after).await?;
        }
        let rows = self.found.iter().take(MAX_PAGE_ORDERS);
        let rows: Vec<_> = rows.map(|found| Row(found.row)).collect();
        let page = self.documents.orders_by_rows(&rows, &self.filter).await;
        let page = page.map_err(|error| Error::from(&error))?;
        // An order that no longer matches has changed, which comes after these.
        let last = self.found.drain(..page.covered).next_back();
        let caught_up = self.found.is_empty() && self.is_all;
        self.stage = match caught_up {
            true => Stage::Following,
            false => Stage::Listing {
                after: last.or(after),
            },
        };
        Ok(WatchOrdersResponse {
            orders: page.orders,
            left_order_ids: Vec::new(),
            as_of_position: self.reported.unwrap_or(0),
            caught_up,
        })
    }

    /// Finds the next orders to list. Each time, all orders that match are looked at.
    async fn find(&mut self, after: Option<Cursor>) -> Result<(), Error> {
        let found = self
            .documents
            .find(&self.filter, OLDEST_FIRST, after, MAX_FOUND_ORDERS);
        let (found, as_of) = in_time(self.list_timeout, found).await?;
        self.is_all = found.len() < MAX_FOUND_ORDERS;
        self.found = found.into();
        // The changes after the first orders were found must be sent.
        self.reported.get_or_insert(as_of);
        Ok(())
    }

    /// Waits for changes, and returns them, or a heartbeat.
    async fn next_changes(&mut self) -> Result<WatchOrdersResponse, Error> {
        loop {
            if self.revised.has_changed().unwrap_or(true) {
                return Err(Error::ReadModelDiverged);
            }
            let response = match self.stage {
                Stage::CatchingUp { cursor, until } => self.missed(cursor, until).await?,
                _ => match self.registration.take() {
                    Taken::Orders(orders, complete) => self.taken(&orders, complete),
                    Taken::Cut => {
                        self.stage = Stage::CatchingUp {
                            cursor: ChangeCursor::at(self.reported.unwrap_or(0)),
                            until: self.registration.resume(),
                        };
                        continue;
                    }
                },
            };
            let is_silent = response.orders.is_empty() && response.left_order_ids.is_empty();
            if !is_silent || Instant::now() >= self.heartbeat {
                self.heartbeat = Instant::now() + HEARTBEAT_INTERVAL;
                return Ok(response);
            }
            if matches!(self.stage, Stage::Following) {
                self.wait().await?;
            }
        }
    }

    /// Waits for changes, the next heartbeat, or a revision.
    async fn wait(&mut self) -> Result<(), Error> {
        let changed = async {
            tokio::select! {
                () = self.registration.filled() => Ok(()),
                changed = self.revised.changed() => {
                    self.revised.mark_changed();
                    changed
                }
            }
        };
        match timeout_at(self.heartbeat, changed).await {
            Ok(Ok(())) | Err(_) => Ok(()),
            Ok(Err(_)) => Err(Error::ShuttingDown),
        }
    }

    /// Returns what the dispatch has handed out, without what was sent before.
    fn taken(&mut self, orders: &[Arc<Order>], complete: u64) -> WatchOrdersResponse {
        let sent = self.reported.unwrap_or(0);
        let mut seen = HashSet::new();
        // Of several states of an order the last one is the newest.
        let newest = orders.iter().rev();
        let mut newest: Vec<_> = newest
            .filter(|order| order.position > sent && seen.insert(&order.order_id))
            .map(|order| Order::clone(order))
            .collect();
        newest.reverse();
        self.reported = Some(sent.max(complete));
        self.changed(newest.into_iter())
    }

    /// Reads the next changes that the watcher was too slow to take.
    async fn missed(
        &mut self,
        cursor: ChangeCursor,
        until: u64,
    ) -> Result<WatchOrdersResponse, Error> {
        let read = self.documents.changed_since(cursor, MAX_PAGE_ORDERS).await;
        let read = read.map_err(|error| Error::from(&error))?;
        self.stage = Stage::CatchingUp {
            cursor: read.next,
            until,
        };
        // Until it has read all, the cursor may have passed the change of an order that changed once
        // more. Its newest state comes later, so the reported position does not advance.
        if read.next.position >= read.as_of {
            self.reported = Some(read.next.position);
            if read.next.position >= until {
                self.stage = Stage::Following;
            }
        }
        let orders = read.documents.into_iter().map(|document| document.order);
        Ok(self.changed(orders))
    }

    fn changed(&self, orders: impl Iterator<Item = Order>) -> WatchOrdersResponse {
        let (matching, others): (Vec<_>, Vec<_>) =
            orders.partition(|order| self.filter.matches(order));
        let left = others
            .into_iter()
            .filter(|order| self.in_any_state.matches(order));
        WatchOrdersResponse {
            orders: matching,
            left_order_ids: left.map(|order| order.order_id).collect(),
            as_of_position: self.reported.unwrap_or(0),
            caught_up: true,
        }
    }
}
