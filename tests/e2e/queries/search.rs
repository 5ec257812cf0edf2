//! Tests of the filters, facets, highlights and limits of searches.

use contract::orders::v1::*;
use e2e::Server;
use test_support::{assert_invalid_fields, order, request::search};

use super::{create, ids};

#[tokio::test]
async fn a_filter_selects_orders_by_customer_status_product_date_or_total() {
    let server = Server::start().await;
    let mut clients = server.clients().await;
    create(&mut clients, 0..9).await;
    let shipped = clients.ship_order(order::ship("o-4")).await.unwrap();
    let all = SearchOrdersRequest {
        order_by: "created_at".into(),
        ..search("", shipped.position)
    };
    let hour = |hour: i64| {
        Some(prost_types::Timestamp {
            seconds: 3600 * hour,
            nanos: 0,
        })
    };
    let by_customer = SearchOrdersRequest {
        customer_ids: vec!["c-1".into(), "c-2".into()],
        ..all.clone()
    };
    let by_status = SearchOrdersRequest {
        statuses: vec![OrderStatus::Shipped.into()],
        ..all.clone()
    };
    let by_product = SearchOrdersRequest {
        product_ids: vec!["jam".into()],
        ..all.clone()
    };
    let by_date = SearchOrdersRequest {
        created_from: hour(2),
        created_to: hour(4),
        ..all.clone()
    };
    let by_total = SearchOrdersRequest {
        min_total: order::euros(30_000),
        max_total: order::euros(50_000),
        ..all.clone()
    };
    let by_currency = SearchOrdersRequest {
        min_total: Some(wire::convert::money(0, "USD")),
        ..all
    };
    for (request, expected) in [
        (by_customer, "o-1 o-2 o-4 o-5 o-7 o-8"),
        (by_status, "o-4"),
        (by_product, "o-1 o-3 o-5 o-7"),
        // `created_from` is inclusive and `created_to` exclusive.
        (by_date, "o-2 o-3"),
        (by_total, "o-2 o-3 o-4"),
        (by_currency, ""),
    ] {
        let found = clients.search_orders(request.clone()).await.unwrap();
        assert_eq!(ids(&found).join(" "), expected, "{request:?}");
        assert_eq!(found.total_size, found.orders.len() as u64);
    }
}

#[tokio::test]
async fn facets_count_all_matches_beyond_the_page() {
    let server = Server::start().await;
    let mut clients = server.clients().await;
    create(&mut clients, 0..7).await;
    let shipped = clients.ship_order(order::ship("o-0")).await.unwrap();
    for query in ["", "o"] {
        let request = SearchOrdersRequest {
            facets: ["status", "customer_id", "product_id"]
                .map(str::to_owned)
                .to_vec(),
            page_size: 1,
            ..search(query, shipped.position)
        };
        let found = clients.search_orders(request).await.unwrap();
        let facet = |facet: &Facet| {
            let values = facet.values.iter();
            let counts: Vec<_> = values
                .map(|value| format!("{} {}", value.value, value.count))
                .collect();
            format!("{}: {}", facet.field, counts.join(", "))
        };
        let facets: Vec<_> = found.facets.iter().map(facet).collect();
        let expected = [
            "status: ORDER_STATUS_CREATED 6, ORDER_STATUS_SHIPPED 1",
            "customer_id: c-0 3, c-1 2, c-2 2",
            "product_id: tea 4, jam 3",
        ];
        assert_eq!(facets, expected);
    }
}

#[tokio::test]
async fn highlights_are_the_places_of_the_words_in_each_order() {
    let server = Server::start().await;
    let mut clients = server.clients().await;
    create(&mut clients, 0..3).await;
    let names = [("c-0", "Łódź & Söhne"), ("c-1", "김철수")];
    for (id, name) in names {
        let customer = order::customer(id, name);
        clients.register_customer(customer).await.unwrap();
    }
    let tea = order::product("tea", "Grüner Tee");
    clients.register_product(tea).await.unwrap();
    let position = clients
        .ship_order(order::ship("o-0"))
        .await
        .unwrap()
        .position;
    let request = |query: &str, highlights| SearchOrdersRequest {
        highlights,
        order_by: "created_at".into(),
        ..search(query, position)
    };
    for (query, expected) in [
        // Exactly, as a beginning, and with a typo.
        (
            "o lodz munster",
            &["o-0: order_id 0+1, customer_name 0+4, shipping_address 19+7"][..],
        ),
        (
            "grunar te",
            &[
                "o-0: items[0].product_name 0+6, items[0].product_name 7+2",
                "o-2: items[0].product_name 0+6, items[0].product_name 7+2",
            ],
        ),
        ("철ㅅ", &["o-1: customer_name 1+2"]),
        ("", &["o-0: ", "o-1: ", "o-2: "]),
    ] {
        let found = clients.search_orders(request(query, true)).await.unwrap();
        assert_eq!(highlighted(&found), expected, "{query}");
        let plain = clients.search_orders(request(query, false)).await.unwrap();
        assert_eq!(plain.orders, found.orders, "{query}");
        assert_eq!(plain.highlights, [], "{query}");
    }
}

#[tokio::test]
async fn a_page_of_highlights_goes_on_from_one_without() {
    let server = Server::start().await;
    let mut clients = server.clients().await;
    let position = create(&mut clients, 0..3).await;
    let first = SearchOrdersRequest {
        page_size: 1,
        ..search("o", position)
    };
    let page = clients.search_orders(first.clone()).await.unwrap();
    let second = SearchOrdersRequest {
        page_token: page.next_page_token,
        highlights: true,
        ..first
    };
    let page = clients.search_orders(second).await.unwrap();
    assert_eq!(highlighted(&page), ["o-1: order_id 0+1"]);
}

/// Returns the highlights of each order, as `field start+length`.
fn highlighted(page: &SearchOrdersResponse) -> Vec<String> {
    assert_eq!(page.orders.len(), page.highlights.len());
    let orders = page.orders.iter().zip(&page.highlights);
    let line = |(order, found): (&Order, &OrderHighlights)| {
        let places = found.highlights.iter();
        let places = places.map(|it| format!("{} {}+{}", it.field, it.start, it.length));
        format!(
            "{}: {}",
            order.order_id,
            places.collect::<Vec<_>>().join(", ")
        )
    };
    orders.map(line).collect()
}

#[tokio::test]
async fn all_invalid_fields_of_a_search_are_named_at_once() {
    let server = Server::start().await;
    let request = SearchOrdersRequest {
        query: "x".repeat(501),
        customer_ids: vec!["ok".into(), "not ok".into()],
        statuses: vec![0, 99],
        order_by: "price".into(),
        page_size: 501,
        facets: vec!["colour".into()],
        max_wait: Some(prost_types::Duration {
            seconds: -1,
            nanos: 0,
        }),
        ..SearchOrdersRequest::default()
    };
    let refused = server.clients().await.search_orders(request).await;
    let expected = [
        "max_wait",
        "query",
        "order_by",
        "page_size",
        "facets[0]",
        "customer_ids[1]",
        "statuses[0]",
        "statuses[1]",
    ];
    assert_invalid_fields(refused, &expected);
}

#[tokio::test]
async fn a_query_of_more_than_40_words_is_refused() {
    let server = Server::start().await;
    let mut clients = server.clients().await;
    // The search engine separates words at commas too.
    let words = |count: usize| vec!["a"; count].join(",");
    clients.search(&words(40), 0).await.unwrap();
    let refused = clients.search(&words(41), 0).await;
    assert_invalid_fields(refused, &["query"]);
}
