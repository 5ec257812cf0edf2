//! Tests of pages, page tokens and orders of results.

use contract::orders::v1::*;
use e2e::{Clients, Server};
use prost::Message as _;
use test_support::{assert_refused, order, request::search};
use tonic::Code;

use super::{create, create_large, ids};

#[tokio::test]
async fn results_are_ordered_newest_first_or_by_order_by() {
    let server = Server::start().await;
    let mut clients = server.clients().await;
    create(&mut clients, 0..3).await;
    let shipped = clients.ship_order(order::ship("o-1")).await.unwrap();
    for (query, order_by, expected) in [
        ("", "", ["o-2", "o-1", "o-0"]),
        ("", "created_at", ["o-0", "o-1", "o-2"]),
        ("", "updated_at desc", ["o-1", "o-2", "o-0"]),
        ("", "total_amount", ["o-0", "o-1", "o-2"]),
        ("", "total_amount desc", ["o-2", "o-1", "o-0"]),
        ("o", "created_at", ["o-0", "o-1", "o-2"]),
        ("o", "updated_at desc", ["o-1", "o-2", "o-0"]),
        ("o", "total_amount", ["o-0", "o-1", "o-2"]),
        ("o", "total_amount desc", ["o-2", "o-1", "o-0"]),
    ] {
        let request = SearchOrdersRequest {
            order_by: order_by.into(),
            ..search(query, shipped.position)
        };
        let found = clients.search_orders(request).await.unwrap();
        assert_eq!(ids(&found), expected, "{query:?} by {order_by:?}");
    }
}

#[tokio::test]
async fn g12_page_token_is_of_one_log_and_valid_on_each_of_its_query_nodes() {
    let (node, other) = tokio::join!(Server::start(), Server::start());
    let queries = Server::start_for_queries(&[&node.url()]).await;
    let (mut clients, mut others) = (node.clients().await, other.clients().await);
    let mut remote = queries.clients().await;
    let position = create(&mut clients, 0..10).await;
    assert_eq!(create(&mut others, 0..10).await, position);
    for query in ["o", ""] {
        let first = SearchOrdersRequest {
            page_size: 4,
            ..search(query, position)
        };
        let page = clients.search_orders(first.clone()).await.unwrap();
        let next = SearchOrdersRequest {
            page_token: page.next_page_token,
            ..first
        };
        let refused = others.search_orders(next.clone()).await;
        assert_refused(refused, Code::InvalidArgument, "INVALID_PAGE_TOKEN");
        let here = clients.search_orders(next.clone()).await.unwrap();
        let there = remote.search_orders(next).await.unwrap();
        assert_eq!((ids(&here).len(), ids(&here)), (4, ids(&there)));
    }
}

#[tokio::test]
async fn pages_have_each_order_once_while_orders_are_created() {
    let server = Server::start().await;
    let mut clients = server.clients().await;
    let mut position = create(&mut clients, 0..25).await;
    for (query, first_new) in [("", 200), ("o", 100)] {
        let mut request = SearchOrdersRequest {
            page_size: 4,
            order_by: "created_at desc".into(),
            ..search(query, position)
        };
        let mut seen = Vec::new();
        let mut next = first_new;
        loop {
            let page = clients.search_orders(request.clone()).await.unwrap();
            seen.extend(ids(&page).into_iter().map(str::to_owned));
            if page.next_page_token.is_empty() {
                break;
            }
            request.page_token = page.next_page_token;
            position = create(&mut clients, next..next + 3).await;
            request.min_position = position;
            next += 3;
        }
        seen.retain(|id| id[2..].parse::<i64>().unwrap() < 25);
        let expected: Vec<_> = (0..25).rev().map(|index| format!("o-{index}")).collect();
        assert_eq!(seen, expected, "{query}");
    }
}

#[tokio::test]
async fn a_page_token_holds_for_the_same_request_with_any_page_size() {
    let server = Server::start().await;
    let mut clients = server.clients().await;
    let position = create(&mut clients, 0..5).await;
    let first = SearchOrdersRequest {
        page_size: 2,
        ..search("", position)
    };
    let page = clients.search_orders(first.clone()).await.unwrap();
    let second = SearchOrdersRequest {
        page_token: page.next_page_token,
        ..first
    };
    let larger = SearchOrdersRequest {
        page_size: 3,
        ..second.clone()
    };
    let page = clients.search_orders(larger).await.unwrap();
    assert_eq!(ids(&page), ["o-2", "o-1", "o-0"]);
    for wrong in [
        SearchOrdersRequest {
            customer_ids: vec!["c-1".into()],
            ..second.clone()
        },
        SearchOrdersRequest {
            order_by: "created_at".into(),
            ..second.clone()
        },
        SearchOrdersRequest {
            page_token: "nonsense".into(),
            ..second
        },
    ] {
        let refused = clients.search_orders(wrong).await;
        assert_refused(refused, Code::InvalidArgument, "INVALID_PAGE_TOKEN");
    }
}

/// Asserts that a client with the default limit of 4 MiB reads 12 large orders in pages that end at
/// about 1 MiB.
pub(crate) async fn assert_large_orders_have_short_pages(clients: &mut Clients) {
    let position = create_large(clients, 12).await;
    let expected: Vec<_> = (10..22).map(|index| format!("large-{index}")).collect();
    for (query, order_by) in [
        ("", "created_at"),
        ("large", "created_at"),
        ("large", "total_amount"),
        ("large", ""),
    ] {
        let mut request = SearchOrdersRequest {
            order_by: order_by.into(),
            facets: vec!["customer_id".into()],
            ..search(query, position)
        };
        let (mut found, mut pages) = (Vec::new(), 0);
        loop {
            let page = clients.search_orders(request.clone()).await.unwrap();
            assert!(
                page.encoded_len() < (1 << 20) + 1000,
                "one page is too large"
            );
            assert!(!page.orders.is_empty());
            assert_eq!((page.total_size, page.facets[0].values[0].count), (12, 12));
            found.extend(ids(&page).into_iter().map(str::to_owned));
            pages += 1;
            request.page_token = page.next_page_token;
            if request.page_token.is_empty() {
                break;
            }
        }
        if order_by.is_empty() {
            // Equally good matches come newest first.
            found.reverse();
        }
        assert_eq!(found, expected, "{query:?} by {order_by:?}");
        assert_eq!(pages, 4, "three orders are about 1 MiB");
    }
}

#[tokio::test]
async fn g13_pages_of_large_orders_end_at_a_mebibyte_and_go_on() {
    let server = Server::start().await;
    let mut clients = server.clients().await;
    assert_large_orders_have_short_pages(&mut clients).await;
}
