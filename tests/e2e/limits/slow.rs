//! Tests of the time that a list or search may take.

use std::time::Duration;

use contract::orders::v1::*;
use e2e::{Node, Server};
use server::settings::Roles;
use test_support::{reason, wait_until};
use tonic::Status;

use crate::queries::create;

fn is_too_slow<T>(reply: Result<T, Status>) -> bool {
    reply.is_err_and(|status| reason(&status) == "QUERY_TOO_SLOW")
}

#[tokio::test]
async fn lists_and_searches_past_the_query_timeout_fail_and_other_reads_succeed() {
    let server = Server::of(Node {
        roles: Roles::ALL,
        query_timeout: Some(Duration::ZERO),
        ..Node::default()
    })
    .await;
    let mut clients = server.clients().await;
    let position = create(&mut clients, 0..300).await;
    for query in ["", "ann"] {
        let what = format!("a search for {query:?} is too slow");
        let search = SearchOrdersRequest {
            query: query.into(),
            page_size: 300,
            facets: vec!["product_id".into()],
            min_position: position,
            ..SearchOrdersRequest::default()
        };
        wait_until(&what, async || {
            let reply = clients.queries.clone().search_orders(search.clone()).await;
            is_too_slow(reply)
        })
        .await;
    }
    wait_until("the first page of a watch is too slow", async || {
        let mut clients = clients.clone();
        let watch = clients.watch_orders(WatchOrdersRequest::default()).await;
        is_too_slow(watch.unwrap().message().await)
    })
    .await;
    assert_eq!(clients.order("o-7", position).await.order_id, "o-7");
    let statistics = GetStatisticsRequest {
        by_day: true,
        ..GetStatisticsRequest::default()
    };
    let statistics = clients.queries.get_statistics(statistics).await;
    assert_eq!(statistics.unwrap().into_inner().days.len(), 13);
}
