//! ListParked and RetryParked: the orders that a projection has parked.

use contract::orders::v1::{
    ListParkedRequest, ListParkedResponse, ParkedAggregate, RetryParkedRequest, RetryParkedResponse,
};
use read_model::store::{Parked, Projection, Reader};
use wire::{Error, Violations};

use crate::documents::{DocumentsHandle, RetryError};

/// Default number of orders on a page.
const DEFAULT_PAGE_SIZE: u32 = 100;

/// Maximum number of orders on a page, and of ids in a request.
const MAX_ORDERS: usize = 1000;

const PROJECTIONS: [Projection; 2] = [Projection::Documents, Projection::Search];

/// Returns the projections that a request names. An empty name selects both.
fn projections(name: &str, violations: &mut Violations) -> Vec<Projection> {
    let named = PROJECTIONS
        .into_iter()
        .filter(|it| name.is_empty() || it.name() == name);
    let named: Vec<_> = named.collect();
    violations.check(
        !named.is_empty(),
        "projection",
        "must be documents or search, or empty",
    );
    named
}

pub(super) async fn list(
    request: ListParkedRequest,
    reader: &Reader,
) -> Result<ListParkedResponse, Error> {
    let mut violations = Violations::default();
    let projections = projections(&request.projection, &mut violations);
    let within = request.page_size as usize <= MAX_ORDERS;
    violations.check(within, "page_size", "must be at most 1000");
    violations.finish()?;
    let limit = match request.page_size {
        0 => DEFAULT_PAGE_SIZE,
        size => size,
    };
    // A page token is the projection and the id of the last order on the page.
    let after = match request.page_token.split_once(' ') {
        None if request.page_token.is_empty() => None,
        Some((name, id)) if projections.iter().any(|it| it.name() == name) => Some((name, id)),
        _ => return Err(Error::InvalidPageToken),
    };
    let from = after.and_then(|(name, _)| projections.iter().position(|it| it.name() == name));
    let mut parked = Vec::new();
    for (index, projection) in projections.iter().enumerate().skip(from.unwrap_or(0)) {
        let after = match after {
            Some((_, id)) if from == Some(index) => id,
            _ => "",
        };
        // Reads one order more than fits: it shows whether another page follows.
        let room = limit + 1 - parked.len() as u32;
        let found = reader.parked(*projection, after, room).await;
        let found = found.map_err(|error| Error::from(&error))?;
        parked.extend(found.into_iter().map(|found| message(*projection, found)));
        if parked.len() > limit as usize {
            break;
        }
    }
    let more = parked.len() > limit as usize;
    parked.truncate(limit as usize);
    let last = parked.last().filter(|_| more);
    let next_page_token = last.map(|last| format!("{} {}", last.projection, last.order_id));
    Ok(ListParkedResponse {
        next_page_token: next_page_token.unwrap_or_default(),
        parked,
    })
}

fn message(projection: Projection, parked: Parked) -> ParkedAggregate {
    ParkedAggregate {
        projection: projection.name().to_owned(),
        order_id: parked.order_id,
        position: parked.position,
        error: parked.error,
        event_count: parked.events,
    }
}

pub(super) async fn retry(
    request: RetryParkedRequest,
    reader: &Reader,
    documents: &DocumentsHandle,
) -> Result<RetryParkedResponse, Error> {
    let mut violations = Violations::default();
    let projections = projections(&request.projection, &mut violations);
    violations.entries("order_ids", &request.order_ids, MAX_ORDERS);
    for (index, id) in request.order_ids.iter().enumerate().take(MAX_ORDERS) {
        violations.id(format!("order_ids[{index}]"), id);
    }
    violations.finish()?;
    let mut response = RetryParkedResponse::default();
    for projection in projections {
        let mut after = String::new();
        loop {
            let page = reader.parked(projection, &after, DEFAULT_PAGE_SIZE).await;
            let page = page.map_err(|error| Error::from(&error))?;
            let Some(last) = page.last() else { break };
            after.clone_from(&last.order_id);
            let wanted =
                |id: &String| request.order_ids.is_empty() || request.order_ids.contains(id);
            let ids: Vec<_> = page.into_iter().map(|parked| parked.order_id).collect();
            let ids: Vec<_> = ids.into_iter().filter(wanted).collect();
            let (recovered, parked) = retry_orders(projection, ids, documents).await?;
            response.recovered_count += recovered;
            response.parked_count += parked;
        }
    }
    Ok(response)
}

/// Retries parked orders. Returns the number that recovered and the number still parked. Orders of
/// the index are only queued, and all count as recovered.
async fn retry_orders(
    projection: Projection,
    ids: Vec<String>,
    documents: &DocumentsHandle,
) -> Result<(u64, u64), Error> {
    match projection {
        Projection::Documents => {
            let retried = documents.retry(ids).await.map_err(|error| match error {
                RetryError::Store(error) => Error::from(&error),
                error @ RetryError::Log(..) => {
                    tracing::error!(%error, "parked orders are not retried");
                    Error::StoreUnavailable
                }
            })?;
            Ok((retried.projected.len() as u64, retried.parked.len() as u64))
        }
        Projection::Search => {
            let count = ids.len() as u64;
            let queued = documents.retry_indexing(ids).await;
            queued.map_err(|error| Error::from(&error))?;
            Ok((count, 0))
        }
    }
}
