//! Tests of the switch to a new generation of the documents.

use super::*;

fn log() -> Log {
    let mut log = Log::default();
    log.create("o1", "c1", &["p1"], (100, "EUR"), 0);
    log.ship("o1", DAY);
    log.create("o2", "c1", &["p1"], (200, "EUR"), 0);
    log
}

/// Builds the documents of another generation, up to a position.
async fn next_generation(store: &Store, log: &Log, position: usize) -> Writer {
    let path = store.dir.path().join("read-2.db");
    let mut writer = Writer::open(&path, 2).await.unwrap();
    let events = &log.events[..position];
    writer.apply(LOG, events, position as u64).await.unwrap();
    writer
}

#[tokio::test]
async fn g9_readers_read_the_new_generation_after_a_switch() {
    let log = log();
    let mut store = Store::new().await;
    store.writer.apply(LOG, &log.events[..2], 2).await.unwrap();
    let mut position = store.reader.subscribe();
    let mut new = next_generation(&store, &log, 2).await;
    new.replace_live(&store.writer, TotalsCheck::Compare, || Ok(()))
        .await
        .unwrap();
    std::mem::replace(&mut store.writer, new).close().await;
    assert_eq!(*position.borrow_and_update(), 2);
    assert_eq!(store.reader.position(), 2);
    assert_eq!(
        store.reader.checkpoint().await.unwrap().unwrap().generation,
        2
    );
    store.writer.apply(LOG, &log.events, 3).await.unwrap();
    assert_eq!(*position.borrow_and_update(), 3);
    assert_eq!(store.order("o2").await.position, 3);
}

#[tokio::test]
async fn g9_a_generation_at_another_position_is_not_switched_to() {
    let log = log();
    for (old, new) in [(2, 3), (3, 2)] {
        let mut store = Store::new().await;
        let events = &log.events[..old];
        store.writer.apply(LOG, events, old as u64).await.unwrap();
        let mut next_generation = next_generation(&store, &log, new).await;
        let refused =
            next_generation.replace_live(&store.writer, TotalsCheck::Skip, || panic!("switched"));
        assert!(matches!(refused.await, Err(Error::Gap { .. })));
    }
}

#[tokio::test]
async fn g9_a_generation_with_other_totals_is_switched_to_only_without_the_totals_check() {
    let log = log();
    for (change, told) in [
        (
            "UPDATE statistics SET orders = 3 WHERE scope = 0 AND status = 2",
            "1 orders in state 2 with a sum of 0.01 EUR instead of 3 with 0.01",
        ),
        (
            "UPDATE statistics SET low = low + 70000 WHERE scope = 0 AND status = 1",
            "1 orders in state 1 with a sum of 0.02 EUR instead of 1 with 7.02",
        ),
        (
            "DELETE FROM statistics WHERE scope = 0 AND status = 1",
            "1 orders in state 1 with a sum of 0.02 EUR instead of 0 with 0",
        ),
        (
            "INSERT INTO statistics VALUES (0, '', 'USD', 3, 1, 0, 5)",
            "0 orders in state 3 with a sum of 0 USD instead of 1 with 0.0005",
        ),
        (
            "INSERT INTO customers (number, customer_id, name, position) VALUES (99, 'c9', 'Zoe', 9)",
            "0 names of customers instead of 1",
        ),
        (
            "INSERT INTO products (number, product_id, name, position) VALUES (99, 'p9', 'Tea', 9)",
            "0 names of products instead of 1",
        ),
    ] {
        let store = Store::holding(&log).await;
        store.change(change).await;
        let mut new = next_generation(&store, &log, 3).await;
        let refused = new
            .replace_live(&store.writer, TotalsCheck::Compare, || panic!("switched"))
            .await;
        assert!(
            matches!(&refused, Err(Error::Differs(text)) if text == told),
            "{change}: {refused:?}"
        );
        new.replace_live(&store.writer, TotalsCheck::Skip, || Ok(()))
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn g9_a_switch_keeps_the_reindex_queue() {
    let mut log = log();
    let mut store = Store::holding(&log).await;
    store.writer.retry_indexing("o2").await.unwrap();
    let refused = Parked {
        aggregate: AggregateId::order("o1"),
        position: 2,
        error: "too long".into(),
        events: 0,
    };
    store.writer.park(&refused).await.unwrap();
    // A changed projection would make another document of the first order.
    let Some(Payload::OrderCreated(created)) = &mut log.events[0].payload else {
        panic!("it is created first");
    };
    created.items[0].quantity = 2;
    let mut new = next_generation(&store, &log, 3).await;
    // The next_generation was live once, and this order was rejected then.
    let accepted = Parked {
        aggregate: AggregateId::order("o2"),
        ..refused.clone()
    };
    new.park(&accepted).await.unwrap();
    new.replace_live(&store.writer, TotalsCheck::Compare, || Ok(()))
        .await
        .unwrap();
    let queued = store.reader.reindex_queue(10).await.unwrap().documents;
    let rows: Vec<_> = queued.iter().map(|document| document.row).collect();
    assert_eq!(rows, [1, 3]);
    assert_eq!(queued[0].order.items[0].quantity, 2);
    let parked = store
        .reader
        .parked(Projection::Search, &AggregateId::default(), 10)
        .await
        .unwrap();
    assert_eq!(parked, [refused]);
}

#[tokio::test]
async fn g9_documents_that_differ_before_and_after_the_comparison_are_queued() {
    let mut log = Log::default();
    for index in 0..6 {
        log.create(&format!("o{index}"), "c1", &["p1"], (100, "EUR"), 0);
    }
    let created = log.events.len();
    log.ship("o1", 0);
    log.ship("o2", 0);
    log.create("o6", "c1", &["p1"], (100, "EUR"), 0);
    log.create("o7", "c1", &["p1"], (100, "EUR"), 0);
    let mut store = Store::new().await;
    let events = &log.events[..=created];
    store.writer.apply(LOG, events, 7).await.unwrap();
    // A changed projection makes another document of these. `o1` differs in what comes later too.
    let mut changed = log.clone();
    for row in [1, 2, 9] {
        let Some(Payload::OrderCreated(created)) = &mut changed.events[row].payload else {
            panic!("it is created there");
        };
        created.items[0].quantity = 2;
    }
    let mut new = next_generation(&store, &changed, created).await;
    new.compare_with(&store.writer.path).await.unwrap();
    store.writer.apply(LOG, &log.events[7..], 10).await.unwrap();
    new.apply(LOG, &changed.events[6..], 10).await.unwrap();
    new.replace_live(&store.writer, TotalsCheck::Compare, || Ok(()))
        .await
        .unwrap();
    let queued = store.reader.reindex_queue(10).await.unwrap().entries;
    let rows: Vec<_> = queued.iter().map(|entry| entry.row).collect();
    assert_eq!(rows, [2, 3, 10]);
}

#[tokio::test]
async fn g9_orders_that_show_another_name_than_before_a_switch_are_queued() {
    let mut log = Log::default();
    log.create("o1", "c1", &["p1"], (100, "EUR"), 0);
    log.create("o2", "c2", &["p2"], (100, "EUR"), 0);
    log.customer("c1", "Ann");
    log.product("p2", "Tea");
    let renamed = "UPDATE customers SET name = 'Bob' WHERE customer_id = 'c1'";
    let unnamed = "UPDATE products SET name = 'Pear' WHERE product_id = 'p2'";
    // The change of the live names, and the events that are compared before the switch.
    for (change, compared, queued) in [
        (renamed, 4, Row(1)),
        (renamed, 3, Row(1)),
        (renamed, 2, Row(1)),
        (unnamed, 4, Row(2)),
        (unnamed, 3, Row(2)),
    ] {
        let store = Store::holding(&log).await;
        store.change(change).await;
        let mut new = next_generation(&store, &log, compared).await;
        new.compare_with(&store.writer.path).await.unwrap();
        new.apply(LOG, &log.events[compared..], 4).await.unwrap();
        new.replace_live(&store.writer, TotalsCheck::Compare, || Ok(()))
            .await
            .unwrap();
        let queue = store.reader.reindex_queue(10).await.unwrap().entries;
        let rows = Vec::from_iter(queue.iter().map(|entry| entry.row));
        assert_eq!(rows, [queued], "{change}, {compared}");
    }
}

#[tokio::test]
async fn g9_indexing_an_old_document_does_not_unqueue_the_new_one() {
    let mut log = log();
    let mut store = Store::holding(&log).await;
    store.writer.retry_indexing("o1").await.unwrap();
    let reading = store.reader.reindex_queue(10).await.unwrap();
    assert_eq!(reading.documents.len(), 1);
    let Some(Payload::OrderCreated(created)) = &mut log.events[0].payload else {
        panic!("it is created first");
    };
    created.items[0].quantity = 2;
    let mut new = next_generation(&store, &log, 3).await;
    new.replace_live(&store.writer, TotalsCheck::Compare, || Ok(()))
        .await
        .unwrap();
    new.remove_reindexed(&reading.entries).await.unwrap();
    let queued = store.reader.reindex_queue(10).await.unwrap().documents;
    assert_eq!(queued.len(), 1);
    assert_eq!(queued[0].order.items[0].quantity, 2);
}

#[tokio::test]
async fn g9_after_a_failed_switch_the_old_generation_stays_live() {
    let log = log();
    let mut store = Store::new().await;
    store.writer.apply(LOG, &log.events[..2], 2).await.unwrap();
    let mut new = next_generation(&store, &log, 2).await;
    let failed = new.replace_live(&store.writer, TotalsCheck::Compare, || {
        Err(std::io::Error::other("no"))
    });
    assert!(matches!(failed.await, Err(Error::Files(_))));
    new.close().await;
    let found = store.reader.order("o2").await.unwrap();
    assert_eq!((found.order, found.as_of), (None, 2));
    store.writer.apply(LOG, &log.events, 3).await.unwrap();
    assert_eq!(store.order("o2").await.position, 3);
}

#[tokio::test]
async fn g9_a_damaged_generation_fails_its_check() {
    let mut store = Store::holding(&log()).await;
    assert_eq!(store.writer.check().await.unwrap(), None);
    store
        .change("DELETE FROM orders WHERE order_id = 'o1'")
        .await;
    let wrong = store.writer.check().await.unwrap().unwrap();
    assert_eq!(wrong, "there are 1 orders, and 2 in the statistics");
}
