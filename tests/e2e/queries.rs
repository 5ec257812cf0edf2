//! Tests of `QueryService` as a client sees it.

use contract::orders::v1::*;
use e2e::{Clients, Server};
use test_support::{order, reason, wrong_fields};
use tonic::Code;

/// Returns the ids of the orders on a page.
fn ids(page: &SearchOrdersResponse) -> Vec<&str> {
    page.orders
        .iter()
        .map(|order| order.order_id.as_str())
        .collect()
}

fn get(order_id: &str, min_position: u64) -> GetOrderRequest {
    GetOrderRequest {
        order_id: order_id.into(),
        min_position,
        ..GetOrderRequest::default()
    }
}

fn short_wait() -> Option<prost_types::Duration> {
    Some(prost_types::Duration {
        seconds: 0,
        nanos: 50_000_000,
    })
}

/// Creates `o-0`, `o-1`, ... one hour apart, for three customers in turn. Each order costs 1 EUR
/// more than the one before.
async fn create(clients: &mut Clients, ids: std::ops::Range<i64>) -> u64 {
    let mut position = 0;
    for index in ids {
        let unit_price = order::euros(10_000 * (index + 1));
        let product_id = if index % 2 == 0 { "tea" } else { "jam" };
        let create = CreateOrderRequest {
            items: vec![CreateOrderItem {
                quantity: 1,
                unit_price,
                ..order::item(product_id)
            }],
            occurred_at: Some(prost_types::Timestamp {
                seconds: 3600 * index,
                nanos: 0,
            }),
            ..order::create(&format!("o-{index}"), &format!("c-{}", index % 3))
        };
        position = clients
            .commands
            .create_order(create)
            .await
            .unwrap()
            .into_inner()
            .position;
    }
    position
}

async fn search(clients: &mut Clients, request: SearchOrdersRequest) -> SearchOrdersResponse {
    clients
        .queries
        .search_orders(request)
        .await
        .unwrap()
        .into_inner()
}

#[tokio::test]
async fn a_document_shows_all_of_its_order() {
    let server = Server::start().await;
    let mut clients = server.clients().await;
    clients
        .commands
        .register_product(order::product("tea", "Green Tea"))
        .await
        .unwrap();
    clients
        .commands
        .create_order(order::create("o", "ann"))
        .await
        .unwrap();
    clients.commands.ship_order(order::ship("o")).await.unwrap();
    let named = clients
        .commands
        .register_customer(order::customer("ann", "Ann Lee"))
        .await;
    let position = named.unwrap().into_inner().position;
    let found = clients
        .queries
        .get_order(get("o", position))
        .await
        .unwrap()
        .into_inner();
    assert!(found.as_of_position >= position);
    let found = found.order.unwrap();
    assert_eq!(
        (found.customer_id.as_str(), found.customer_name.as_str()),
        ("ann", "Ann Lee")
    );
    assert_eq!(found.status(), OrderStatus::Shipped);
    let expected = OrderItem {
        product_id: "tea".into(),
        product_name: "Green Tea".into(),
        quantity: 2,
        unit_price: order::euros(125_000),
        line_total: order::euros(250_000),
    };
    assert_eq!(found.items, [expected]);
    assert_eq!(
        (found.total_amount.clone(), found.item_count),
        (order::euros(250_000), 1)
    );
    assert_eq!(found.shipping_address, order::ship("o").shipping_address);
    assert_eq!(found.tracking_number, order::ship("o").tracking_number);
    assert_eq!(
        (found.version, found.position),
        (2, 4),
        "the name came last"
    );
    assert!(found.created_at.is_some() && found.shipped_at == found.updated_at);
    assert_eq!((found.delivered_at, found.cancelled_at), (None, None));
}

#[tokio::test]
async fn g8_a_query_sees_the_write_whose_position_it_names() {
    let server = Server::start().await;
    let mut clients = server.clients().await;
    for index in 0..50 {
        let id = format!("o-{index}");
        let created = clients
            .commands
            .create_order(order::create(&id, "ann"))
            .await
            .unwrap();
        let position = created.into_inner().position;
        let found = clients
            .queries
            .get_order(get(&id, position))
            .await
            .unwrap()
            .into_inner();
        assert!(found.as_of_position >= position);
        let customer_id = "ann".to_owned();
        let statistics = GetCustomerStatisticsRequest {
            customer_id,
            min_position: position,
            max_wait: None,
        };
        let statistics = clients
            .queries
            .get_customer_statistics(statistics)
            .await
            .unwrap();
        assert_eq!(statistics.into_inner().total_orders, index + 1);
        let text = SearchOrdersRequest {
            query: id.clone(),
            min_position: position,
            ..SearchOrdersRequest::default()
        };
        let found = search(&mut clients, text).await;
        assert!(ids(&found).contains(&id.as_str()), "{id} in {found:?}");
        assert!(found.as_of_position >= position);
    }
}

#[tokio::test]
async fn g8_a_position_that_does_not_come_in_time_is_an_error_that_says_how_far_it_is() {
    let server = Server::start().await;
    let mut clients = server.clients().await;
    create(&mut clients, 0..1).await;
    clients.queries.get_order(get("o-0", 1)).await.unwrap();
    let request = GetOrderRequest {
        max_wait: short_wait(),
        ..get("o-0", 2)
    };
    let behind = clients.queries.get_order(request).await.unwrap_err();
    assert_eq!(
        (behind.code(), reason(&behind)),
        (Code::DeadlineExceeded, "READ_MODEL_BEHIND".into())
    );
    let info = tonic_types::StatusExt::get_error_details(&behind)
        .error_info()
        .unwrap()
        .clone();
    assert_eq!(
        (
            info.metadata["position"].as_str(),
            info.metadata["min_position"].as_str()
        ),
        ("1", "2")
    );
}

#[tokio::test]
async fn g8_a_version_is_waited_for_also_while_there_is_no_order_yet() {
    let server = Server::start().await;
    let mut clients = server.clients().await;
    let version = |min_version| GetOrderRequest {
        min_version: Some(min_version),
        ..get("o", 0)
    };
    let mut queries = clients.queries.clone();
    let waiting = tokio::spawn(async move { queries.get_order(version(2)).await });
    clients
        .commands
        .create_order(order::create("o", "ann"))
        .await
        .unwrap();
    clients.commands.ship_order(order::ship("o")).await.unwrap();
    let found = waiting.await.unwrap().unwrap().into_inner().order.unwrap();
    assert_eq!(found.version, 2);
    let request = GetOrderRequest {
        max_wait: short_wait(),
        ..version(3)
    };
    let behind = clients.queries.get_order(request).await.unwrap_err();
    assert_eq!(reason(&behind), "READ_MODEL_BEHIND");
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let server = Server::start().await;
    let mut clients = server.clients().await;
    let none = clients.queries.get_order(get("none", 0)).await.unwrap_err();
    assert_eq!(
        (none.code(), reason(&none)),
        (Code::NotFound, "ORDER_NOT_FOUND".into())
    );
    let nobody = GetCustomerStatisticsRequest {
        customer_id: "none".into(),
        ..Default::default()
    };
    let nobody = clients
        .queries
        .get_customer_statistics(nobody)
        .await
        .unwrap_err();
    assert_eq!(
        (nobody.code(), reason(&nobody)),
        (Code::NotFound, "CUSTOMER_NOT_FOUND".into())
    );
}

#[tokio::test]
async fn orders_are_found_by_customer_status_product_date_and_total() {
    let server = Server::start().await;
    let mut clients = server.clients().await;
    create(&mut clients, 0..9).await;
    let shipped = clients
        .commands
        .ship_order(order::ship("o-4"))
        .await
        .unwrap();
    let min_position = shipped.into_inner().position;
    let all = SearchOrdersRequest {
        min_position,
        order_by: "created_at".into(),
        ..Default::default()
    };
    let mut of = async |request: SearchOrdersRequest| {
        let found = search(&mut clients, request).await;
        assert_eq!(found.total_size, found.orders.len() as u64);
        ids(&found).join(" ")
    };
    let customer_ids = vec!["c-1".to_owned(), "c-2".to_owned()];
    assert_eq!(
        of(SearchOrdersRequest {
            customer_ids,
            ..all.clone()
        })
        .await,
        "o-1 o-2 o-4 o-5 o-7 o-8"
    );
    let statuses = vec![OrderStatus::Shipped.into()];
    assert_eq!(
        of(SearchOrdersRequest {
            statuses,
            ..all.clone()
        })
        .await,
        "o-4"
    );
    let product_ids = vec!["jam".to_owned()];
    assert_eq!(
        of(SearchOrdersRequest {
            product_ids,
            ..all.clone()
        })
        .await,
        "o-1 o-3 o-5 o-7"
    );
    let at = |seconds| Some(prost_types::Timestamp { seconds, nanos: 0 });
    let (created_from, created_to) = (at(3600 * 2), at(3600 * 4));
    let dates = SearchOrdersRequest {
        created_from,
        created_to,
        ..all.clone()
    };
    assert_eq!(of(dates).await, "o-2 o-3", "from inclusive, to exclusive");
    let (min_total, max_total) = (order::euros(30_000), order::euros(50_000));
    let totals = SearchOrdersRequest {
        min_total,
        max_total,
        ..all.clone()
    };
    assert_eq!(of(totals).await, "o-2 o-3 o-4");
    let dollars = Some(wire::convert::money(0, "USD"));
    assert_eq!(
        of(SearchOrdersRequest {
            min_total: dollars,
            ..all
        })
        .await,
        ""
    );
}

#[tokio::test]
async fn orders_come_newest_first_or_as_asked() {
    let server = Server::start().await;
    let mut clients = server.clients().await;
    create(&mut clients, 0..3).await;
    let shipped = clients
        .commands
        .ship_order(order::ship("o-1"))
        .await
        .unwrap();
    let min_position = shipped.into_inner().position;
    for (order_by, expected) in [
        ("", ["o-2", "o-1", "o-0"]),
        ("created_at", ["o-0", "o-1", "o-2"]),
        ("updated_at desc", ["o-1", "o-2", "o-0"]),
        ("total_amount", ["o-0", "o-1", "o-2"]),
        ("total_amount desc", ["o-2", "o-1", "o-0"]),
    ] {
        for query in ["", "o"] {
            if query == "o" && order_by.is_empty() {
                continue;
            }
            let (order_by, query) = (order_by.into(), query.into());
            let request = SearchOrdersRequest {
                order_by,
                query,
                min_position,
                ..Default::default()
            };
            assert_eq!(
                ids(&search(&mut clients, request.clone()).await),
                expected,
                "{request:?}"
            );
        }
    }
}

#[tokio::test]
async fn pages_hold_each_order_once_while_orders_are_being_created() {
    let server = Server::start().await;
    let mut clients = server.clients().await;
    let mut min_position = create(&mut clients, 0..25).await;
    for query in ["", "o"] {
        let order_by = "created_at desc".to_owned();
        let mut request = SearchOrdersRequest {
            page_size: 4,
            query: query.into(),
            order_by,
            min_position,
            ..Default::default()
        };
        let mut seen = Vec::new();
        let mut next = 100 + seen.len() as i64 + i64::from(query.is_empty()) * 100;
        loop {
            let page = search(&mut clients, request.clone()).await;
            seen.extend(ids(&page).into_iter().map(str::to_owned));
            if page.next_page_token.is_empty() {
                break;
            }
            request.page_token = page.next_page_token;
            min_position = create(&mut clients, next..next + 3).await;
            request.min_position = min_position;
            next += 3;
        }
        let older: Vec<_> = seen
            .iter()
            .filter(|id| id[2..].parse::<i64>().unwrap() < 25)
            .collect();
        let expected: Vec<_> = (0..25).rev().map(|index| format!("o-{index}")).collect();
        assert_eq!(older, expected.iter().collect::<Vec<_>>(), "{query}");
    }
}

#[tokio::test]
async fn a_page_token_belongs_to_its_request() {
    let server = Server::start().await;
    let mut clients = server.clients().await;
    let min_position = create(&mut clients, 0..5).await;
    let request = SearchOrdersRequest {
        page_size: 2,
        min_position,
        ..Default::default()
    };
    let page_token = search(&mut clients, request.clone()).await.next_page_token;
    let larger = SearchOrdersRequest {
        page_size: 3,
        page_token: page_token.clone(),
        ..request.clone()
    };
    assert_eq!(
        ids(&search(&mut clients, larger).await),
        ["o-2", "o-1", "o-0"]
    );
    let customer_ids = vec!["c-1".to_owned()];
    for wrong in [
        SearchOrdersRequest {
            page_token: page_token.clone(),
            customer_ids,
            ..request.clone()
        },
        SearchOrdersRequest {
            page_token: page_token.clone(),
            order_by: "created_at".into(),
            ..request.clone()
        },
        SearchOrdersRequest {
            page_token: "nonsense".into(),
            ..request
        },
    ] {
        let refused = clients.queries.search_orders(wrong).await.unwrap_err();
        assert_eq!(
            (refused.code(), reason(&refused)),
            (Code::InvalidArgument, "INVALID_PAGE_TOKEN".into())
        );
    }
}

#[tokio::test]
async fn facets_count_all_matches() {
    let server = Server::start().await;
    let mut clients = server.clients().await;
    create(&mut clients, 0..7).await;
    let shipped = clients
        .commands
        .ship_order(order::ship("o-0"))
        .await
        .unwrap();
    let min_position = shipped.into_inner().position;
    for query in ["", "o"] {
        let facets = ["status", "customer_id", "product_id"]
            .map(str::to_owned)
            .to_vec();
        let query = query.to_owned();
        let request = SearchOrdersRequest {
            query,
            facets,
            page_size: 1,
            min_position,
            ..Default::default()
        };
        let found = search(&mut clients, request).await;
        let told: Vec<_> = found
            .facets
            .iter()
            .map(|facet| {
                let counts = facet
                    .values
                    .iter()
                    .map(|value| format!("{} {}", value.value, value.count));
                format!("{}: {}", facet.field, counts.collect::<Vec<_>>().join(", "))
            })
            .collect();
        let expected = [
            "status: ORDER_STATUS_CREATED 6, ORDER_STATUS_SHIPPED 1",
            "customer_id: c-0 3, c-1 2, c-2 2",
            "product_id: tea 4, jam 3",
        ];
        assert_eq!(told, expected);
    }
}

#[tokio::test]
async fn everything_wrong_with_a_search_is_told_at_once() {
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
    let wrong = server
        .clients()
        .await
        .queries
        .search_orders(request)
        .await
        .unwrap_err();
    let mut fields = wrong_fields(&wrong);
    fields.sort_unstable();
    let expected = [
        "customer_ids[1]",
        "facets[0]",
        "max_wait",
        "order_by",
        "page_size",
        "query",
        "statuses[0]",
        "statuses[1]",
    ];
    assert_eq!(fields, expected);
}

#[tokio::test]
async fn a_query_has_as_many_words_as_the_search_engine_finds_in_it() {
    let server = Server::start().await;
    let mut queries = server.clients().await.queries;
    let mut search = async |words: usize| {
        let request = SearchOrdersRequest {
            query: vec!["a"; words].join(","),
            ..SearchOrdersRequest::default()
        };
        queries.search_orders(request).await
    };
    search(40).await.unwrap();
    assert_eq!(wrong_fields(&search(41).await.unwrap_err()), ["query"]);
}

#[tokio::test]
async fn statistics_are_exact_per_currency_and_round_half_to_even() {
    let server = Server::start().await;
    let mut clients = server.clients().await;
    let mut position = 0;
    for (index, (amount, currency)) in [(1, "EUR"), (2, "EUR"), (7, "USD")].into_iter().enumerate()
    {
        let unit_price = Some(wire::convert::money(amount, currency));
        let create = CreateOrderRequest {
            items: vec![CreateOrderItem {
                quantity: 1,
                unit_price,
                ..order::item("tea")
            }],
            occurred_at: Some(prost_types::Timestamp {
                seconds: 86_400 * index as i64,
                nanos: 0,
            }),
            ..order::create(&format!("o-{index}"), "ann")
        };
        position = clients
            .commands
            .create_order(create)
            .await
            .unwrap()
            .into_inner()
            .position;
    }
    clients
        .commands
        .cancel_order(order::cancel("o-2"))
        .await
        .unwrap();
    clients
        .commands
        .register_customer(order::customer("idle", "Idle"))
        .await
        .unwrap();
    position += 2;
    let of = |customer_id: &str| GetCustomerStatisticsRequest {
        customer_id: customer_id.into(),
        min_position: position,
        max_wait: None,
    };
    let ann = clients
        .queries
        .get_customer_statistics(of("ann"))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(ann.total_orders, 3, "cancelled ones too");
    let money = |amount, currency| Some(wire::convert::money(amount, currency));
    let expected = [
        CurrencyAmounts {
            total_amount: money(3, "EUR"),
            average_order_amount: money(2, "EUR"),
        },
        CurrencyAmounts {
            total_amount: money(7, "USD"),
            average_order_amount: money(7, "USD"),
        },
    ];
    assert_eq!(ann.amounts, expected, "1.5 is rounded to 2");
    let counts: Vec<_> = ann
        .orders_by_status
        .iter()
        .map(|count| (count.status(), count.count))
        .collect();
    assert_eq!(
        counts,
        [(OrderStatus::Created, 2), (OrderStatus::Cancelled, 1)]
    );
    let idle = clients
        .queries
        .get_customer_statistics(of("idle"))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        (idle.total_orders, idle.customer_name.as_str()),
        (0, "Idle")
    );

    let all = GetStatisticsRequest {
        by_day: true,
        min_position: position,
        max_wait: None,
    };
    let all = clients
        .queries
        .get_statistics(all)
        .await
        .unwrap()
        .into_inner();
    assert_eq!((all.total_orders, all.amounts), (3, expected.to_vec()));
    let days: Vec<_> = all
        .days
        .iter()
        .map(|day| (day.day.as_str(), day.total_orders))
        .collect();
    assert_eq!(
        days,
        [("1970-01-01", 1), ("1970-01-02", 1), ("1970-01-03", 1)]
    );
}

#[tokio::test]
async fn late_names_and_renames_reach_every_order_that_shows_them_also_in_search() {
    let server = Server::start().await;
    let mut clients = server.clients().await;
    create(&mut clients, 0..6).await;
    for (name, word) in [
        ("Münster Tea House", "munster"),
        ("Quirky Qualities", "quirky"),
    ] {
        let named = clients
            .commands
            .register_customer(order::customer("c-1", name))
            .await
            .unwrap();
        let min_position = named.into_inner().position;
        let request = SearchOrdersRequest {
            query: word.into(),
            min_position,
            ..Default::default()
        };
        let found = search(&mut clients, request).await;
        assert_eq!(ids(&found), ["o-4", "o-1"], "newest first among equals");
        assert!(found.orders.iter().all(|order| order.customer_name == name));
    }
    let old = SearchOrdersRequest {
        query: "munster".into(),
        ..Default::default()
    };
    assert_eq!(ids(&search(&mut clients, old).await), [""; 0]);
}
