//! Tests of `QueryService` as a client sees it.

mod documents;
mod freshness;
pub(crate) mod pages;
mod search;
mod statistics;

use contract::orders::v1::*;
use e2e::Clients;
use test_support::order;

/// Returns the ids of the orders on a page.
fn ids(page: &SearchOrdersResponse) -> Vec<&str> {
    page.orders
        .iter()
        .map(|order| order.order_id.as_str())
        .collect()
}

/// Creates `large-10`, `large-11`, ... of 1000 lines. Each has about 300 KiB, most of them names.
pub(crate) async fn create_large(clients: &mut Clients, count: usize) -> u64 {
    let product = order::product(&"p".repeat(64), &"n".repeat(200));
    let mut position = clients.register_product(product).await.unwrap().position;
    for index in 10..10 + count {
        let large = order::large(&format!("large-{index}"));
        position = clients.create_order(large).await.unwrap().position;
    }
    position
}

/// Creates `o-0`, `o-1`, ... one hour apart, for three customers in turn. Each order costs 1 EUR
/// more than the one before.
pub(crate) async fn create(clients: &mut Clients, ids: std::ops::Range<i64>) -> u64 {
    let mut position = 0;
    for index in ids {
        let product_id = if index % 2 == 0 { "tea" } else { "jam" };
        let create = CreateOrderRequest {
            items: vec![CreateOrderItem {
                quantity: 1,
                unit_price: order::euros(10_000 * (index + 1)),
                ..order::item(product_id)
            }],
            occurred_at: Some(prost_types::Timestamp {
                seconds: 3600 * index,
                nanos: 0,
            }),
            ..order::create(&format!("o-{index}"), &format!("c-{}", index % 3))
        };
        position = clients.create_order(create).await.unwrap().position;
    }
    position
}
