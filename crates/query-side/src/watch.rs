//! WatchOrders: streams the orders that match now, then every change to them.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use contract::orders::v1::{Order, WatchOrdersResponse};
use read_model::{
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

use crate::{lists::in_time, queries::Queries};

/// Maximum number of orders read in one call, and so in one response.
const MAX_PAGE_ORDERS: usize = 200;

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
        let mut consistent = self.documents.consistent();
        if !*consistent.borrow_and_update() {
            return Err(Error::ReadModelDiverged);
        }
        let watcher = Watcher {
            documents: self.watched.clone(),
            initial_lists: Arc::clone(&self.initial_lists),
            list_timeout: self.lists.timeout,
            position: self.documents.subscribe(),
            consistent,
            filter,
            stop: self.stop.clone(),
            span: Span::current(),
            changes_only,
            after: None,
            reported: None,
            changes: None,
            is_all: false,
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
    /// The position of the documents.
    position: watch::Receiver<u64>,
    /// Changes when the log goes back. The orders that were sent may be lost then.
    consistent: watch::Receiver<bool>,
    filter: OrderFilter,
    stop: CancellationToken,
    span: Span,
    /// Whether the stream leaves out the initial orders.
    changes_only: bool,
    /// The end of the last page of the initial orders.
    after: Option<Cursor>,
    /// The stream has sent every change up to this position; `None` before the first page.
    reported: Option<u64>,
    /// The changes read so far; `None` until all initial orders are sent.
    changes: Option<ChangeCursor>,
    /// Whether the last read returned all changes.
    is_all: bool,
    heartbeat: Instant,
    _permit: OwnedSemaphorePermit,
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
        let response = match self.changes {
            None if self.changes_only => Ok(self.start()),
            None => self.next_page().await,
            Some(cursor) => self.next_changes(cursor).await,
        };
        if self.consistent.has_changed().unwrap_or(true) {
            return Err(Error::ReadModelDiverged);
        }
        response
    }

    /// Begins with the changes after the present position.
    fn start(&mut self) -> WatchOrdersResponse {
        let position = self.documents.position();
        self.reported = Some(position);
        self.changes = Some(ChangeCursor::at(position));
        WatchOrdersResponse {
            orders: Vec::new(),
            left_order_ids: Vec::new(),
            as_of_position: position,
            caught_up: true,
        }
    }

    /// Returns the next of the orders that match now.
    async fn next_page(&mut self) -> Result<WatchOrdersResponse, Error> {
        let turn = self.initial_lists.acquire().await;
        let _turn = turn.map_err(|_| Error::ShuttingDown)?;
        let page =
            self.documents
                .list(&self.filter, OLDEST_FIRST, self.after, MAX_PAGE_ORDERS, &[]);
        let page = in_time(self.list_timeout, page).await?;
        // The changes after the first page must be sent.
        let position = *self.reported.get_or_insert(page.as_of);
        self.after = page.next;
        if self.after.is_none() {
            self.changes = Some(ChangeCursor::at(position));
        }
        Ok(WatchOrdersResponse {
            orders: page.orders,
            left_order_ids: Vec::new(),
            as_of_position: position,
            caught_up: self.after.is_none(),
        })
    }

    /// Waits for changes after the cursor, and returns them, or a heartbeat.
    async fn next_changes(
        &mut self,
        mut cursor: ChangeCursor,
    ) -> Result<WatchOrdersResponse, Error> {
        loop {
            if self.is_all {
                let changed = async {
                    tokio::select! {
                        changed = self.position.changed() => changed,
                        changed = self.consistent.changed() => {
                            self.consistent.mark_changed();
                            changed
                        }
                    }
                };
                match timeout_at(self.heartbeat, changed).await {
                    Ok(Ok(())) | Err(_) => {}
                    Ok(Err(_)) => return Err(Error::ShuttingDown),
                }
            }
            if self.consistent.has_changed().unwrap_or(true) {
                return Err(Error::ReadModelDiverged);
            }
            // Marks the position as seen before the read, so that any later change ends the wait.
            self.position.mark_unchanged();
            let read = self.documents.changed_since(cursor, MAX_PAGE_ORDERS).await;
            let read = read.map_err(|error| Error::from(&error))?;
            cursor = read.next;
            self.changes = Some(cursor);
            // Until `is_all`, the cursor may have passed the change of an order that changed once
            // more. Its newest state comes later, so the reported position does not advance.
            self.is_all = cursor.position >= read.as_of;
            if self.is_all {
                self.reported = Some(cursor.position);
            }
            let orders = read.documents.into_iter().map(|document| document.order);
            let response = self.changed(orders);
            let is_silent = response.orders.is_empty() && response.left_order_ids.is_empty();
            if !is_silent || Instant::now() >= self.heartbeat {
                self.heartbeat = Instant::now() + HEARTBEAT_INTERVAL;
                return Ok(response);
            }
        }
    }

    fn changed(&self, orders: impl Iterator<Item = Order>) -> WatchOrdersResponse {
        let in_any_state = OrderFilter {
            statuses: Vec::new(),
            ..self.filter.clone()
        };
        let (matching, others): (Vec<_>, Vec<_>) =
            orders.partition(|order| self.filter.matches(order));
        let left = others
            .into_iter()
            .filter(|order| in_any_state.matches(order));
        WatchOrdersResponse {
            orders: matching,
            left_order_ids: left.map(|order| order.order_id).collect(),
            as_of_position: self.reported.unwrap_or(0),
            caught_up: true,
        }
    }
}
