use super::*;

fn log() -> Log {
    let mut log = Log::default();
    log.create("o1", "c1", &["p1"], (100, "EUR"), 0);
    log.ship("o1", DAY);
    log.create("o2", "c1", &["p1"], (200, "EUR"), 0);
    log
}

/// Documents of another generation, up to a position.
async fn successor(store: &Store, log: &Log, position: usize) -> Writer {
    let path = store.dir.path().join("read-2.db");
    let mut writer = Writer::open(&path, 2).await.unwrap();
    let events = &log.events[..position];
    writer.apply(LOG, events, position as u64).await.unwrap();
    writer
}

#[tokio::test]
async fn g9_readers_read_on_from_the_writer_that_takes_over() {
    let log = log();
    let mut store = Store::new().await;
    store.writer.apply(LOG, &log.events[..2], 2).await.unwrap();
    let mut position = store.reader.subscribe();
    let mut new = successor(&store, &log, 3).await;
    assert_eq!(store.reader.order("o2").await.unwrap(), (None, 2));

    new.succeed(&store.writer, || Ok(())).await.unwrap();
    std::mem::replace(&mut store.writer, new).close().await;
    assert_eq!(*position.borrow_and_update(), 3);
    assert_eq!(store.reader.position(), 3);
    assert_eq!(store.order("o2").await.position, 3);
    assert_eq!(
        store.reader.checkpoint().await.unwrap().unwrap().generation,
        2
    );
    store.writer.apply(LOG, &[], 4).await.unwrap();
    assert_eq!(*position.borrow_and_update(), 4);
}

#[tokio::test]
async fn g9_what_the_index_is_to_be_brought_is_not_forgotten() {
    let mut log = log();
    let mut store = Store::holding(&log).await;
    store.writer.offer_again("o2").await.unwrap();
    let refused = Parked {
        order_id: "o1".into(),
        position: 2,
        error: "too long".into(),
        events: 0,
    };
    store.writer.park(&refused).await.unwrap();
    // As if the projection made something else of the first order now.
    let Some(Payload::OrderCreated(created)) = &mut log.events[0].payload else {
        panic!("it is created first");
    };
    created.items[0].quantity = 2;
    let mut new = successor(&store, &log, 3).await;
    new.succeed(&store.writer, || Ok(())).await.unwrap();
    let again = store.reader.again(10).await.unwrap().documents;
    let rows: Vec<_> = again.iter().map(|document| document.row).collect();
    assert_eq!(rows, [1, 3]);
    assert_eq!(again[0].order.items[0].quantity, 2);
    let parked = store
        .reader
        .parked(Projection::Search, "", 10)
        .await
        .unwrap();
    assert_eq!(parked, [refused]);
}

#[tokio::test]
async fn g9_where_the_switch_fails_the_old_one_goes_on() {
    let log = log();
    let mut store = Store::new().await;
    store.writer.apply(LOG, &log.events[..2], 2).await.unwrap();
    let mut new = successor(&store, &log, 3).await;
    let failed = new.succeed(&store.writer, || Err(std::io::Error::other("no")));
    assert!(matches!(failed.await, Err(Error::Files(_))));
    new.close().await;
    assert_eq!(store.reader.order("o2").await.unwrap(), (None, 2));
    store.writer.apply(LOG, &log.events, 3).await.unwrap();
    assert_eq!(store.order("o2").await.position, 3);
}

#[tokio::test]
async fn g9_what_is_not_right_is_not_sound() {
    let mut store = Store::holding(&log()).await;
    assert_eq!(store.writer.check().await.unwrap(), None);
    store
        .change("DELETE FROM orders WHERE order_id = 'o1'")
        .await;
    let wrong = store.writer.check().await.unwrap().unwrap();
    assert_eq!(wrong, "there are 1 orders, and 2 in the statistics");
}
