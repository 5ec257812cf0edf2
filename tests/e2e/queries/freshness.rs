//! Tests of queries that wait for a position or a version.

use contract::orders::v1::*;
use e2e::Server;
use test_support::{assert_refused, order, request};
use tonic::Code;
use tonic_types::StatusExt as _;

use super::{create, ids};

/// Returns a wait of 50 ms.
fn short_wait() -> Option<prost_types::Duration> {
    Some(prost_types::Duration {
        seconds: 0,
        nanos: 50_000_000,
    })
}

#[tokio::test]
async fn g8_every_query_sees_the_write_whose_position_it_names() {
    let server = Server::start().await;
    let mut clients = server.clients().await;
    for index in 0..50 {
        let id = format!("o-{index}");
        let position = clients.create(&id).await;
        clients.order(&id, position).await;
        let statistics = GetCustomerStatisticsRequest {
            customer_id: "ann".to_owned(),
            min_position: position,
            max_wait: None,
        };
        let statistics = clients.queries.get_customer_statistics(statistics).await;
        assert_eq!(statistics.unwrap().into_inner().total_orders, index + 1);
        let found = clients.search(&id, position).await.unwrap();
        assert!(ids(&found).contains(&id.as_str()), "{id} in {found:?}");
    }
}

#[tokio::test]
async fn g8_a_query_whose_position_is_not_reached_in_time_fails_with_the_current_position() {
    let server = Server::start().await;
    let mut clients = server.clients().await;
    create(&mut clients, 0..1).await;
    clients.order("o-0", 1).await;
    let request = GetOrderRequest {
        max_wait: short_wait(),
        ..request::order("o-0", 2)
    };
    let behind = clients.get_order(request).await;
    let behind = assert_refused(behind, Code::DeadlineExceeded, "READ_MODEL_BEHIND");
    let metadata = behind.get_details_error_info().unwrap().metadata;
    assert_eq!(metadata["position"], "1");
    assert_eq!(metadata["min_position"], "2");
}

#[tokio::test]
async fn g8_a_query_waits_for_a_version_also_of_an_order_that_does_not_exist_yet() {
    let server = Server::start().await;
    let mut clients = server.clients().await;
    let version = |min_version| GetOrderRequest {
        min_version: Some(min_version),
        ..request::order("o", 0)
    };
    let mut waiting = clients.clone();
    let waiting = tokio::spawn(async move { waiting.get_order(version(2)).await });
    clients.create("o").await;
    clients.ship_order(order::ship("o")).await.unwrap();
    let found = waiting.await.unwrap().unwrap().order.unwrap();
    assert_eq!(found.version, 2);
    let request = GetOrderRequest {
        max_wait: short_wait(),
        ..version(3)
    };
    let behind = clients.get_order(request).await;
    assert_refused(behind, Code::DeadlineExceeded, "READ_MODEL_BEHIND");
}

/// Number of orders of the renamed customer: more than one write of the index.
const RENAMED: usize = 1500;

#[tokio::test]
async fn g8_text_search_that_says_it_has_a_new_name_has_it_on_every_order() {
    let server = Server::start().await;
    let mut clients = server.clients().await;
    let named = order::customer("ann", "Annabel");
    clients.register_customer(named).await.unwrap();
    for index in 0..RENAMED {
        clients.create(&format!("o-{index}")).await;
    }
    let other = order::customer("bea", "Beatrix");
    let position = clients.register_customer(other).await.unwrap().position;
    let found = clients.search("annabel", position).await.unwrap();
    assert_eq!(found.total_size, RENAMED as u64);

    let renamed = order::customer("ann", "Zebedee");
    let renamed = clients.register_customer(renamed).await.unwrap().position;
    let fresh = clients.create_order(order::create("fresh", "bea")).await;
    let fresh = fresh.unwrap().position;
    // Neither name is in this search, so that it does not wait for them.
    let found = clients.search("beatrix", fresh).await.unwrap();
    assert_eq!(ids(&found), ["fresh"]);
    // Searches that do not wait say how far they are.
    for (query, expected) in [("zebedee", RENAMED as u64), ("annabel", 0)] {
        let mut has_name = false;
        while !has_name {
            let found = clients.search(query, 0).await.unwrap();
            has_name = found.as_of_position >= renamed;
            assert!(
                !has_name || found.total_size == expected,
                "{query}: {found:?}"
            );
        }
        let found = clients.search(query, renamed).await.unwrap();
        assert_eq!(found.total_size, expected, "{query}");
    }
    clients.assert_verified(&[]).await;
}
