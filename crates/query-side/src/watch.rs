//! WatchOrders: the orders that match now, then what becomes of them.

use std::{sync::Arc, time::Duration};

use contract::orders::v1::{Order, WatchOrdersResponse};
use prost::Message as _;
use read_model::{
    request::{Cursor, Filter, Sort, SortField},
    store::{ChangeCursor, Reader},
};
use tokio::{
    sync::mpsc,
    time::{Instant, timeout_at},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use wire::Error;

use crate::query_service::Queries;

/// Orders looked at in one go, and so in a response at most.
const PAGE: usize = 200;

/// Bytes of orders after which a response ends; a receiver's default limit is 4 MiB.
const MOST_BYTES: usize = 1 << 20;

/// Streams at the same time: each looks at what has changed whenever something has.
pub(crate) const WATCHERS: usize = 1000;

/// How long the stream is silent at most.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// New orders come behind what was listed.
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
        filter: Filter,
    ) -> Result<ReceiverStream<Result<WatchOrdersResponse, Status>>, Error> {
        let place = Arc::clone(&self.watchers)
            .try_acquire_owned()
            .map_err(|_| Error::Overloaded("too many watch orders"))?;
        // One in the channel, one in the making: a client that does not read holds no more.
        let (responses, sent) = mpsc::channel(1);
        let watcher = Watcher {
            documents: self.documents.clone(),
            filter,
        };
        let stop = self.stop.clone();
        // Ends with its stream.
        tokio::spawn(async move {
            let ended = tokio::select! {
                ended = watcher.run(&responses) => ended,
                () = responses.closed() => return,
                () = stop.cancelled() => Err(End::Failed(Error::ShuttingDown)),
            };
            if let Err(End::Failed(error)) = ended {
                // Fails when the client has gone meanwhile.
                let _ = responses.send(Err(error.into())).await;
            }
            drop(place);
        });
        Ok(ReceiverStream::new(sent))
    }
}

struct Watcher {
    documents: Reader,
    filter: Filter,
}

impl Watcher {
    async fn run(&self, responses: &Responses) -> Result<(), End> {
        let mut position = self.documents.subscribe();
        let mut told = self.present(responses).await?;
        let mut cursor = ChangeCursor {
            position: told,
            row: 0,
        };
        let mut heartbeat = Instant::now() + HEARTBEAT;
        loop {
            // Seen before the documents are read: what comes later wakes us.
            position.mark_unchanged();
            let changes = self
                .documents
                .changed_since(cursor, PAGE)
                .await
                .map_err(failed)?;
            cursor = changes.next;
            // On the way there, changes are passed that are told where the order changed again.
            let is_all = cursor.position >= changes.as_of;
            let before = WatchOrdersResponse {
                as_of_position: told,
                caught_up: true,
                ..WatchOrdersResponse::default()
            };
            if is_all {
                told = cursor.position;
            }
            let response = self.changed(
                changes.documents.into_iter().map(|document| document.order),
                told,
            );
            let is_silent = response.orders.is_empty() && response.left_order_ids.is_empty();
            if !is_silent || Instant::now() >= heartbeat {
                send(responses, response, before).await?;
                heartbeat = Instant::now() + HEARTBEAT;
            }
            if is_all {
                match timeout_at(heartbeat, position.changed()).await {
                    Ok(Ok(())) | Err(_) => {}
                    Ok(Err(_)) => return Err(End::Failed(Error::ShuttingDown)),
                }
            }
        }
    }

    /// Sends the orders that match now, and returns the position from which on changes are still
    /// to be told.
    async fn present(&self, responses: &Responses) -> Result<u64, End> {
        let mut after: Option<Cursor> = None;
        let mut from = None;
        loop {
            let listing = self
                .documents
                .list(&self.filter, OLDEST_FIRST, after, PAGE, &[])
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
        let in_any_state = Filter {
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

/// Sends a response, in pieces if it is too large for one: those before the last say what
/// `piece` does.
async fn send(
    responses: &Responses,
    mut response: WatchOrdersResponse,
    piece: WatchOrdersResponse,
) -> Result<(), End> {
    let mut bytes = 0;
    let mut orders = Vec::new();
    for order in std::mem::take(&mut response.orders) {
        bytes += order.encoded_len();
        if bytes > MOST_BYTES && !orders.is_empty() {
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
