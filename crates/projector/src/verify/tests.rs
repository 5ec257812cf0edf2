//! Tests of the comparison of documents with a fold of the log.

use std::{collections::BTreeMap, fs, io, path::Path};

use contract::orders::v1::{
    AggregateType, CustomerRegistered, Order, OrderCancelled, OrderCreated, OrderCreatedItem,
    OrderDelivered, OrderShipped, OrderStatus, ProductRegistered, RecordedEvent,
    recorded_event::Payload,
};
use read_model::store::{Contents, Writer};
use tempfile::TempDir;
use test_support::sqlite;
use tokio::sync::mpsc;
use wire::convert;

use super::{
    Finding,
    against_log::{Sent, compare_received, send_contents},
    fold::Fold,
    record::{Content, Record},
    spill::Spill,
};

const DAY: i64 = 86_400_000_000_000;

/// Builds the next event of an aggregate.
fn event(position: u64, id: &str, version: u64, payload: Payload) -> RecordedEvent {
    let kind = match payload {
        Payload::CustomerRegistered(_) => AggregateType::Customer,
        Payload::ProductRegistered(_) => AggregateType::Product,
        _ => AggregateType::Order,
    };
    RecordedEvent {
        position,
        event_id: format!("event-{position}"),
        aggregate_type: kind.into(),
        aggregate_id: id.into(),
        version,
        occurred_at: Some(convert::timestamp(DAY)),
        payload: Some(payload),
        ..RecordedEvent::default()
    }
}

/// An order of two pieces at 2.50 EUR each.
fn created(total: i64) -> Payload {
    let item = OrderCreatedItem {
        product_id: "tea".into(),
        quantity: 2,
        unit_price: Some(convert::money(25_000, "EUR")),
    };
    Payload::OrderCreated(OrderCreated {
        customer_id: "ann".into(),
        items: vec![item],
        total_amount: Some(convert::money(total, "EUR")),
    })
}

fn shipped() -> Payload {
    Payload::OrderShipped(OrderShipped {
        shipping_address: "1 Main St".into(),
        tracking_number: "T1".into(),
    })
}

fn log() -> Vec<RecordedEvent> {
    let named = |name: &str| CustomerRegistered { name: name.into() };
    let tea = ProductRegistered { name: "Tea".into() };
    let cancelled = OrderCancelled {
        reason: "no".into(),
    };
    vec![
        event(1, "o1", 1, created(50_000)),
        event(2, "o1", 2, shipped()),
        event(3, "o2", 1, created(50_000)),
        event(4, "ann", 1, Payload::CustomerRegistered(named("Ann"))),
        event(5, "tea", 1, Payload::ProductRegistered(tea)),
        event(6, "o1", 3, Payload::OrderDelivered(OrderDelivered {})),
        event(7, "o2", 2, Payload::OrderCancelled(cancelled)),
        event(8, "o3", 1, created(50_000)),
    ]
}

/// The documents of a log, as the projection makes them.
struct Documents(TempDir);

impl Documents {
    async fn of(events: &[RecordedEvent]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = Writer::open(&folder.path().join("read.db"), 1)
            .await
            .unwrap();
        writer
            .apply("log", events, events.len() as u64)
            .await
            .unwrap();
        writer.close().await;
        Self(folder)
    }

    async fn change(&self, sql: &str) {
        sqlite::run(&self.0.path().join("read.db"), sql).await;
    }

    /// Returns the differences from the events of a log.
    async fn differences(&self, events: Vec<RecordedEvent>) -> Vec<String> {
        let contents = Contents::open(&self.0.path().join("read.db"))
            .await
            .unwrap();
        let (found, mut findings) = mpsc::channel(100);
        let (to, received) = mpsc::channel(4);
        let folder = self.0.path().join("verify");
        let kept = folder.clone();
        let comparing =
            tokio::task::spawn_blocking(move || compare_received(received, &folder, &found));
        assert_eq!(send_contents(contents, &to).await.unwrap(), [""; 0]);
        let records = events.into_iter().map(Record::from).collect();
        for message in [Sent::Records(records), Sent::All] {
            to.send(message).await.map_err(|_| "closed").unwrap();
        }
        let is_same = comparing.await.unwrap().unwrap();
        let mut differences = Vec::new();
        while let Some(finding) = findings.recv().await {
            if let Finding::Difference(difference) = finding {
                differences.push(format!("{} {}", difference.subject, difference.problem));
            }
        }
        assert_eq!(is_same, differences.is_empty());
        assert!(!kept.exists(), "the records are left");
        differences.sort();
        differences
    }
}

/// Changes of the tables, each with the difference that it makes.
const CHANGES: [(&str, &str); 14] = [
    ("", ""),
    (
        "DELETE FROM orders WHERE order_id = 'o2'",
        "order o2 is missing",
    ),
    (
        "INSERT INTO orders SELECT 99, 'o9', position, body FROM orders WHERE order_id = 'o2'",
        "order o9 is not in the log",
    ),
    (
        "UPDATE orders SET position = position + 1 WHERE order_id = 'o1'",
        "order o1 is found by something else than it shows",
    ),
    (
        "UPDATE orders SET row = 99 WHERE order_id = 'o1'",
        "order o1 is found by something else than it shows",
    ),
    (
        "UPDATE orders SET body = X'FF' WHERE order_id = 'o1'",
        "order o1 cannot be decoded",
    ),
    (
        "UPDATE customers SET name = 'Bob' WHERE name = 'Ann'",
        "customer ann is called Bob since event 4, instead of Ann since event 4",
    ),
    (
        "INSERT INTO customers (number, customer_id, name, position) VALUES (99, 'c9', 'x', 9)",
        "customer c9 is not in the log",
    ),
    (
        "DELETE FROM products",
        "product tea has no name, instead of Tea since event 5",
    ),
    (
        "UPDATE statistics SET low = low + 10000 WHERE scope = 2 AND status = 3",
        "statistics of day 1970-01-02 count 1 orders of 6.00 EUR with status DELIVERED, instead of \
         1 of 5.00",
    ),
    (
        "UPDATE statistics SET orders = 7 WHERE scope = 0 AND status = 1",
        "statistics of all orders count 7 orders of 5.00 EUR with status CREATED, instead of 1 of \
         5.00",
    ),
    (
        "INSERT INTO statistics VALUES (0, '', 'USD', 1, 5, 0, 0)",
        "statistics of all orders count 5 orders of 0.00 USD with status CREATED, instead of 0 of \
         0.00",
    ),
    (
        "INSERT INTO parked VALUES ('documents', 1, 'o1', 2, 'x', 1)",
        "order o1 is parked, and could be projected",
    ),
    (
        "INSERT INTO parked VALUES ('documents', 2, 'ann', 4, 'x', 1)",
        "customer ann is parked, and could be projected",
    ),
];

#[tokio::test]
async fn g10_each_table_is_compared_and_each_difference_named() {
    for (change, expected) in CHANGES {
        let documents = Documents::of(&log()).await;
        documents.change(change).await;
        let found = documents.differences(log()).await;
        assert_eq!(found.join(", "), expected, "{change}");
    }
}

#[tokio::test]
async fn g10_each_field_of_a_document_is_compared() {
    type Edit = fn(&mut Order);
    let edits: [(Edit, &str); 17] = [
        (|order| order.order_id = "o9".into(), "order_id"),
        (|order| order.customer_id = "bob".into(), "customer_id"),
        (|order| order.customer_name = "Ann".into(), "customer_name"),
        (|order| order.set_status(OrderStatus::Shipped), "status"),
        (|order| order.items[0].quantity = 3, "items"),
        (|order| order.items[0].unit_price = None, "items"),
        (
            |order| order.total_amount = Some(convert::money(50_000, "USD")),
            "total_amount",
        ),
        (|order| order.item_count = 2, "item_count"),
        (
            |order| order.shipping_address = String::new(),
            "shipping_address",
        ),
        (
            |order| order.tracking_number = "T2".into(),
            "tracking_number",
        ),
        (
            |order| order.cancellation_reason = "x".into(),
            "cancellation_reason",
        ),
        (
            |order| order.created_at = Some(convert::timestamp(0)),
            "created_at",
        ),
        (|order| order.updated_at = None, "updated_at"),
        (|order| order.shipped_at = None, "shipped_at"),
        (|order| order.delivered_at = None, "delivered_at"),
        (
            |order| order.cancelled_at = order.created_at,
            "cancelled_at",
        ),
        (|order| order.version = 2, "version"),
    ];
    for (edit, field) in edits {
        let documents = Documents::of(&log()).await;
        sqlite::edit_order(&documents.0.path().join("read.db"), "o1", edit).await;
        let expected = format!("order o1 is wrong in {field}");
        assert_eq!(documents.differences(log()).await, [expected]);
    }
}

#[tokio::test]
async fn g10_a_total_is_compared_with_the_items() {
    let mut log = log();
    log[7] = event(8, "o3", 1, created(60_000));
    let found = Documents::of(&log).await.differences(log).await;
    assert_eq!(
        found,
        ["order o3 has a total of 6.00 EUR, and items of 5.00 EUR"]
    );
}

#[tokio::test]
async fn g10_an_event_that_the_projection_lost_is_noticed() {
    let found = Documents::of(&log()[..6]).await.differences(log()).await;
    assert_eq!(
        found,
        [
            "order o2 is wrong in status, cancellation_reason, cancelled_at, version, position",
            "order o3 is missing",
            "statistics of all orders count 0 orders of 0.00 EUR with status CANCELLED, instead of 1 \
             of 5.00",
            "statistics of day 1970-01-02 count 0 orders of 0.00 EUR with status CANCELLED, instead \
             of 1 of 5.00",
        ]
    );
}

#[tokio::test]
async fn g10_what_cannot_be_applied_is_parked_on_both_sides() {
    let mut faulty: Vec<_> = log();
    faulty.push(event(9, "o3", 3, shipped()));
    faulty.push(event(10, "o3", 4, shipped()));
    faulty.push(event(11, "o4", 1, shipped()));
    faulty.push(event(12, "o5", 1, created(50_000)));
    faulty.push(event(13, "o5", 2, created(50_000)));
    let unnamed = CustomerRegistered::default();
    faulty.push(event(14, "ann", 2, Payload::CustomerRegistered(unnamed)));
    // An event of a newer contract changes nothing that this version shows.
    let mut newer = event(15, "o1", 4, shipped());
    newer.payload = None;
    faulty.push(newer);
    let documents = Documents::of(&faulty).await;
    assert_eq!(documents.differences(faulty.clone()).await, [""; 0]);
    documents.change("DELETE FROM parked").await;
    assert_eq!(
        documents.differences(faulty).await,
        [
            "customer ann is not parked, although event 14 has no name",
            "order o3 is not parked, although event 9 does not have the next version of its order",
            "order o4 is not parked, although event 11 is of an order that does not exist",
            "order o5 is not parked, although event 13 creates an order that exists",
        ]
    );
}

#[test]
fn a_fold_is_the_state_that_commands_are_decided_on() {
    let mut fold = Fold::default();
    for event in log().into_iter().filter(|event| event.aggregate_id == "o1") {
        fold.add(event);
    }
    let order = fold.order.unwrap().document();
    assert_eq!(order.status(), OrderStatus::Delivered);
    assert_eq!((order.version, order.position), (3, 6));
    assert_eq!(
        order.items[0].line_total,
        Some(convert::money(50_000, "EUR"))
    );
}

/// Returns the names of the files in a folder.
fn files(folder: &Path) -> usize {
    fs::read_dir(folder).unwrap().count()
}

#[test]
fn records_of_an_aggregate_stay_together_and_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("verify");
    // So few bytes that nearly every file is distributed to the last level.
    let mut spill = Spill::create(path.clone(), 100).unwrap();
    const AGGREGATES: u64 = 300;
    for position in 1..=3 * AGGREGATES {
        let id = format!("o{}", position % AGGREGATES);
        let event = event(position, &id, 1, shipped());
        spill.add(&Record::from(event)).unwrap();
    }
    let mut seen = BTreeMap::<String, Vec<u64>>::new();
    let mut work = |records| {
        let mut ids = BTreeMap::<String, Vec<u64>>::new();
        for record in records {
            let record: Record = record?;
            let (aggregate, content) = record.into_aggregate();
            let Some(Content::Event(event)) = content else {
                panic!("only events were added");
            };
            ids.entry(aggregate.id).or_default().push(event.position);
        }
        for (id, positions) in ids {
            assert!(seen.insert(id, positions).is_none(), "in two files");
        }
        Ok::<_, io::Error>(())
    };
    spill.each(&mut work).unwrap();
    assert_eq!(files(&path), 0);
    assert_eq!(seen.len() as u64, AGGREGATES);
    for (id, positions) in seen {
        let first: u64 = id[1..].parse().unwrap();
        let first = if first == 0 { AGGREGATES } else { first };
        let expected = [first, first + AGGREGATES, first + 2 * AGGREGATES];
        assert_eq!(positions, expected);
    }
}
