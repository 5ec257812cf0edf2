//! Tests of the answers of Meilisearch, compared with those of the embedded engine.

use contract::orders::v1::*;
use e2e::{Clients, Server};
use prost_types::Timestamp;
use test_support::{meilisearch::Meilisearch, order, request::search};

use super::start;
use crate::queries::pages::assert_large_orders_have_short_pages;

/// Creates orders that use every searchable field, and returns the newest position.
async fn fill(clients: &mut Clients) -> u64 {
    for (id, name) in [("tea", "Green tea"), ("jam", "Plum jam")] {
        let product = order::product(id, name);
        clients.register_product(product).await.unwrap();
    }
    for index in 0..60_i64 {
        let id = format!("Order-{index}");
        let product = if index % 2 == 0 { "tea" } else { "jam" };
        let create = CreateOrderRequest {
            items: vec![CreateOrderItem {
                unit_price: order::euros(1 + 10_000 * (index % 9)),
                ..order::item(product)
            }],
            occurred_at: Some(Timestamp {
                seconds: 1_700_000_000 + 3600 * (index / 3),
                nanos: 1,
            }),
            ..order::create(&id, &format!("c-{}", index % 5))
        };
        clients.create_order(create).await.unwrap();
        let occurred_at = Some(Timestamp {
            seconds: 1_700_100_000 + 7 * (index % 11),
            nanos: 2,
        });
        if index % 4 == 0 {
            let ship = ShipOrderRequest {
                occurred_at,
                ..order::ship(&id)
            };
            clients.ship_order(ship).await.unwrap();
        } else if index % 7 == 0 {
            let cancel = CancelOrderRequest {
                occurred_at,
                ..order::cancel(&id)
            };
            clients.cancel_order(cancel).await.unwrap();
        }
    }
    for (index, name) in (0..).zip(["Ann", "Anna", "Bob Tea", "Søren", "Zoë"]) {
        let customer = order::customer(&format!("c-{index}"), name);
        clients.register_customer(customer).await.unwrap();
    }
    clients.head().await
}

/// Builds searches with different words, filters and orders.
fn searches(position: u64) -> Vec<SearchOrdersRequest> {
    let words = [
        "tea",
        "plum",
        "ann",
        "SØREN",
        "soren",
        "order 17",
        "track 4711",
        "munster",
        "gren tea",
    ];
    let tea = search("tea", position);
    let time = |hours: i64| {
        Some(Timestamp {
            seconds: 1_700_000_000 + 3600 * hours,
            nanos: 1,
        })
    };
    let filters = [
        SearchOrdersRequest {
            customer_ids: vec!["c-1".into(), "c-4".into()],
            ..tea.clone()
        },
        SearchOrdersRequest {
            statuses: vec![OrderStatus::Shipped.into(), OrderStatus::Cancelled.into()],
            ..tea.clone()
        },
        SearchOrdersRequest {
            product_ids: vec!["tea".into()],
            created_from: time(4),
            created_to: time(16),
            ..tea.clone()
        },
        SearchOrdersRequest {
            min_total: order::euros(2 * 10_001 + 2),
            max_total: order::euros(2 * 60_001),
            ..tea.clone()
        },
    ];
    let orders = [
        "created_at",
        "updated_at desc",
        "total_amount",
        "total_amount desc",
    ];
    let ordered = orders.map(|order_by| SearchOrdersRequest {
        order_by: order_by.into(),
        ..tea.clone()
    });
    let mut searches: Vec<_> = words.map(|words| search(words, position)).into();
    searches.extend(filters);
    searches.extend(ordered);
    searches
}

/// Reads all pages of a request: the ids with their highlights, and the facets. The engines sort
/// differently without `order_by`, so the ids are sorted here.
async fn pages(
    clients: &mut Clients,
    mut request: SearchOrdersRequest,
) -> (Vec<(String, OrderHighlights)>, Vec<Facet>) {
    let mut orders = Vec::new();
    loop {
        let page = clients.search_orders(request.clone()).await.unwrap();
        assert!(!page.degraded && page.as_of_position >= request.min_position);
        assert_eq!(page.orders.len(), page.highlights.len());
        let ids = page.orders.into_iter().map(|order| order.order_id);
        orders.extend(ids.zip(page.highlights));
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            assert_eq!(orders.len() as u64, page.total_size);
            if request.order_by.is_empty() {
                orders.sort_by(|(one, _), (other, _)| one.cmp(other));
            }
            return (orders, page.facets);
        }
    }
}

#[tokio::test]
#[ignore = "needs Meilisearch"]
async fn meilisearch_answers_like_the_embedded_engine() {
    let meilisearch = Meilisearch::start();
    let (_server, mut clients) = start(&meilisearch).await;
    let embedded = Server::start().await;
    let mut other = embedded.clients().await;
    let position = fill(&mut clients).await;
    assert_eq!(fill(&mut other).await, position);
    for search in searches(position) {
        let request = SearchOrdersRequest {
            facets: vec!["status".into(), "customer_id".into(), "product_id".into()],
            page_size: 7,
            highlights: true,
            ..search
        };
        let of_meilisearch = pages(&mut clients, request.clone()).await;
        let mut highlights = of_meilisearch.0.iter().map(|(_, found)| &found.highlights);
        assert!(highlights.all(|found| !found.is_empty()), "{request:?}");
        let of_embedded = pages(&mut other, request.clone()).await;
        assert_eq!(of_meilisearch, of_embedded, "{request:?}");
    }
    clients.assert_verified(&["search"]).await;
}

#[tokio::test]
#[ignore = "needs Meilisearch"]
async fn a_search_with_more_than_ten_words_is_degraded() {
    let meilisearch = Meilisearch::start();
    let (_server, mut clients) = start(&meilisearch).await;
    let position = clients.create_many("o", 1).await;
    let words = ["o"; 11].join(" ");
    assert!(clients.search(&words, position).await.unwrap().degraded);
}

#[tokio::test]
#[ignore = "needs Meilisearch"]
async fn g13_pages_of_large_orders_end_at_a_mebibyte_with_meilisearch_too() {
    let meilisearch = Meilisearch::start();
    let (_server, mut clients) = start(&meilisearch).await;
    assert_large_orders_have_short_pages(&mut clients).await;
}
