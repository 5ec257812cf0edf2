//! ListParked and RetryParked: the aggregates that a projection has parked.

use std::collections::HashSet;

use contract::orders::v1::{
    AggregateType, ListParkedRequest, ListParkedResponse, ParkedAggregate, RetryParkedRequest,
    RetryParkedResponse,
};
use read_model::{
    AggregateId,
    store::{Parked, Projection, Reader},
};
use wire::{Error, Violations};

use crate::documents::{DocumentsHandle, RetryError};

/// Default number of aggregates on a page.
const DEFAULT_PAGE_SIZE: u32 = 100;

/// Maximum number of aggregates on a page, and of ids in each list of a request.
const MAX_AGGREGATES: usize = 1000;

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
    let within = request.page_size as usize <= MAX_AGGREGATES;
    violations.check(within, "page_size", "must be at most 1000");
    violations.finish()?;
    let limit = match request.page_size {
        0 => DEFAULT_PAGE_SIZE,
        size => size,
    };
    let (from, mut after) = match request.page_token.as_str() {
        "" => (0, AggregateId::default()),
        token => read_token(token, &projections).ok_or(Error::InvalidPageToken)?,
    };
    let mut parked = Vec::new();
    for projection in projections.into_iter().skip(from) {
        // Reads one aggregate more than fits: it shows whether another page follows.
        let room = limit + 1 - parked.len() as u32;
        let found = reader.parked(projection, &after, room).await;
        let found = found.map_err(|error| Error::from(&error))?;
        parked.extend(found.into_iter().map(|found| (projection, found)));
        if parked.len() > limit as usize {
            break;
        }
        after = AggregateId::default();
    }
    let more = parked.len() > limit as usize;
    parked.truncate(limit as usize);
    let next_page_token = match parked.last() {
        Some((projection, last)) if more => write_token(*projection, &last.aggregate),
        _ => String::new(),
    };
    let parked = parked.into_iter();
    Ok(ListParkedResponse {
        parked: parked
            .map(|(projection, it)| message(projection, it))
            .collect(),
        next_page_token,
    })
}

/// Writes a page token: the projection, and the type and id of the last aggregate on the page.
fn write_token(projection: Projection, last: &AggregateId) -> String {
    let kind = i32::from(last.kind);
    format!("{} {kind} {}", projection.name(), last.id)
}

/// Reads a page token: the index of its projection, and the aggregate.
fn read_token(token: &str, projections: &[Projection]) -> Option<(usize, AggregateId)> {
    let (name, last) = token.split_once(' ')?;
    let (kind, id) = last.split_once(' ')?;
    let from = projections.iter().position(|it| it.name() == name)?;
    let kind = AggregateType::try_from(kind.parse::<i32>().ok()?).ok()?;
    let id = id.to_owned();
    Some((from, AggregateId { kind, id }))
}

fn message(projection: Projection, parked: Parked) -> ParkedAggregate {
    let AggregateId { kind, id } = parked.aggregate;
    let mut message = ParkedAggregate {
        projection: projection.name().to_owned(),
        position: parked.position,
        error: parked.error,
        event_count: parked.events,
        ..ParkedAggregate::default()
    };
    match kind {
        AggregateType::Customer => message.customer_id = id,
        AggregateType::Product => message.product_id = id,
        _ => message.order_id = id,
    }
    message
}

pub(super) async fn retry(
    request: RetryParkedRequest,
    reader: &Reader,
    documents: &DocumentsHandle,
) -> Result<RetryParkedResponse, Error> {
    let mut violations = Violations::default();
    let projections = projections(&request.projection, &mut violations);
    let wanted = wanted(request, &mut violations);
    violations.finish()?;
    let mut response = RetryParkedResponse::default();
    for projection in projections {
        let mut after = AggregateId::default();
        loop {
            let page = reader.parked(projection, &after, DEFAULT_PAGE_SIZE).await;
            let page = page.map_err(|error| Error::from(&error))?;
            let Some(last) = page.last() else { break };
            after.clone_from(&last.aggregate);
            let page = page.into_iter().map(|parked| parked.aggregate);
            let page = page.filter(|it| wanted.is_empty() || wanted.contains(it));
            let (recovered, parked) = retry_page(projection, page.collect(), documents).await?;
            response.recovered_count += recovered;
            response.parked_count += parked;
        }
    }
    Ok(response)
}

/// Checks the ids of a request, and returns the aggregates that it names. None means all.
fn wanted(request: RetryParkedRequest, violations: &mut Violations) -> HashSet<AggregateId> {
    let lists = [
        (AggregateType::Order, "order_ids", request.order_ids),
        (
            AggregateType::Customer,
            "customer_ids",
            request.customer_ids,
        ),
        (AggregateType::Product, "product_ids", request.product_ids),
    ];
    let mut wanted = HashSet::new();
    for (kind, field, ids) in lists {
        violations.entries(field, &ids, MAX_AGGREGATES);
        for (index, id) in ids.into_iter().enumerate().take(MAX_AGGREGATES) {
            violations.id(format!("{field}[{index}]"), &id);
            wanted.insert(AggregateId { kind, id });
        }
    }
    wanted
}

/// Retries parked aggregates. Returns the number that recovered and the number still parked. Orders
/// of the index are only queued, and all count as recovered.
async fn retry_page(
    projection: Projection,
    parked: Vec<AggregateId>,
    documents: &DocumentsHandle,
) -> Result<(u64, u64), Error> {
    match projection {
        Projection::Documents => {
            let retried = documents.retry(parked).await.map_err(|error| match error {
                RetryError::Store(error) => Error::from(&error),
                error @ RetryError::Log(..) => {
                    tracing::error!(%error, "parked aggregates are not retried");
                    Error::StoreUnavailable
                }
            })?;
            Ok((retried.projected, retried.parked))
        }
        Projection::Search => {
            let count = parked.len() as u64;
            let ids = parked.into_iter().map(|it| it.id).collect();
            let queued = documents.retry_indexing(ids).await;
            queued.map_err(|error| Error::from(&error))?;
            Ok((count, 0))
        }
    }
}
