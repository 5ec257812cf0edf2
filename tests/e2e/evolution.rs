//! Tests of logs that older and newer programs have written.
//!
//! `stored_events/version_1.txt` holds the events of a program with schema version 1, one row per
//! line. Each later version gets its own file with the same story. Every later program must read
//! all of them.

use contract::{encoded, orders::v1::*};
use e2e::{Clients, Server};
use prost::Message as _;
use sqlx::Connection as _;
use test_support::{assert_refused, order, request, sqlite, wait_until};
use tonic::{Code, Request, Status, Streaming, codegen::http::uri::PathAndQuery};
use tonic_prost::ProstCodec;

/// The stored events of each schema version, from the first to the current one.
const VERSIONS: [&str; 1] = [include_str!("stored_events/version_1.txt")];

/// One row of the log.
#[derive(Clone)]
struct Stored {
    aggregate_type: i64,
    aggregate_id: String,
    version: i64,
    event_type: String,
    schema_version: i64,
    record: Vec<u8>,
}

fn rows(file: &str) -> Vec<Stored> {
    let row = |line: &str| {
        let fields: Vec<_> = line.split(' ').collect();
        let [kind, id, version, event_type, schema_version, record] = fields[..] else {
            panic!("{line}")
        };
        Stored {
            aggregate_type: kind.parse().unwrap(),
            aggregate_id: id.to_owned(),
            version: version.parse().unwrap(),
            event_type: event_type.to_owned(),
            schema_version: schema_version.parse().unwrap(),
            record: hex::decode(record).unwrap(),
        }
    };
    file.lines().map(row).collect()
}

/// Starts a server on a log with these rows.
async fn on(rows: &[Stored]) -> Server {
    let mut server = Server::start().await;
    server.stop().await;
    let mut log = sqlite::open(&server.folder().join("events.db")).await;
    for row in rows {
        let insert = "INSERT INTO events
            (aggregate_type, aggregate_id, version, event_type, schema_version, record)
            VALUES (?, ?, ?, ?, ?, ?)";
        sqlx::query(insert)
            .bind(row.aggregate_type)
            .bind(&row.aggregate_id)
            .bind(row.version)
            .bind(&row.event_type)
            .bind(row.schema_version)
            .bind(&row.record)
            .execute(&mut log)
            .await
            .unwrap();
    }
    log.close().await.unwrap();
    server.start_again().await;
    server
}

/// Streams the log after a position, and returns each event as raw bytes and the end of the stream.
async fn streamed(clients: &Clients, after_position: u64) -> (Vec<Vec<u8>>, Result<(), Status>) {
    let mut grpc = tonic::client::Grpc::new(clients.channel.clone());
    grpc.ready().await.unwrap();
    let answer = grpc
        .server_streaming(
            Request::new(SubscribeRequest {
                after_position,
                ..SubscribeRequest::default()
            }),
            PathAndQuery::from_static("/orders.v1.EventService/Subscribe"),
            ProstCodec::<SubscribeRequest, encoded::SubscribeResponse>::default(),
        )
        .await;
    let mut stream: Streaming<encoded::SubscribeResponse> = answer.unwrap().into_inner();
    let mut events = Vec::new();
    loop {
        match stream.message().await {
            Ok(Some(response)) => events.extend(response.events.iter().map(|it| it.to_vec())),
            Ok(None) => return (events, Ok(())),
            Err(status) => return (events, Err(status)),
        }
    }
}

/// Ships an order, and returns its new version or the error code.
async fn ship(clients: &mut Clients, id: &str) -> Result<u64, Code> {
    let shipped = clients.ship_order(order::ship(id)).await;
    let version = shipped.map(|shipped| shipped.version);
    version.map_err(|status| status.code())
}

/// Returns the rows of the newest schema version.
fn newest() -> Vec<Stored> {
    rows(VERSIONS[VERSIONS.len() - 1])
}

#[tokio::test]
async fn stored_events_of_each_schema_version_are_kept_for_these_tests() {
    let mut server = Server::start().await;
    server.clients().await.create("o").await;
    server.stop().await;
    let mut log = sqlite::open(&server.folder().join("events.db")).await;
    let written: u32 = sqlx::query_scalar("SELECT max(schema_version) FROM events")
        .fetch_one(&mut log)
        .await
        .unwrap();
    for (version, story) in (1..=written).zip(VERSIONS.map(rows)) {
        assert!(
            story
                .iter()
                .all(|row| row.schema_version == i64::from(version))
        );
    }
    assert_eq!(VERSIONS.len(), written as usize);
}

#[tokio::test]
async fn events_of_every_schema_version_are_read_projected_and_decided_on() {
    for version in VERSIONS {
        check_events(rows(version)).await;
    }
}

/// Checks events that a program with an older schema version wrote.
async fn check_events(stored: Vec<Stored>) {
    let server = on(&stored).await;
    let mut clients = server.clients().await;

    let (events, ended) = streamed(&clients, 0).await;
    ended.unwrap();
    let types: Vec<_> = events
        .iter()
        .map(|event| RecordedEvent::decode(&**event).unwrap())
        .map(|event| (event.position, event.version, event.payload.is_some()))
        .collect();
    let expected: Vec<_> = (1..)
        .zip(&stored)
        .map(|(position, row)| (position, row.version.cast_unsigned(), true))
        .collect();
    assert_eq!(types, expected);
    let first = RecordedEvent::decode(&*events[0]).unwrap();
    assert_eq!(first.request_id, "r-1");
    let time = first.occurred_at.unwrap();
    assert_eq!((time.seconds, time.nanos), (1_767_323_045, 6));

    let head = stored.len() as u64;
    let delivered = clients.order("a", head).await;
    assert_eq!(delivered.status(), OrderStatus::Delivered);
    assert_eq!(delivered.customer_name, "Ann Meyer");
    assert_eq!(delivered.items[0].product_name, "Green Tea");
    assert_eq!(delivered.shipping_address, "1 Harbour Street, Münster");
    assert_eq!(delivered.tracking_number, "T-4711");
    let total = delivered.total_amount.unwrap();
    assert_eq!((total.units, total.nanos), (25, 100_000));
    let cancelled = clients.order("b", head).await;
    assert_eq!(cancelled.cancellation_reason, "changed my mind");

    assert_eq!(ship(&mut clients, "b").await, Err(Code::FailedPrecondition));
    assert_eq!(ship(&mut clients, "c").await, Ok(2));

    clients.assert_verified(&["documents", "search"]).await;
}

#[tokio::test]
async fn a_field_that_a_newer_program_added_is_kept_and_streamed() {
    let mut stored = newest();
    let created = stored
        .iter_mut()
        .find(|row| row.aggregate_id == "c")
        .unwrap();
    let mut added = Vec::new();
    prost::encoding::string::encode(99, &"as a gift".to_owned(), &mut added);
    created.record.extend(&added);
    let server = on(&stored).await;
    let mut clients = server.clients().await;

    let (events, ended) = streamed(&clients, 0).await;
    ended.unwrap();
    assert!(events.last().unwrap().ends_with(&added));
    let order = clients.order("c", stored.len() as u64).await;
    assert_eq!(order.status(), OrderStatus::Created);
    assert_eq!(ship(&mut clients, "c").await, Ok(2));
    // The added field survives even though the command side has read the event.
    let (events, _) = streamed(&clients, 0).await;
    assert!(events[stored.len() - 1].ends_with(&added));
}

#[tokio::test]
async fn an_order_that_todays_rules_refuse_is_projected_and_shipped() {
    let mut stored = newest();
    let created = stored
        .iter_mut()
        .find(|row| row.aggregate_id == "c")
        .unwrap();
    let mut event = RecordedEvent::decode(&*created.record).unwrap();
    let Some(recorded_event::Payload::OrderCreated(payload)) = &mut event.payload else {
        panic!("{event:?}")
    };
    let price = |amount| Some(wire::convert::money(amount, "Euro"));
    let item = OrderCreatedItem {
        product_id: "green tea".into(),
        quantity: 2_000_000,
        unit_price: price(-1),
    };
    payload.items = vec![item; 1001];
    payload.total_amount = price(7);
    created.record = event.encode_to_vec();
    let server = on(&stored).await;
    let mut clients = server.clients().await;
    let order = clients.order("c", stored.len() as u64).await;
    assert_eq!(order.items.len(), 1001);
    assert_eq!(ship(&mut clients, "c").await, Ok(2));
}

#[tokio::test]
async fn an_event_of_an_unknown_type_is_streamed_and_commands_for_its_order_fail() {
    let mut stored = newest();
    let mut returned = stored.last().unwrap().clone();
    returned.version = 2;
    returned.event_type = "OrderReturned".into();
    let mut event = RecordedEvent::decode(&*returned.record).unwrap();
    event.payload = None;
    event.version = 2;
    returned.record = event.encode_to_vec();
    prost::encoding::bytes::encode(40, &Vec::new(), &mut returned.record);
    let record = returned.record.clone();
    stored.push(returned);
    let server = on(&stored).await;
    let mut clients = server.clients().await;

    let (events, ended) = streamed(&clients, 0).await;
    ended.unwrap();
    let last = events.last().unwrap();
    assert!(last.ends_with(&record));
    assert_eq!(RecordedEvent::decode(&**last).unwrap().payload, None);
    let order = clients.order("c", stored.len() as u64).await;
    assert_eq!((order.status(), order.version), (OrderStatus::Created, 2));
    assert_eq!(ship(&mut clients, "c").await, Err(Code::Internal));
    assert_eq!(clients.head().await, stored.len() as u64);
    clients.create("d").await;
}

#[tokio::test]
async fn g6_an_event_of_a_newer_schema_stops_streams_and_projection_instead_of_being_skipped() {
    let mut stored = newest();
    // The changed event creates order `c`, and another event follows it.
    let at = stored.len();
    stored[at - 1].schema_version += 1;
    let server = on(&stored).await;
    let mut clients = server.clients().await;
    clients.create("d").await;
    assert_eq!(ship(&mut clients, "c").await, Err(Code::Internal));

    let (_, ended) = streamed(&clients, 0).await;
    assert_eq!(ended.unwrap_err().code(), Code::Internal);
    let (events, ended) = streamed(&clients, at as u64).await;
    ended.unwrap();
    assert_eq!(events.len(), 1, "the later events can be read");
    wait_until("the documents follow the log", async || {
        clients.search("", 0).await.is_ok()
    })
    .await;
    let behind = GetOrderRequest {
        max_wait: Some(prost_types::Duration::default()),
        ..request::order("d", at as u64 + 1)
    };
    let behind = clients.get_order(behind).await;
    assert_refused(behind, Code::DeadlineExceeded, "READ_MODEL_BEHIND");
}
