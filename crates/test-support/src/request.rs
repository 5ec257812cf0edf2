//! Builders of valid requests that read or operate. A test changes the fields it is about.

use contract::orders::v1::{
    GetOrderRequest, RebuildRequest, SearchOrdersRequest, SubscribeRequest,
};
use prost_types::Duration;

/// The longest time that a query may wait: 30 s, so that a slow machine does not fail a test.
#[must_use]
pub fn max_wait() -> Option<Duration> {
    Some(Duration {
        seconds: 30,
        nanos: 0,
    })
}

/// Builds a request that reads an order at or past `min_position`.
#[must_use]
pub fn order(order_id: &str, min_position: u64) -> GetOrderRequest {
    GetOrderRequest {
        order_id: order_id.into(),
        min_position,
        max_wait: max_wait(),
        ..GetOrderRequest::default()
    }
}

/// Builds a search for the words in `query`, or for all orders if it is empty, at or past
/// `min_position`. One page holds up to 500 orders.
#[must_use]
pub fn search(query: &str, min_position: u64) -> SearchOrdersRequest {
    SearchOrdersRequest {
        query: query.into(),
        min_position,
        max_wait: max_wait(),
        page_size: 500,
        ..SearchOrdersRequest::default()
    }
}

/// Builds a subscription that ends at the head of the log.
#[must_use]
pub fn events_after(position: u64) -> SubscribeRequest {
    SubscribeRequest {
        after_position: position,
        ..SubscribeRequest::default()
    }
}

/// Builds a subscription that follows the log.
#[must_use]
pub fn follow(after_position: u64) -> SubscribeRequest {
    SubscribeRequest {
        follow: true,
        ..events_after(after_position)
    }
}

/// Builds a request that rebuilds these projections. An empty list means all.
#[must_use]
pub fn rebuild(projections: &[&str]) -> RebuildRequest {
    RebuildRequest {
        projections: projections.iter().copied().map(Into::into).collect(),
        rollback: false,
    }
}

/// Builds a request that returns these projections to their previous generation.
#[must_use]
pub fn roll_back(projections: &[&str]) -> RebuildRequest {
    RebuildRequest {
        rollback: true,
        ..rebuild(projections)
    }
}
