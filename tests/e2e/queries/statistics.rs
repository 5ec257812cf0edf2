//! Tests of statistics.

use contract::{google::r#type::Money, orders::v1::*};
use e2e::{Clients, Server};
use test_support::{assert_invalid_fields, assert_refused, order, request::max_wait};
use tonic::Code;

/// Creates three orders of `ann`, one a day, the last cancelled. Returns the newest position.
async fn create(clients: &mut Clients) -> u64 {
    let amounts = [(1, "EUR"), (2, "EUR"), (7, "USD")];
    for (day, (amount, currency)) in (0..).zip(amounts) {
        let create = CreateOrderRequest {
            items: vec![CreateOrderItem {
                quantity: 1,
                unit_price: money(amount, currency),
                ..order::item("tea")
            }],
            occurred_at: Some(prost_types::Timestamp {
                seconds: 86_400 * day,
                nanos: 0,
            }),
            ..order::create(&format!("o-{day}"), "ann")
        };
        clients.create_order(create).await.unwrap();
    }
    let cancelled = clients.cancel_order(order::cancel("o-2")).await;
    cancelled.unwrap().position
}

fn money(amount: i64, currency: &str) -> Option<Money> {
    Some(wire::convert::money(amount, currency))
}

/// Returns the expected amounts of the orders of [`create`]. The average of 1.5 rounds to 2, half
/// to even.
fn amounts() -> [CurrencyAmounts; 2] {
    let amounts = |total, average, currency| CurrencyAmounts {
        total_amount: money(total, currency),
        average_order_amount: money(average, currency),
    };
    [amounts(3, 2, "EUR"), amounts(7, 7, "USD")]
}

async fn customer_statistics(
    clients: &mut Clients,
    customer_id: &str,
    min_position: u64,
) -> GetCustomerStatisticsResponse {
    let request = GetCustomerStatisticsRequest {
        customer_id: customer_id.into(),
        min_position,
        max_wait: max_wait(),
    };
    let statistics = clients.queries.get_customer_statistics(request).await;
    statistics.unwrap().into_inner()
}

#[tokio::test]
async fn statistics_of_a_customer_are_exact_per_currency_and_round_half_to_even() {
    let server = Server::start().await;
    let mut clients = server.clients().await;
    let position = create(&mut clients).await;
    let ann = customer_statistics(&mut clients, "ann", position).await;
    assert_eq!(ann.total_orders, 3, "cancelled orders count too");
    assert_eq!(ann.amounts, amounts());
    let counts: Vec<_> = ann
        .orders_by_status
        .iter()
        .map(|count| (count.status(), count.count))
        .collect();
    assert_eq!(
        counts,
        [(OrderStatus::Created, 2), (OrderStatus::Cancelled, 1)]
    );
}

#[tokio::test]
async fn statistics_of_a_known_customer_without_orders_are_zero() {
    let server = Server::start().await;
    let mut clients = server.clients().await;
    let idle = order::customer("idle", "Idle");
    let position = clients.register_customer(idle).await.unwrap().position;
    let idle = customer_statistics(&mut clients, "idle", position).await;
    assert_eq!(idle.total_orders, 0);
    assert_eq!(idle.customer_name, "Idle");
}

#[tokio::test]
async fn statistics_count_all_orders_and_those_of_each_day() {
    let server = Server::start().await;
    let mut clients = server.clients().await;
    let request = GetStatisticsRequest {
        by_day: true,
        min_position: create(&mut clients).await,
        max_wait: max_wait(),
        ..GetStatisticsRequest::default()
    };
    let all = clients.queries.get_statistics(request).await.unwrap();
    let all = all.into_inner();
    assert_eq!(all.total_orders, 3);
    assert_eq!(all.amounts, amounts());
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
async fn g13_days_come_in_pages_each_day_once_while_orders_are_created() {
    let server = Server::start().await;
    let mut clients = server.clients().await;
    let mut request = GetStatisticsRequest {
        by_day: true,
        min_position: create(&mut clients).await,
        max_wait: max_wait(),
        page_size: 2,
        ..GetStatisticsRequest::default()
    };
    let page = clients.queries.get_statistics(request.clone()).await;
    let page = page.unwrap().into_inner();
    let days = |page: &GetStatisticsResponse| -> Vec<_> {
        page.days.iter().map(|day| day.day.clone()).collect()
    };
    assert_eq!(days(&page), ["1970-01-01", "1970-01-02"]);
    assert_eq!((page.total_orders, page.amounts.len()), (3, 2));
    // One day is before the page, one is its last day, and one is after it.
    for (id, day) in [("before", -1), ("last", 1), ("after", 5)] {
        let create = CreateOrderRequest {
            occurred_at: Some(prost_types::Timestamp {
                seconds: 86_400 * day,
                nanos: 0,
            }),
            ..order::create(id, "ann")
        };
        request.min_position = clients.create_order(create).await.unwrap().position;
    }
    request.page_token = page.next_page_token;
    let page = clients.queries.get_statistics(request.clone()).await;
    let page = page.unwrap().into_inner();
    assert_eq!(days(&page), ["1970-01-03", "1970-01-06"]);
    assert_eq!((page.total_orders, page.next_page_token.as_str()), (6, ""));

    let without_days = GetStatisticsRequest {
        by_day: false,
        ..request.clone()
    };
    let nonsense = GetStatisticsRequest {
        page_token: "1970-01-0x".into(),
        ..request.clone()
    };
    for wrong in [without_days, nonsense] {
        let refused = clients.queries.get_statistics(wrong).await;
        assert_refused(refused, Code::InvalidArgument, "INVALID_PAGE_TOKEN");
    }
    request.page_size = 1001;
    let refused = clients.queries.get_statistics(request).await;
    assert_invalid_fields(refused, &["page_size"]);
}
