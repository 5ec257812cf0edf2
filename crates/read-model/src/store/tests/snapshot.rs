//! Tests of a snapshot that is dropped while it reads.

use std::time::Duration;

use test_support::DEADLINE;
use tokio::time::timeout;

use super::*;

#[tokio::test]
async fn a_dropped_read_frees_its_connection() {
    let mut log = Log::default();
    log.create("o", "ann", &["tea"], (1, "EUR"), 0);
    let store = Store::holding(&log).await;
    let reader = store.writer.reader(1).await.unwrap();
    let endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) \
        SELECT count(*) FROM n";
    let read = async {
        let mut snapshot = reader.snapshot().await.unwrap();
        let count = sqlx::query_scalar::<_, i64>(endless);
        count.fetch_one(snapshot.connection()).await
    };
    let ended = timeout(Duration::from_millis(100), read).await;
    assert!(ended.is_err(), "{ended:?}");
    // So many that a handler left on the connection would end one of them.
    for _ in 0..1000 {
        let next = timeout(DEADLINE, reader.order("o")).await;
        let found = next.expect("the statement still runs").unwrap();
        assert_eq!(found.order.unwrap().order_id, "o");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_is_read_during_renames_shows_the_name_at_its_position() {
    let mut log = Log::default();
    log.create("o", "c", &["tea"], (1, "EUR"), 0);
    let mut store = Store::holding(&log).await;
    let reader = store.reader.clone();
    let reads = tokio::spawn(async move {
        while reader.position() < 500 {
            let found = reader.order("o").await.unwrap();
            let order = found.order.unwrap();
            let name = match found.as_of {
                1 => String::new(),
                position => format!("name {position}"),
            };
            assert_eq!((order.customer_name, order.position), (name, found.as_of));
        }
    });
    for position in 2..=500 {
        log.customer("c", &format!("name {position}"));
        store.follow(&log, 1).await;
    }
    reads.await.unwrap();
}
