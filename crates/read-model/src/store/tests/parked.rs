//! Tests of parked orders, and of their retry.

use tokio::sync::mpsc;

use super::*;

/// Creates a complete log, and one in which the order `bad` lacks its second event.
fn with_a_gap() -> (Log, Log) {
    let mut whole = Log::default();
    whole.create("bad", "c1", &["p1"], (100, "EUR"), 0);
    whole.create("good", "c1", &["p1"], (200, "EUR"), 0);
    whole.ship("bad", DAY);
    whole.deliver("bad", 2 * DAY);
    whole.ship("good", DAY);
    whole.customer("c1", "Ann");
    let mut gap = whole.clone();
    // A newer contract may have such an event, which this version does not know.
    gap.events[2].version = 7;
    (whole, gap)
}

pub(super) async fn parked(store: &Store) -> Vec<Parked> {
    let first = AggregateId::default();
    let parked = store.reader.parked(Projection::Documents, &first, 10);
    parked.await.unwrap()
}

#[tokio::test]
async fn an_event_that_cannot_be_projected_parks_its_order_and_no_other() {
    let (_, gap) = with_a_gap();
    for size in [1, 2, 10] {
        let mut store = Store::new().await;
        store.follow(&gap, size).await;
        assert_eq!(store.reader.position(), 6, "{size}");
        let expected = Parked {
            aggregate: AggregateId::order("bad"),
            position: 3,
            error: "version 2 was expected, not 7".into(),
            events: 2,
        };
        assert_eq!(parked(&store).await, [expected], "{size}");
        let bad = store.order("bad").await;
        assert_eq!((bad.status(), bad.version), (OrderStatus::Created, 1));
        assert_eq!(bad.customer_name, "Ann");
        for (id, expected) in [("bad", true), ("good", false)] {
            let found = store.reader.order(id).await.unwrap();
            assert_eq!(found.is_parked, expected, "{id}");
        }
        assert_eq!(store.order("good").await.status(), OrderStatus::Shipped);
        let statistics = store.reader.statistics(None).await.unwrap();
        let counts: Vec<_> = statistics
            .orders_by_status
            .iter()
            .map(|s| s.count)
            .collect();
        assert_eq!((counts, statistics.parked_orders), (vec![1, 1], 1));
        let customer = store.reader.customer_statistics("c1").await.unwrap();
        assert_eq!(customer.unwrap().parked_orders, 1);
    }
}

#[tokio::test]
async fn a_parked_order_stays_parked_after_a_restart_and_its_events_wait() {
    let (_, mut log) = with_a_gap();
    let Store { dir, writer, .. } = Store::holding(&log).await;
    writer.close().await;
    log.customer("c1", "Anna");
    let late = RecordedEvent {
        position: 8,
        version: 4,
        ..log.events[3].clone()
    };
    log.events.push(late);
    let writer = Writer::open(&dir.path().join("read.db"), 1).await.unwrap();
    let reader = writer.reader(2).await.unwrap();
    let mut store = Store {
        dir,
        writer,
        reader,
    };
    store.follow(&log, 1).await;
    assert_eq!(parked(&store).await[0].events, 3);
    assert_eq!(store.order("bad").await.version, 1);
}

/// Retries the order `bad` with its events in a log.
async fn retried(store: &mut Store, log: &Log) -> bool {
    let events = log.events.iter();
    let of_bad: Vec<_> = events
        .filter(|e| e.aggregate_id == "bad")
        .cloned()
        .collect();
    let bad = AggregateId::order("bad");
    store.writer.retry(&bad, &of_bad).await.unwrap()
}

async fn queued(store: &Store) -> ReindexBatch {
    store.reader.reindex_queue(10).await.unwrap()
}

#[tokio::test]
async fn an_order_that_is_retried_while_the_lists_are_filled_is_in_them() {
    let (whole, gap) = with_a_gap();
    let mut store = Store::holding(&gap).await.reopened_without_lists().await;
    store.writer.fill_lists().await.unwrap();
    assert!(store.writer.is_filling_lists());
    assert!(retried(&mut store, &whole).await);
    store.fill_lists().await;
    let (found, mut differences) = mpsc::channel::<Difference>(10);
    store.reader.compare_lists(&found).await.unwrap();
    differences.try_recv().unwrap_err();
}

#[tokio::test]
async fn a_retried_order_is_projected_listed_and_queued_for_reindexing() {
    let (whole, gap) = with_a_gap();
    let mut store = Store::holding(&gap).await;
    assert!(!retried(&mut store, &gap).await);
    assert_eq!(parked(&store).await.len(), 1);

    // Later events of the log arrive through the stream.
    let mut longer = whole.clone();
    longer.customer("c1", "Anna");
    let later = RecordedEvent {
        position: 8,
        version: 4,
        ..whole.events[3].clone()
    };
    longer.events.push(later);
    let mut told = store.reader.subscribe_reindex();
    told.mark_unchanged();
    assert!(retried(&mut store, &longer).await);
    assert!(told.has_changed().unwrap());
    assert_eq!(parked(&store).await, []);
    let documents = whole.documents(6);
    let found = store.reader.documents_by_rows(&[Row(1), Row(2)]).await;
    assert_eq!(found.unwrap(), (documents.clone(), 6));
    let (found, mut differences) = mpsc::channel::<Difference>(10);
    store.reader.compare_lists(&found).await.unwrap();
    differences.try_recv().unwrap_err();

    let entries = queued(&store).await;
    assert_eq!(entries.documents, documents[..1]);
    // An order that is queued once more in the meantime stays queued.
    store.writer.retry_indexing("bad").await.unwrap();
    store
        .writer
        .remove_reindexed(&entries.entries)
        .await
        .unwrap();
    let entries = queued(&store).await;
    assert_eq!(entries.documents, documents[..1]);
    store
        .writer
        .remove_reindexed(&entries.entries)
        .await
        .unwrap();
    assert!(queued(&store).await.entries.is_empty());

    let honest = Store::holding(&whole).await;
    let statistics = async |store: &Store| store.reader.statistics(ALL_DAYS).await.unwrap();
    assert_eq!(statistics(&store).await, statistics(&honest).await);
}

#[tokio::test]
async fn an_order_whose_first_event_failed_is_created_by_the_retry() {
    let (whole, _) = with_a_gap();
    let mut gap = whole.clone();
    gap.events[0].occurred_at = None;
    let mut store = Store::holding(&gap).await;
    let found = store.reader.order("bad").await.unwrap();
    assert_eq!((found.order, found.is_parked), (None, true));
    assert_eq!(parked(&store).await[0].events, 3);
    let bad: Vec<_> = [0, 2, 3]
        .map(|index: usize| whole.events[index].clone())
        .into();
    assert!(
        store
            .writer
            .retry(&AggregateId::order("bad"), &bad)
            .await
            .unwrap()
    );
    let (orders, _) = store
        .reader
        .documents_by_rows(&[Row(1), Row(2)])
        .await
        .unwrap();
    assert_eq!(orders, whole.documents(6));
    let filter = OrderFilter {
        product_ids: vec!["p1".into()],
        ..OrderFilter::default()
    };
    let newest = Sort {
        field: SortField::CreatedAt,
        descending: true,
    };
    let found = store
        .reader
        .list(&filter, newest, None, 10, &[])
        .await
        .unwrap();
    assert_eq!(found.total, 2);
}

#[tokio::test]
async fn a_refused_document_is_parked_and_can_be_retried() {
    let (whole, _) = with_a_gap();
    let mut store = Store::holding(&whole).await;
    let refused = Parked {
        aggregate: AggregateId::order("good"),
        position: 6,
        error: "too long".into(),
        events: 0,
    };
    store.writer.park(&refused).await.unwrap();
    let listed = store
        .reader
        .parked(Projection::Search, &AggregateId::default(), 10)
        .await
        .unwrap();
    assert_eq!(listed, [refused]);
    assert_eq!(
        store.reader.parked_count(Projection::Search).await.unwrap(),
        1
    );
    assert_eq!(parked(&store).await, []);
    store.writer.retry_indexing("good").await.unwrap();
    assert_eq!(
        store.reader.parked_count(Projection::Search).await.unwrap(),
        0
    );
    assert_eq!(
        store.reader.reindex_queue(10).await.unwrap().documents,
        whole.documents(6)[1..]
    );
}

#[tokio::test]
async fn only_orders_with_an_accepted_document_lose_their_search_parking() {
    let (whole, _) = with_a_gap();
    let mut store = Store::holding(&whole).await;
    for order_id in ["bad", "good"] {
        let refused = Parked {
            aggregate: AggregateId::order(order_id),
            position: 2,
            error: "too long".into(),
            events: 0,
        };
        store.writer.park(&refused).await.unwrap();
    }
    store.writer.unpark_indexed(&[Row(2)]).await.unwrap();
    let first = AggregateId::default();
    let parked = store.reader.parked(Projection::Search, &first, 10).await;
    let ids: Vec<_> = parked
        .unwrap()
        .into_iter()
        .map(|it| it.aggregate.id)
        .collect();
    assert_eq!(ids, ["bad"]);
}
