//! Tests of the comparison with rebuilt documents.

use tokio::sync::mpsc;

use super::*;

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
    comparison.run(&found).await.unwrap();
    drop(found);
    let mut told = Vec::new();
    while let Some(Difference { subject, problem }) = differences.recv().await {
        told.push((subject, problem));
    }
    told
}

/// Changes of the tables, each with the subject and the problem of the difference that it makes.
const CHANGES: [(&str, &str, &str); 15] = [
    (
        "DELETE FROM orders WHERE order_id = 'o2'",
        "order o2",
        "is missing",
    ),
    (
        "INSERT INTO orders SELECT 99, 'o9', customer_id, status, created_at, updated_at, total,
            currency, position, body FROM orders WHERE order_id = 'o2'",
        "order o9",
        "is not in the log",
    ),
    (
        "UPDATE orders SET total = total + 1 WHERE order_id = 'o1'",
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
        "DELETE FROM order_products WHERE product_id = 'p2'",
        "order o1",
        "is not found by product p2",
    ),
    (
        "INSERT INTO order_products VALUES ('p9', 1)",
        "product p9",
        "finds the order of event 1, which has none",
    ),
    (
        "UPDATE customers SET name = 'Bob'",
        "customer c1",
        "is called Bob since event 4, instead of Ann since event 4",
    ),
    (
        "INSERT INTO customers VALUES ('c9', 'x', 9)",
        "customer c9",
        "is not in the log",
    ),
    (
        "DELETE FROM products",
        "product p1",
        "has no name, instead of Tea since event 5",
    ),
    (
        "INSERT INTO products VALUES ('p9', 'x', 9)",
        "product p9",
        "is not in the log",
    ),
    (
        "UPDATE statistics SET low = low + 10000 WHERE scope = 1 AND subject = 'c2'",
        "statistics of customer c2",
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
