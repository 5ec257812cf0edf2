//! Tests of parked names of customers and products, and of their retry.

use super::{parked::parked, *};

/// Creates a complete log, and one in which the second names of the customer and of the product are
/// damaged: one cannot be decoded, and one is empty.
fn with_damaged_names() -> (Log, Log) {
    let mut whole = Log::default();
    whole.customer("c1", "Ann");
    whole.create("o1", "c1", &["p1"], (100, "EUR"), 0);
    whole.product("p1", "Tea");
    whole.customer("c1", "Bea");
    whole.product("p1", "Cup");
    let mut damaged = whole.clone();
    // The stream keeps the header of an event that cannot be decoded.
    damaged.events[3].payload = None;
    damaged.events[3].occurred_at = None;
    let name = String::new();
    damaged.events[4].payload = Some(Payload::ProductRenamed(ProductRenamed { name }));
    (whole, damaged)
}

fn customer() -> AggregateId {
    AggregateId {
        kind: AggregateType::Customer,
        id: "c1".into(),
    }
}

fn product() -> AggregateId {
    AggregateId {
        kind: AggregateType::Product,
        id: "p1".into(),
    }
}

/// Returns the names that the order `o1` shows.
async fn names(store: &Store) -> (String, String) {
    let order = store.order("o1").await;
    (order.customer_name, order.items[0].product_name.clone())
}

#[tokio::test]
async fn a_name_that_cannot_be_projected_is_parked_and_its_orders_show_the_older_name() {
    let (_, damaged) = with_damaged_names();
    for size in [1, 2, 10] {
        let mut store = Store::new().await;
        store.follow(&damaged, size).await;
        let entry = |aggregate, position, error: &str| Parked {
            aggregate,
            position,
            error: error.to_owned(),
            events: 1,
        };
        let expected = [
            entry(customer(), 4, "occurred_at is missing or impossible"),
            entry(product(), 5, "name is missing or impossible"),
        ];
        assert_eq!(parked(&store).await, expected, "{size}");
        assert_eq!(names(&store).await, ("Ann".into(), "Tea".into()), "{size}");
        assert!(!store.reader.order("o1").await.unwrap().is_parked);
        let statistics = store.reader.statistics(None).await.unwrap();
        assert_eq!(statistics.parked_orders, 0);
        let statistics = store.reader.customer_statistics("c1").await.unwrap();
        assert_eq!(statistics.unwrap().parked_orders, 0);
    }
}

#[tokio::test]
async fn a_later_name_ends_the_parking_of_its_customer_only() {
    let (_, mut log) = with_damaged_names();
    log.customer("c1", "Cleo");
    for size in [1, 10] {
        let mut store = Store::new().await;
        store.follow(&log, size).await;
        let entries = parked(&store).await;
        let aggregates: Vec<_> = entries.into_iter().map(|it| it.aggregate).collect();
        assert_eq!(aggregates, [product()], "{size}");
        assert_eq!(names(&store).await, ("Cleo".into(), "Tea".into()), "{size}");
    }
}

#[tokio::test]
async fn a_name_that_fails_again_is_parked_at_its_newest_event() {
    let (_, mut log) = with_damaged_names();
    log.customer("c1", "Cleo");
    log.customer("c1", "");
    for size in [1, 10] {
        let mut store = Store::new().await;
        store.follow(&log, size).await;
        let entries = parked(&store).await;
        assert_eq!(
            (&entries[0].aggregate, entries[0].position),
            (&customer(), 7)
        );
        assert_eq!(entries[0].events, 1);
        assert_eq!(names(&store).await.0, "Cleo", "{size}");
    }
}

#[tokio::test]
async fn an_event_of_a_type_that_is_not_known_parks_no_name() {
    let (mut log, _) = with_damaged_names();
    // It has a time, as every event that could be decoded.
    log.events[3].payload = None;
    let store = Store::holding(&log).await;
    assert_eq!(parked(&store).await, []);
    assert_eq!(names(&store).await, ("Ann".into(), "Cup".into()));
}

#[tokio::test]
async fn an_order_with_the_id_of_a_parked_customer_is_not_parked() {
    let (_, mut log) = with_damaged_names();
    log.create("c1", "c2", &["p1"], (100, "EUR"), 0);
    log.ship("c1", DAY);
    for size in [1, 10] {
        let mut store = Store::new().await;
        store.follow(&log, size).await;
        let found = store.reader.order("c1").await.unwrap();
        assert_eq!((found.order.unwrap().version, found.is_parked), (2, false));
        assert_eq!(parked(&store).await.len(), 2, "{size}");
    }
}

#[tokio::test]
async fn a_retried_name_shows_on_its_orders_which_are_queued_for_reindexing() {
    let (whole, damaged) = with_damaged_names();
    let mut store = Store::holding(&damaged).await;
    let retry = async |store: &mut Store, aggregate: &AggregateId, log: &Log, index: usize| {
        let retried = store.writer.retry(aggregate, &log.events[index..=index]);
        retried.await.unwrap()
    };
    assert_eq!(store.writer.parked_aggregates(10).await.unwrap().len(), 2);
    for (aggregate, index) in [(customer(), 3), (product(), 4)] {
        let position = store.writer.parked_position(&aggregate).await.unwrap();
        assert_eq!(position, Some(index as u64 + 1));
        assert!(!retry(&mut store, &aggregate, &damaged, index).await);
        assert_eq!(store.reader.reindex_queue(10).await.unwrap().entries, []);
        assert!(retry(&mut store, &aggregate, &whole, index).await);
        let queued = store.reader.reindex_queue(10).await.unwrap();
        let rows: Vec<_> = queued.entries.iter().map(|entry| entry.row).collect();
        assert_eq!(rows, [Row(2)], "{aggregate}");
        let removed = store.writer.remove_reindexed(&queued.entries).await;
        removed.unwrap();
        let position = store.writer.parked_position(&aggregate).await.unwrap();
        assert_eq!(position, None);
    }
    assert_eq!(parked(&store).await, []);
    let (documents, _) = store.reader.documents_by_rows(&[Row(2)]).await.unwrap();
    assert_eq!(documents, whole.documents(5));
}
