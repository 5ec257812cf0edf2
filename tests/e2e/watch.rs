//! Tests of `WatchOrders` as a client sees it.

use contract::orders::v1::*;
use e2e::Server;
use test_support::{eventually, order, reason};
use tonic::Streaming;

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
        let told: Vec<_> = orders.chain(left).collect();
        if !told.is_empty() {
            return told.join(", ");
        }
    }
}

#[tokio::test]
async fn what_matches_comes_first_and_then_each_change() {
    let server = Server::start().await;
    let mut clients = server.clients().await;
    clients
        .commands
        .create_order(order::create("o-1", "ann"))
        .await
        .unwrap();
    let created = clients
        .commands
        .create_order(order::create("o-2", "ann"))
        .await
        .unwrap();
    let min_position = created.into_inner().position;
    let request = WatchOrdersRequest {
        min_position,
        ..WatchOrdersRequest::default()
    };
    let mut stream = clients
        .queries
        .watch_orders(request)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(next(&mut stream).await, "o-1 v1, o-2 v1");
    clients
        .commands
        .ship_order(order::ship("o-1"))
        .await
        .unwrap();
    assert_eq!(next(&mut stream).await, "o-1 v2");
    clients
        .commands
        .register_customer(order::customer("ann", "Ann"))
        .await
        .unwrap();
    assert_eq!(
        next(&mut stream).await,
        "o-1 v2, o-2 v1",
        "they show another name now"
    );
}

#[tokio::test]
async fn an_order_that_is_in_no_state_asked_for_any_more_has_left() {
    let server = Server::start().await;
    let mut clients = server.clients().await;
    clients
        .commands
        .create_order(order::create("o-1", "ann"))
        .await
        .unwrap();
    let created = clients
        .commands
        .create_order(order::create("o-2", "bob"))
        .await
        .unwrap();
    let request = WatchOrdersRequest {
        customer_ids: vec!["ann".into()],
        statuses: vec![OrderStatus::Created.into()],
        min_position: created.into_inner().position,
        ..WatchOrdersRequest::default()
    };
    let mut stream = clients
        .queries
        .watch_orders(request)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(next(&mut stream).await, "o-1 v1");
    clients
        .commands
        .ship_order(order::ship("o-2"))
        .await
        .unwrap();
    clients
        .commands
        .ship_order(order::ship("o-1"))
        .await
        .unwrap();
    assert_eq!(next(&mut stream).await, "o-1 left", "and nothing of bob's");
}

#[tokio::test]
async fn a_watch_that_is_late_still_ends_with_the_newest_state_of_every_order() {
    let server = Server::start().await;
    let mut clients = server.clients().await;
    let mut stream = clients
        .queries
        .watch_orders(WatchOrdersRequest::default())
        .await
        .unwrap()
        .into_inner();
    let first = stream.message().await.unwrap().unwrap();
    assert!(first.caught_up && first.orders.is_empty());
    let mut position = 0;
    for index in 0..300 {
        let id = format!("o-{index}");
        clients
            .commands
            .create_order(order::create(&id, "ann"))
            .await
            .unwrap();
        let shipped = clients.commands.ship_order(order::ship(&id)).await.unwrap();
        position = shipped.into_inner().position;
    }
    let mut newest = std::collections::HashMap::new();
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
async fn g11_there_are_not_more_watchers_than_it_can_serve() {
    let server = Server::start().await;
    let mut streams = Vec::new();
    let mut clients = server.clients().await;
    for index in 0..1000 {
        // A connection carries 100 streams at a time.
        if index % 100 == 0 {
            clients = server.clients().await;
        }
        let watch = clients.queries.watch_orders(WatchOrdersRequest::default());
        streams.push(watch.await.unwrap());
    }
    let mut clients = server.clients().await;
    let refused = clients.queries.watch_orders(WatchOrdersRequest::default());
    assert_eq!(reason(&refused.await.unwrap_err()), "OVERLOADED");
    drop(streams);
    eventually("one that has gone leaves its place", async || {
        let watch = clients.queries.watch_orders(WatchOrdersRequest::default());
        watch.await.ok().map(drop)
    })
    .await;
}

#[tokio::test]
async fn large_orders_come_in_responses_that_any_client_takes() {
    let server = Server::start().await;
    let mut clients = server.clients().await;
    let mut position = 0;
    for index in 0..60 {
        let wide = CreateOrderRequest {
            items: (0..1000).map(|_| order::item(&"p".repeat(64))).collect(),
            ..order::create(&format!("o-{index}"), "ann")
        };
        let created = clients.commands.create_order(wide).await.unwrap();
        position = created.into_inner().position;
    }
    let request = WatchOrdersRequest {
        min_position: position,
        ..WatchOrdersRequest::default()
    };
    let stream = clients.queries.watch_orders(request).await.unwrap();
    let mut stream = stream.into_inner();
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
