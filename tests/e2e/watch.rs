//! Tests of `WatchOrders` as a client sees it.

use std::collections::HashMap;

use contract::orders::v1::*;
use e2e::Server;
use prost::Message as _;
use test_support::{assert_refused, order, wait_until};
use tonic::{Code, Streaming};

use crate::queries::create_large;

/// Builds a request for all orders, at or past a position.
fn all_orders(min_position: u64) -> WatchOrdersRequest {
    WatchOrdersRequest {
        min_position,
        ..WatchOrdersRequest::default()
    }
}

/// Formats the next response that is not empty: orders with their versions, and removed orders.
async fn next(stream: &mut Streaming<WatchOrdersResponse>) -> String {
    loop {
        let response = stream.message().await.unwrap().unwrap();
        let orders = response
            .orders
            .iter()
            .map(|order| format!("{} v{}", order.order_id, order.version));
        let left = response
            .left_order_ids
            .iter()
            .map(|id| format!("{id} left"));
        let changes: Vec<_> = orders.chain(left).collect();
        if !changes.is_empty() {
            return changes.join(", ");
        }
    }
}

#[tokio::test]
async fn a_watch_sends_the_matching_orders_and_then_each_change() {
    let server = Server::start().await;
    let mut clients = server.clients().await;
    clients.create("o-1").await;
    let position = clients.create("o-2").await;
    let mut stream = clients.watch_orders(all_orders(position)).await.unwrap();
    assert_eq!(next(&mut stream).await, "o-1 v1, o-2 v1");
    clients.ship_order(order::ship("o-1")).await.unwrap();
    assert_eq!(next(&mut stream).await, "o-1 v2");
    let ann = order::customer("ann", "Ann");
    clients.register_customer(ann).await.unwrap();
    assert_eq!(
        next(&mut stream).await,
        "o-1 v2, o-2 v1",
        "both orders show the new name"
    );
}

#[tokio::test]
async fn a_watch_of_changes_leaves_out_the_orders_that_match_now() {
    let server = Server::start().await;
    let mut clients = server.clients().await;
    clients.create("o-1").await;
    let position = clients.create("o-2").await;
    let request = WatchOrdersRequest {
        changes_only: true,
        ..all_orders(position)
    };
    let mut stream = clients.watch_orders(request).await.unwrap();
    let first = stream.message().await.unwrap().unwrap();
    assert!(first.caught_up && first.orders.is_empty());
    assert_eq!(first.as_of_position, position);
    clients.ship_order(order::ship("o-2")).await.unwrap();
    assert_eq!(next(&mut stream).await, "o-2 v2");
}

#[tokio::test]
async fn an_order_leaves_the_watch_when_it_stops_matching() {
    let server = Server::start().await;
    let mut clients = server.clients().await;
    clients.create("o-1").await;
    let of_bob = clients.create_order(order::create("o-2", "bob")).await;
    let request = WatchOrdersRequest {
        customer_ids: vec!["ann".into()],
        statuses: vec![OrderStatus::Created.into()],
        ..all_orders(of_bob.unwrap().position)
    };
    let mut stream = clients.watch_orders(request).await.unwrap();
    assert_eq!(next(&mut stream).await, "o-1 v1");
    clients.ship_order(order::ship("o-2")).await.unwrap();
    clients.ship_order(order::ship("o-1")).await.unwrap();
    assert_eq!(next(&mut stream).await, "o-1 left", "and no order of bob");
}

#[tokio::test]
async fn a_slow_watch_ends_with_the_newest_version_of_every_order() {
    let server = Server::start().await;
    let mut clients = server.clients().await;
    let mut stream = clients.watch_orders(all_orders(0)).await.unwrap();
    let first = stream.message().await.unwrap().unwrap();
    assert!(first.caught_up && first.orders.is_empty());
    let mut position = 0;
    for index in 0..300 {
        let id = format!("o-{index}");
        clients.create(&id).await;
        position = clients.ship_order(order::ship(&id)).await.unwrap().position;
    }
    let mut newest = HashMap::new();
    loop {
        let response = stream.message().await.unwrap().unwrap();
        for order in response.orders {
            newest.insert(order.order_id, order.version);
        }
        if response.as_of_position >= position {
            break;
        }
    }
    assert_eq!(newest.len(), 300);
    assert!(newest.values().all(|version| *version == 2));
}

#[tokio::test]
async fn g11_watches_past_the_limit_are_refused_until_one_ends() {
    let server = Server::start().await;
    let mut streams = Vec::new();
    let mut clients = server.clients().await;
    for index in 0..1000 {
        // A connection carries 100 streams at a time.
        if index % 100 == 0 {
            clients = server.clients().await;
        }
        streams.push(clients.watch_orders(all_orders(0)).await.unwrap());
    }
    let mut clients = server.clients().await;
    let refused = clients.watch_orders(all_orders(0)).await;
    assert_refused(refused, Code::ResourceExhausted, "OVERLOADED");
    drop(streams);
    wait_until("an ended watch frees its place", async || {
        clients.watch_orders(all_orders(0)).await.is_ok()
    })
    .await;
}

#[tokio::test]
async fn large_orders_are_split_into_responses_within_the_default_limit_of_clients() {
    let server = Server::start().await;
    let mut clients = server.clients().await;
    let mut position = 0;
    for index in 0..60 {
        let large = order::large(&format!("o-{index}"));
        position = clients.create_order(large).await.unwrap().position;
    }
    let mut stream = clients.watch_orders(all_orders(position)).await.unwrap();
    let mut orders = Vec::new();
    loop {
        let response = stream.message().await.unwrap().unwrap();
        orders.extend(response.orders.into_iter().map(|order| order.order_id));
        if response.caught_up {
            break;
        }
    }
    let expected: Vec<_> = (0..60).map(|index| format!("o-{index}")).collect();
    assert_eq!(orders, expected);
}

#[tokio::test]
async fn g13_watched_large_orders_come_in_responses_of_at_most_a_mebibyte() {
    let server = Server::start().await;
    let mut clients = server.clients().await;
    let position = create_large(&mut clients, 12).await;
    let mut stream = clients.watch_orders(all_orders(position)).await.unwrap();
    let mut versions = HashMap::new();
    let mut next = async |versions: &mut HashMap<String, u64>| {
        let response = stream.message().await.unwrap().unwrap();
        assert!(response.encoded_len() < (1 << 20) + 1000, "it is too large");
        for order in response.orders {
            let newer = versions.insert(order.order_id, order.position);
            assert!(newer < Some(order.position), "an order came twice");
        }
        response.caught_up
    };
    let mut responses = 1;
    while !next(&mut versions).await {
        responses += 1;
    }
    assert_eq!((versions.len(), responses), (12, 4));
    // Every order shows the new name, and so comes once more.
    let ann = order::customer("ann", "Ann");
    let renamed = clients.register_customer(ann).await.unwrap().position;
    while versions.values().any(|position| *position < renamed) {
        next(&mut versions).await;
    }
}
