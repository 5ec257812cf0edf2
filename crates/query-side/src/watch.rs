//! WatchOrders: the orders that match now, then what becomes of them.

use std::time::Duration;

use contract::orders::v1::{Order, WatchOrdersResponse};
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

use crate::{query_service::Queries, store_error};

/// Orders looked at in one go, and so in a response at most.
const PAGE: usize = 200;

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
    ) -> ReceiverStream<Result<WatchOrdersResponse, Status>> {
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
        });
        ReceiverStream::new(sent)
    }
}

struct Watcher {
    documents: Reader,
    filter: Filter,
}

impl Watcher {
    async fn run(&self, responses: &Responses) -> Result<(), End> {
        let mut position = self.documents.subscribe();
        let mut cursor = self.present(responses).await?;
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
            let response = self.changed(
                changes.documents.into_iter().map(|document| document.order),
                cursor.position,
            );
            let is_silent = response.orders.is_empty() && response.left_order_ids.is_empty();
            if !is_silent || Instant::now() >= heartbeat {
                send(responses, response).await?;
                heartbeat = Instant::now() + HEARTBEAT;
            }
            if cursor.position >= changes.as_of {
                match timeout_at(heartbeat, position.changed()).await {
                    Ok(Ok(())) | Err(_) => {}
                    Ok(Err(_)) => return Err(End::Failed(Error::ShuttingDown)),
                }
            }
        }
    }

    /// Sends the orders that match now, and returns the position from which on changes are still
    /// to be told.
    async fn present(&self, responses: &Responses) -> Result<ChangeCursor, End> {
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
            send(responses, response).await?;
            if after.is_none() {
                return Ok(ChangeCursor { position, row: 0 });
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
    End::Failed(store_error(&error))
}

async fn send(responses: &Responses, response: WatchOrdersResponse) -> Result<(), End> {
    responses.send(Ok(response)).await.map_err(|_| End::Gone)
}
