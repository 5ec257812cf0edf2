//! WatchOrders: streams the orders that match now, then every change to them.

use std::{sync::Arc, time::Duration};

use contract::orders::v1::{Order, WatchOrdersResponse};
use prost::Message as _;
use read_model::{
    request::{Cursor, OrderFilter, Sort, SortField},
    store::{ChangeCursor, Reader},
};
use tokio::{
    sync::mpsc,
    time::{Instant, timeout_at},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use tracing::Instrument as _;
use wire::Error;

use crate::queries::Queries;

/// Maximum number of orders read in one call, and so in one response.
const MAX_PAGE_ORDERS: usize = 200;

/// Maximum bytes of orders in a response, unless one order is larger. A client's default limit is 4
/// MiB.
const MAX_RESPONSE_BYTES: usize = 1 << 20;

/// Maximum silence of a stream: a heartbeat follows after 10 s.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(10);

/// The order of the initial list. New orders come after those already listed.
const OLDEST_FIRST: Sort = Sort {
    field: SortField::CreatedAt,
    descending: false,
};

type Responses = mpsc::Sender<Result<WatchOrdersResponse, Status>>;

/// Why a stream ends.
enum End {
    Gone,
    Failed(Error),
}

impl Queries {
    pub(crate) fn watch(
        &self,
        filter: OrderFilter,
    ) -> Result<ReceiverStream<Result<WatchOrdersResponse, Status>>, Error> {
        let permit = Arc::clone(&self.watchers)
            .try_acquire_owned()
            .map_err(|_| Error::Overloaded("too many watch orders"))?;
        // A client that does not read holds two responses: one in the channel and one in
        // preparation.
        let (responses, sent) = mpsc::channel(1);
        let watcher = Watcher {
            documents: self.documents.clone(),
            filter,
        };
        let stop = self.stop.clone();
        // The task ends with its stream.
        let stream = async move {
            let ended = tokio::select! {
                ended = watcher.run(&responses) => ended,
                () = responses.closed() => return,
                () = stop.cancelled() => Err(End::Failed(Error::ShuttingDown)),
            };
            if let Err(End::Failed(error)) = ended {
                // Sending fails if the client has left.
                let _ = responses.send(Err(error.into())).await;
            }
            drop(permit);
        };
        tokio::spawn(stream.in_current_span());
        Ok(ReceiverStream::new(sent))
    }
}

struct Watcher {
    documents: Reader,
    filter: OrderFilter,
}

impl Watcher {
    async fn run(&self, responses: &Responses) -> Result<(), End> {
        let mut position = self.documents.subscribe();
        let mut reported = self.present(responses).await?;
        let mut cursor = ChangeCursor::at(reported);
        let mut heartbeat = Instant::now() + HEARTBEAT_INTERVAL;
        loop {
            // Marks the position as seen before the read, so that any later change ends the wait.
            position.mark_unchanged();
            let changes = self
                .documents
                .changed_since(cursor, MAX_PAGE_ORDERS)
                .await
                .map_err(failed)?;
            cursor = changes.next;
            // Until `is_all`, the cursor may have passed the change of an order that changed once
            // more. Its newest state comes later, so the reported position does not advance.
            let is_all = cursor.position >= changes.as_of;
            let before = WatchOrdersResponse {
                as_of_position: reported,
                caught_up: true,
                ..WatchOrdersResponse::default()
            };
            if is_all {
                reported = cursor.position;
            }
            let response = self.changed(
                changes.documents.into_iter().map(|document| document.order),
                reported,
            );
            let is_silent = response.orders.is_empty() && response.left_order_ids.is_empty();
            if !is_silent || Instant::now() >= heartbeat {
                send(responses, response, before).await?;
                heartbeat = Instant::now() + HEARTBEAT_INTERVAL;
            }
            if is_all {
                match timeout_at(heartbeat, position.changed()).await {
                    Ok(Ok(())) | Err(_) => {}
                    Ok(Err(_)) => return Err(End::Failed(Error::ShuttingDown)),
                }
            }
        }
    }

    /// Sends the orders that match now. Returns the position after which changes must be sent.
    async fn present(&self, responses: &Responses) -> Result<u64, End> {
        let mut after: Option<Cursor> = None;
        let mut from = None;
        loop {
            let listing = self
                .documents
                .list(&self.filter, OLDEST_FIRST, after, MAX_PAGE_ORDERS, &[])
                .await;
            let listing = listing.map_err(failed)?;
            let position = *from.get_or_insert(listing.as_of);
            after = listing.next;
            let response = WatchOrdersResponse {
                orders: listing.orders,
                left_order_ids: Vec::new(),
                as_of_position: position,
                caught_up: after.is_none(),
            };
            let piece = WatchOrdersResponse {
                as_of_position: position,
                ..WatchOrdersResponse::default()
            };
            send(responses, response, piece).await?;
            if after.is_none() {
                return Ok(position);
            }
        }
    }

    fn changed(&self, orders: impl Iterator<Item = Order>, position: u64) -> WatchOrdersResponse {
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
            as_of_position: position,
            caught_up: true,
        }
    }
}

fn failed(error: read_model::store::Error) -> End {
    End::Failed(Error::from(&error))
}

/// Sends a response, split by size if necessary. Each part before the last one has the other fields
/// of `piece`.
async fn send(
    responses: &Responses,
    mut response: WatchOrdersResponse,
    piece: WatchOrdersResponse,
) -> Result<(), End> {
    let mut bytes = 0;
    let mut orders = Vec::new();
    for order in std::mem::take(&mut response.orders) {
        bytes += order.encoded_len();
        if bytes > MAX_RESPONSE_BYTES && !orders.is_empty() {
            bytes = order.encoded_len();
            let orders = std::mem::take(&mut orders);
            let piece = WatchOrdersResponse {
                orders,
                ..piece.clone()
            };
            responses.send(Ok(piece)).await.map_err(|_| End::Gone)?;
        }
        orders.push(order);
    }
    response.orders = orders;
    responses.send(Ok(response)).await.map_err(|_| End::Gone)
}
