//! Tests of orders and names that are parked because one of their events cannot be projected.

use std::fs;

use contract::orders::v1::*;
use e2e::{Clients, Server, end_of};
use prost::Message as _;
use test_support::{
    assert_error, assert_invalid_fields, assert_refused, order, request, sqlite, wait_until,
};
use tonic::Code;
use tonic_types::StatusExt as _;

use super::fill;

/// The id of an aggregate and the version of one of its events.
type Version = (&'static str, i64);

/// The event that creates an order.
const CREATED: Version = ("o-1", 1);

/// The event that gives a customer the name `Bea` instead of `Ann`.
const RENAMED: Version = ("c-0", 2);

/// Replaces the stored record of an event.
async fn store_record(server: &Server, (id, version): Version, record: &[u8]) {
    let mut log = sqlite::open(&server.folder().join("events.db")).await;
    sqlx::query("UPDATE events SET record = ? WHERE aggregate_id = ? AND version = ?")
        .bind(record)
        .bind(id)
        .bind(version)
        .execute(&mut log)
        .await
        .unwrap();
}

/// Starts a server with four orders and a renamed customer, whose read models were deleted after an
/// event was corrupted. Returns the intact record too.
async fn start_with_corrupted_event(
    event: Version,
    corrupt: impl FnOnce(RecordedEvent) -> Vec<u8>,
) -> (Server, Clients, Vec<u8>) {
    let mut server = Server::start().await;
    let mut clients = server.clients().await;
    fill(&mut clients, 4).await;
    let renamed = clients.register_customer(order::customer("c-0", "Bea"));
    renamed.await.unwrap();
    server.stop().await;
    let file = server.folder().join("events.db");
    sqlite::unlock(&file).await;
    let select = "SELECT record FROM events WHERE aggregate_id = ? AND version = ?";
    let intact: Vec<u8> = sqlx::query_scalar(select)
        .bind(event.0)
        .bind(event.1)
        .fetch_one(&mut sqlite::open(&file).await)
        .await
        .unwrap();
    store_record(
        &server,
        event,
        &corrupt(RecordedEvent::decode(&intact[..]).unwrap()),
    )
    .await;
    for file in ["read-1.db", "read-1.db-wal", "read-1.db-shm"] {
        // SQLite deletes the last two files when it closes.
        let _ = fs::remove_file(server.folder().join(file));
    }
    fs::remove_dir_all(server.folder().join("search-1")).unwrap();
    server.start_again().await;
    let clients = server.clients().await;
    (server, clients, intact)
}

/// Removes a required field, as if a newer program had written the event.
fn without_time(mut event: RecordedEvent) -> Vec<u8> {
    event.occurred_at = None;
    event.encode_to_vec()
}

/// Replaces the payload with a field `order_created` of invalid content.
fn with_invalid_payload(mut event: RecordedEvent) -> Vec<u8> {
    event.payload = None;
    let mut record = event.encode_to_vec();
    record.extend([0xa2, 0x01, 0x03, 0xff, 0xff, 0xff]);
    record
}

/// Cuts off the last byte, which is of the payload.
fn truncated(event: RecordedEvent) -> Vec<u8> {
    let mut record = event.encode_to_vec();
    record.pop();
    record
}

#[tokio::test]
async fn a_truncated_event_parks_its_order_and_delays_no_other_one() {
    let (server, mut clients, intact) = start_with_corrupted_event(CREATED, truncated).await;
    let position = clients.create("late").await;
    assert_eq!(clients.search("", position).await.unwrap().total_size, 4);
    clients.assert_verified(&["documents", "search"]).await;
    store_record(&server, CREATED, &intact).await;
    let retried = clients.retry_parked(RetryParkedRequest::default()).await;
    assert_eq!(retried.unwrap().recovered_count, 1);
    assert_eq!(clients.search("", position).await.unwrap().total_size, 5);
}

#[tokio::test]
async fn an_event_without_a_header_stops_the_documents_behind_all_earlier_events() {
    let (server, mut clients, intact) = start_with_corrupted_event(CREATED, |_| vec![0xff]).await;
    clients.order("o-0", 3).await;
    wait_until("the documents say why they stop", async || {
        let documents = clients.projection("documents").await;
        documents.position == 3 && documents.error.contains("event 4 cannot be decoded")
    })
    .await;
    store_record(&server, CREATED, &intact).await;
    wait_until("the documents go on", async || {
        clients.projection("documents").await.state() == ProjectionState::Live
    })
    .await;
}

#[tokio::test]
async fn an_order_is_parked_with_its_events_and_delays_no_other_order() {
    let (_server, mut clients, _) = start_with_corrupted_event(CREATED, without_time).await;
    clients.ship_order(order::ship("o-1")).await.unwrap();
    let delivered = clients.deliver_order(order::deliver("o-2")).await.unwrap();
    let position = delivered.position;

    let listed = clients.search("", position).await.unwrap();
    assert_eq!(listed.total_size, 3);
    let found = clients.search("tea", position).await.unwrap();
    assert_eq!(found.total_size, 3);
    let others = listed.orders.iter().map(Order::status);
    assert!(others.into_iter().any(|it| it == OrderStatus::Delivered));

    let listed = clients.list_parked(ListParkedRequest::default()).await;
    let listed = listed.unwrap();
    let parked = ParkedAggregate {
        projection: "documents".into(),
        order_id: "o-1".into(),
        position: 4,
        error: "occurred_at is missing or impossible".into(),
        event_count: 2,
        ..ParkedAggregate::default()
    };
    assert_eq!(listed.parked, [parked]);
    assert_eq!(listed.next_page_token, "");
    let documents = clients.projection("documents").await;
    assert_eq!((documents.parked_count, documents.lag_events), (1, 0));
    assert_eq!(documents.state(), ProjectionState::Live);
    assert_eq!(clients.projection("search").await.parked_count, 0);
}

#[tokio::test]
async fn a_retry_projects_a_parked_order_after_its_event_was_repaired() {
    let (server, mut clients, intact) = start_with_corrupted_event(CREATED, without_time).await;
    let shipped = clients.ship_order(order::ship("o-1")).await.unwrap();
    clients.search("", shipped.position).await.unwrap();
    let mut retry = async || {
        let retried = clients.retry_parked(RetryParkedRequest::default()).await;
        let retried = retried.unwrap();
        (retried.recovered_count, retried.parked_count)
    };
    assert_eq!(retry().await, (0, 1), "the event is not repaired yet");
    store_record(&server, CREATED, &intact).await;
    assert_eq!(retry().await, (1, 0));
    let order = clients.order("o-1", 0).await;
    assert_eq!((order.status(), order.version), (OrderStatus::Shipped, 2));
    wait_until("the index has o-1", async || {
        clients.search("tea", 0).await.unwrap().total_size == 4
    })
    .await;
    clients.assert_verified(&[]).await;
}

/// Retries one parked event before and after it is repaired, beside a watch of changes. Returns the
/// orders that a new watch lists.
async fn watched_after_a_retry(event: Version) -> Vec<Order> {
    let (server, mut clients, intact) = start_with_corrupted_event(event, without_time).await;
    let head = clients.head().await;
    let all = WatchOrdersRequest {
        min_position: head,
        max_wait: request::max_wait(),
        ..WatchOrdersRequest::default()
    };
    let changes = WatchOrdersRequest {
        changes_only: true,
        ..all.clone()
    };
    let mut watch = clients.watch_orders(changes).await.unwrap();
    assert!(watch.message().await.unwrap().unwrap().caught_up);
    let retry = RetryParkedRequest::default;
    clients.retry_parked(retry()).await.unwrap();
    clients.create("another").await;
    let mut orders = Vec::new();
    while orders.is_empty() {
        orders = watch.message().await.unwrap().unwrap().orders;
    }
    assert_eq!(orders[0].order_id, "another", "nothing is repaired yet");
    store_record(&server, event, &intact).await;
    clients.retry_parked(retry()).await.unwrap();
    let ended = end_of(watch).await;
    assert_error(&ended, Code::Unavailable, "READ_MODEL_DIVERGED");
    let mut watch = clients.watch_orders(all).await.unwrap();
    watch.message().await.unwrap().unwrap().orders
}

#[tokio::test]
async fn a_retry_ends_watches_so_that_they_begin_again_with_what_it_projected() {
    let orders = watched_after_a_retry(CREATED).await;
    assert!(orders.iter().any(|order| order.order_id == "o-1"));
    let orders = watched_after_a_retry(RENAMED).await;
    let of_customer = orders.iter().find(|order| order.customer_id == "c-0");
    assert_eq!(of_customer.unwrap().customer_name, "Bea");
}

#[tokio::test]
async fn an_event_that_cannot_be_decoded_parks_its_order_and_is_named_by_verify() {
    let (server, mut clients, intact) =
        start_with_corrupted_event(CREATED, with_invalid_payload).await;
    let position = clients.create("late").await;
    let listed = clients.search("", position).await.unwrap();
    assert_eq!(listed.total_size, 4);
    let found = clients.verify(&["log"]).await.unwrap();
    assert!(found[0].starts_with("event 4 cannot be read"), "{found:?}");
    clients.assert_verified(&["documents"]).await;
    store_record(&server, CREATED, &intact).await;
    let retried = clients.retry_parked(RetryParkedRequest::default()).await;
    assert_eq!(retried.unwrap().recovered_count, 1);
    let listed = clients.search("", position).await.unwrap();
    assert_eq!(listed.total_size, 5);
}

/// Returns the difference by which a verification reports an event that cannot be decoded.
fn parked_since(subject: &str, position: u64) -> String {
    format!("{subject} is parked since event {position}: occurred_at is missing or impossible")
}

#[tokio::test]
async fn a_name_that_cannot_be_decoded_is_parked_and_its_orders_show_the_older_one() {
    let (server, mut clients, intact) =
        start_with_corrupted_event(RENAMED, with_invalid_payload).await;
    let position = clients.create("late").await;
    assert_eq!(clients.order("o-0", position).await.customer_name, "Ann");
    let found = async |clients: &mut Clients, query: &str| {
        let found = clients.search(query, position).await.unwrap();
        found.total_size
    };
    assert_eq!(found(&mut clients, "").await, 5);
    assert_eq!(found(&mut clients, "tea").await, 5);
    assert_eq!(found(&mut clients, "bea").await, 0);

    let parked = ParkedAggregate {
        projection: "documents".into(),
        customer_id: "c-0".into(),
        position: position - 1,
        error: "occurred_at is missing or impossible".into(),
        event_count: 1,
        ..ParkedAggregate::default()
    };
    let listed = clients.list_parked(ListParkedRequest::default()).await;
    assert_eq!(listed.unwrap().parked, [parked]);
    assert_eq!(clients.projection("documents").await.parked_count, 1);
    let differences = clients.verify(&["log"]).await.unwrap();
    let unreadable = format!("event {} cannot be read", position - 1);
    assert!(differences[0].starts_with(&unreadable), "{differences:?}");
    let differences = clients.verify(&["documents"]).await.unwrap();
    assert_eq!(differences, [parked_since("customer c-0", position - 1)]);

    let mut retry = async |customer_id: &str| {
        let request = RetryParkedRequest {
            customer_ids: vec![customer_id.into()],
            ..RetryParkedRequest::default()
        };
        let retried = clients.retry_parked(request).await.unwrap();
        (retried.recovered_count, retried.parked_count)
    };
    assert_eq!(retry("c-0").await, (0, 1), "the event is not repaired yet");
    store_record(&server, RENAMED, &intact).await;
    assert_eq!(retry("c-1").await, (0, 0), "another customer");
    assert_eq!(retry("c-0").await, (1, 0));
    assert_eq!(clients.order("o-0", position).await.customer_name, "Bea");
    wait_until("the index has the name", async || {
        found(&mut clients, "bea").await == 2
    })
    .await;
    clients.assert_verified(&[]).await;
}

#[tokio::test]
async fn a_retry_with_an_invalid_id_is_refused() {
    let server = Server::start().await;
    let invalid = RetryParkedRequest {
        order_ids: vec!["o-1".into(), "o 1".into()],
        customer_ids: vec![String::new()],
        product_ids: vec!["p 1".into()],
        ..RetryParkedRequest::default()
    };
    let refused = server.clients().await.retry_parked(invalid).await;
    let fields = ["order_ids[1]", "customer_ids[0]", "product_ids[0]"];
    assert_invalid_fields(refused, &fields);
}

/// Starts a server with three parked orders in each projection, and a parked customer with the id of
/// an order.
async fn start_with_parked_orders() -> Server {
    let mut server = Server::start().await;
    server.stop().await;
    let parked = "INSERT INTO parked SELECT p.column1, 1, 'o-' || o.column1, 7, 'no', 1
        FROM (VALUES ('documents'), ('search')) p, (VALUES (1), (2), (3)) o
        UNION ALL SELECT 'documents', 2, 'o-1', 8, 'no', 1";
    sqlite::run(&server.folder().join("read.db"), parked).await;
    server.start_again().await;
    server
}

#[tokio::test]
async fn parked_aggregates_are_listed_in_pages() {
    let server = start_with_parked_orders().await;
    let mut clients = server.clients().await;
    let mut request = ListParkedRequest {
        page_size: 1,
        ..ListParkedRequest::default()
    };
    let mut all = Vec::new();
    loop {
        let page = clients.list_parked(request.clone()).await.unwrap();
        assert_eq!(page.parked.len(), 1);
        let ids = page.parked.into_iter();
        all.extend(ids.map(|it| (it.projection, it.order_id, it.customer_id)));
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
    }
    let expected = [
        ("documents", "o-1", ""),
        ("documents", "", "o-1"),
        ("documents", "o-2", ""),
        ("documents", "o-3", ""),
        ("search", "o-1", ""),
        ("search", "o-2", ""),
        ("search", "o-3", ""),
    ];
    let expected = expected.map(|(of, order, customer)| (of.into(), order.into(), customer.into()));
    assert_eq!(all, expected);
}

#[tokio::test]
async fn a_list_of_parked_orders_with_invalid_fields_is_refused() {
    let server = start_with_parked_orders().await;
    let mut clients = server.clients().await;
    let invalid = ListParkedRequest {
        page_token: "else".into(),
        page_size: 2,
        ..ListParkedRequest::default()
    };
    let refused = clients.list_parked(invalid).await;
    assert_refused(refused, Code::InvalidArgument, "INVALID_PAGE_TOKEN");
    let invalid = ListParkedRequest {
        projection: "events".into(),
        page_size: 1001,
        ..ListParkedRequest::default()
    };
    let refused = clients.list_parked(invalid).await;
    assert_invalid_fields(refused, &["projection", "page_size"]);
}

#[tokio::test]
async fn a_parked_order_says_so_and_fails_a_wait_for_a_later_version_immediately() {
    let mut server = Server::start().await;
    server.clients().await.create("o").await;
    let mut clients = server.clients().await;
    let position = clients.create("other").await;
    clients.order("o", position).await;
    server.stop().await;
    let park = "INSERT INTO parked VALUES ('documents', 1, 'o', 7, 'no', 1)";
    sqlite::run(&server.folder().join("read.db"), park).await;
    server.start_again().await;
    let mut clients = server.clients().await;
    let mut marker = async |id: &str| {
        let reply = clients.get_order(request::order(id, position)).await;
        reply.unwrap().parked
    };
    assert_eq!((marker("o").await, marker("other").await), (true, false));
    let later = GetOrderRequest {
        min_version: Some(2),
        max_wait: Some(prost_types::Duration {
            seconds: 30,
            nanos: 0,
        }),
        ..request::order("o", position)
    };
    let refused = clients.get_order(later).await;
    let refused = assert_refused(refused, Code::FailedPrecondition, "ORDER_PARKED");
    let metadata = refused.get_details_error_info().unwrap().metadata;
    assert_eq!(metadata["version"], "1");

    let all = GetStatisticsRequest::default();
    let all = clients.queries.get_statistics(all).await.unwrap();
    let customer = GetCustomerStatisticsRequest {
        customer_id: "ann".into(),
        ..GetCustomerStatisticsRequest::default()
    };
    let customer = clients.queries.get_customer_statistics(customer).await;
    let customer = customer.unwrap().into_inner();
    assert_eq!(all.into_inner().parked_orders, 1);
    assert_eq!((customer.total_orders, customer.parked_orders), (2, 1));
}

#[tokio::test]
async fn an_order_without_a_projected_event_is_not_said_to_be_unknown() {
    let (_server, mut clients, _) = start_with_corrupted_event(CREATED, without_time).await;
    let position = clients.create("late").await;
    let parked = clients.get_order(request::order("o-1", position)).await;
    assert_refused(parked, Code::FailedPrecondition, "ORDER_PARKED");
}

#[tokio::test]
async fn an_order_that_the_index_refused_is_unparked_when_it_accepts_a_later_state() {
    let server = start_with_parked_orders().await;
    let mut clients = server.clients().await;
    assert_eq!(clients.projection("search").await.parked_count, 3);
    let position = clients.create("o-7").await;
    sqlite::run(
        &server.folder().join("read.db"),
        "INSERT INTO parked VALUES ('search', 1, 'o-7', 1, 'no', 0)",
    )
    .await;
    clients.ship_order(order::ship("o-7")).await.unwrap();
    wait_until("the entry of o-7 is gone", async || {
        let request = ListParkedRequest {
            projection: "search".into(),
            ..ListParkedRequest::default()
        };
        let parked = clients.list_parked(request).await.unwrap().parked;
        assert!(parked.len() >= 3, "{parked:?}");
        clients.search("", position).await.unwrap().total_size == 1 && parked.len() == 3
    })
    .await;
}
