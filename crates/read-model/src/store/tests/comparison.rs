//! Tests of the comparison with rebuilt documents.

use tokio::sync::mpsc;

use std::sync::Arc;

use super::*;
use crate::lists::{Change, Entry};

fn log() -> Log {
    let mut log = Log::default();
    log.create("o1", "c1", &["p1", "p2"], (100, "EUR"), 0);
    log.ship("o1", DAY);
    log.create("o2", "c2", &["p1"], (200, "EUR"), 0);
    log.customer("c1", "Ann");
    log.product("p1", "Tea");
    log
}

/// Changes the documents of a store, and returns the differences from the correct ones.
async fn found_after(change: &str) -> Vec<(String, String)> {
    let store = Store::holding(&log()).await;
    if !change.is_empty() {
        store.change(change).await;
    }
    let truth = Store::holding(&log()).await;
    let file = |store: &Store| store.dir.path().join("read.db");
    let comparison = Comparison::begin(&file(&store), &file(&truth))
        .await
        .unwrap();
    assert_eq!(comparison.checkpoint().unwrap().position, 5);
    let (found, mut differences) = mpsc::channel::<Difference>(100);
    let is_same = comparison.run(&found).await.unwrap();
    drop(found);
    let mut told = Vec::new();
    while let Some(Difference { subject, problem }) = differences.recv().await {
        told.push((subject, problem));
    }
    assert_eq!(is_same, told.is_empty());
    told
}

/// Changes of the tables, each with the subject and the problem of the difference that it makes.
const CHANGES: [(&str, &str, &str); 13] = [
    (
        "DELETE FROM orders WHERE order_id = 'o2'",
        "order o2",
        "is missing",
    ),
    (
        "INSERT INTO orders SELECT 99, 'o9', position, body FROM orders WHERE order_id = 'o2'",
        "order o9",
        "is not in the log",
    ),
    (
        "UPDATE orders SET position = position + 1 WHERE order_id = 'o1'",
        "order o1",
        "is found by something else than it shows",
    ),
    (
        "UPDATE orders SET body = (SELECT body FROM orders WHERE order_id = 'o2')
            WHERE order_id = 'o1'",
        "order o1",
        "is wrong in order_id, customer_id, status, items, total_amount, item_count, \
         shipping_address, tracking_number, updated_at, shipped_at, version, position",
    ),
    (
        "UPDATE orders SET body = X'FF' WHERE order_id = 'o1'",
        "order o1",
        "cannot be decoded",
    ),
    (
        "UPDATE customers SET name = 'Bob' WHERE name = 'Ann'",
        "customer c1",
        "is called Bob since event 4, instead of Ann since event 4",
    ),
    (
        "INSERT INTO customers (number, customer_id, name, position) VALUES (99, 'c9', 'x', 9)",
        "customer c9",
        "is not in the log",
    ),
    (
        "DELETE FROM products",
        "product p1",
        "has no name, instead of Tea since event 5",
    ),
    (
        "INSERT INTO products (number, product_id, name, position) VALUES (99, 'p9', 'x', 9)",
        "product p9",
        "is not in the log",
    ),
    (
        "UPDATE statistics SET low = low + 10000 WHERE scope = 2 AND status = 1",
        "statistics of day 1970-01-01",
        "count 1 orders in state 1 and EUR, with a sum of 1.02, instead of 1 with 0.02",
    ),
    (
        "INSERT INTO statistics VALUES (0, '', 'USD', 1, 5, 0, 0)",
        "statistics of all orders",
        "count 5 orders in state 1 and USD, where there are none",
    ),
    (
        "INSERT INTO parked VALUES ('documents', 1, 'o1', 2, 'x', 1)",
        "order o1",
        "is parked, and could be projected",
    ),
    (
        "INSERT INTO parked VALUES ('documents', 2, 'c1', 4, 'x', 1)",
        "customer c1",
        "is parked, and could be projected",
    ),
];

#[tokio::test]
async fn g10_each_table_is_compared_and_each_difference_named() {
    assert_eq!(found_after("").await, []);
    for (change, subject, problem) in CHANGES {
        let told = found_after(change).await;
        let expected = (subject.to_owned(), problem.to_owned());
        assert!(told.contains(&expected), "{change}: {told:?}");
    }
}

/// Changes what the lists show of an order, and returns the differences from the documents.
async fn told_of_lists(change: impl FnOnce(&mut Entry) + Send, flush_at: usize) -> Vec<String> {
    let mut store = Store::new().await;
    store.flush_lists_at(flush_at);
    store.follow(&log(), 1).await;
    let stored = log().documents(5).remove(0);
    let connection = &mut store.writer.connection;
    let entries = store
        .writer
        .numbers
        .entries(connection, [&stored].into_iter());
    let old = entries.await.unwrap().remove(0);
    let mut new = old.clone();
    change(&mut new);
    let changed = new != old;
    let change = Change {
        position: 5,
        old: (new.row == old.row).then_some(Arc::new(old)),
        new: Arc::new(new),
    };
    store
        .writer
        .publish(changed.then_some(change).into_iter().collect());
    let (found, mut differences) = mpsc::channel::<Difference>(100);
    store.reader.compare_lists(&found).await.unwrap();
    drop(found);
    let mut told = Vec::new();
    while let Some(Difference { subject, problem }) = differences.recv().await {
        told.push(format!("{subject} {problem}"));
    }
    told
}

#[tokio::test]
async fn g10_each_difference_of_the_lists_is_named() {
    const OTHER: &str = "order o1 is listed as something else than it is";
    type Edit = fn(&mut Entry);
    let changes: [(Edit, &str); 9] = [
        (|_| {}, ""),
        (|entry| entry.customer = 99, OTHER),
        (|entry| entry.products = [1].into(), OTHER),
        (|entry| entry.status = 4, OTHER),
        (|entry| entry.created_at += 1, OTHER),
        (|entry| entry.updated_at += 1, OTHER),
        (|entry| entry.total += 1, OTHER),
        (|entry| entry.currency = "USD".into(), OTHER),
        (
            |entry| entry.row = Row(99),
            "the order of event 99 is in the lists, and is no order",
        ),
    ];
    for (change, told) in changes {
        for flush_at in [1, 1000] {
            assert_eq!(told_of_lists(change, flush_at).await.join(", "), told);
        }
    }
}

#[tokio::test]
async fn g10_an_order_that_the_lists_lack_is_named() {
    let store = Store::holding(&log()).await;
    store
        .change("INSERT INTO orders SELECT 99, 'o9', position, body FROM orders WHERE row = 1")
        .await;
    let (found, mut differences) = mpsc::channel::<Difference>(100);
    store.reader.compare_lists(&found).await.unwrap();
    let Difference { subject, problem } = differences.recv().await.unwrap();
    // The row has the document of order o1.
    assert_eq!(
        (subject.as_str(), problem.as_str()),
        ("order o1", "is missing in the lists")
    );
}
