//! Tests of the index of lists as it follows the documents.

use tokio::sync::mpsc;

use super::*;

const BY_CREATION: Sort = Sort {
    field: SortField::CreatedAt,
    descending: false,
};

/// Lists all orders with their statuses, and checks that the index has the same ones.
async fn list(reader: &Reader) -> (Vec<String>, u64) {
    let all = OrderFilter::default();
    let listing = reader
        .list(&all, BY_CREATION, None, 500, &[FacetField::Status])
        .await
        .unwrap();
    assert_eq!(listing.total, listing.orders.len() as u64);
    let mut statuses = BTreeMap::<_, u64>::new();
    for order in &listing.orders {
        *statuses.entry(order.status().as_str_name()).or_default() += 1;
    }
    let facet = listing.facets[0].values.iter();
    let counted: BTreeMap<_, _> = facet.map(|it| (it.value.as_str(), it.count)).collect();
    assert_eq!(counted, statuses);
    let orders = listing.orders.into_iter();
    let orders = orders.map(|order| format!("{} {}", order.order_id, order.status));
    (orders.collect(), listing.as_of)
}

fn log_of(orders: usize) -> Log {
    let mut log = Log::default();
    for index in 0..orders {
        let at = index as i64;
        log.create(&format!("o{index}"), "c1", &["p1"], (100, "EUR"), at);
        if index % 3 == 0 {
            log.ship(&format!("o{}", index / 2), at);
        }
    }
    log
}

fn expected(log: &Log, events: u64) -> Vec<String> {
    let documents = log.documents(events as usize).into_iter();
    documents
        .map(|Document { order, .. }| format!("{} {}", order.order_id, order.status))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_are_exact_at_the_position_of_each_answer_while_documents_change() {
    let log = log_of(120);
    let mut store = Store::new().await;
    store.flush_lists_at(7);
    let reader = store.reader.clone();
    let checked = log.clone();
    let reading = tokio::spawn(async move {
        let mut seen = 0;
        loop {
            let (found, as_of) = list(&reader).await;
            assert_eq!(found, expected(&checked, as_of), "at {as_of}");
            seen += 1;
            if as_of == checked.head() {
                return seen;
            }
        }
    });
    store.follow(&log, 1).await;
    assert!(reading.await.unwrap() > 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn lists_that_are_lost_are_unavailable_until_they_are_filled_while_documents_go_on(
        log in logs(60),
        (before, batch) in (1_usize..40, 1_usize..5),
        steps in proptest::collection::vec(any::<bool>(), 0..30),
    ) {
        run(async {
            let mut store = Store::new().await;
            let mut known = log.clone();
            known.events.truncate(before);
            store.follow(&known, 5).await;
            let mut store = store.reopened_without_lists().await;
            prop_assert_eq!(store.writer.is_filling_lists(), known.head() > 1);
            for is_applied in steps {
                if is_applied {
                    let end = log.events.len().min(known.events.len() + batch);
                    known.events = log.events[..end].to_vec();
                    store.follow(&known, batch).await;
                } else {
                    store.writer.fill_lists().await.unwrap();
                }
                let documents = log.documents(known.events.len());
                if let Some(first) = documents.first() {
                    let found = store.order(&first.order.order_id).await;
                    prop_assert_eq!(&found, &first.order);
                }
                if store.writer.is_filling_lists() {
                    let all = OrderFilter::default();
                    let listed = store.reader.list(&all, BY_CREATION, None, 500, &[]).await;
                    prop_assert!(matches!(listed, Err(Error::Unlisted)), "{:?}", listed);
                    continue;
                }
                let expected = matching_all(&documents);
                prop_assert_eq!(list(&store.reader).await, (expected, known.head()));
            }
            store.fill_lists().await;
            store.follow(&log, batch).await;
            let expected = matching_all(&log.documents(log.events.len()));
            prop_assert_eq!(list(&store.reader).await, (expected, log.head()));
            Ok(())
        })?;
    }
}

/// Lists documents with their statuses, by creation.
fn matching_all(documents: &[Document]) -> Vec<String> {
    let mut sorted: Vec<_> = documents.iter().collect();
    sorted.sort_by_key(|it| {
        let created = it.order.created_at.as_ref().unwrap();
        (convert::nanoseconds(created), it.row)
    });
    let orders = sorted.into_iter().map(|it| &it.order);
    orders
        .map(|order| format!("{} {}", order.order_id, order.status))
        .collect()
}

#[tokio::test]
async fn changes_that_were_only_in_memory_are_listed_after_a_crash() {
    let log = log_of(60);
    let mut store = Store::new().await;
    let mut first = log.clone();
    first.events.truncate(31);
    store.follow(&first, 4).await;
    store.writer.lists.flush().await.unwrap();
    store.follow(&log, 4).await;
    let committed = store.writer.lists.committed().position;
    assert_eq!(committed, first.head());
    let store = store.reopened().await;
    let lists = &store.writer.lists;
    assert_eq!(lists.committed().position, log.head());
    assert_eq!(
        list(&store.reader).await,
        (expected(&log, log.head()), log.head())
    );
}

#[tokio::test]
async fn an_index_of_other_documents_is_filled_again() {
    let log = log_of(30);
    for change in [
        "UPDATE checkpoint SET log_id = 'log-2'",
        // A retry has changed an order, and its position has not changed.
        "UPDATE orders SET body = (SELECT body FROM orders ORDER BY row DESC LIMIT 1) WHERE row = 1;
            UPDATE checkpoint SET retries = retries + 1",
        // The file has lost its newest events, as after a power cut.
        "DELETE FROM orders WHERE row > 20; UPDATE checkpoint SET position = 20",
    ] {
        let mut store = Store::holding(&log).await;
        store.writer.lists.flush().await.unwrap();
        store.change(change).await;
        let mut store = store.reopened().await;
        store.fill_lists().await;
        let (mut found, as_of) = list(&store.reader).await;
        let mut wanted = expected(&log, as_of);
        if change.contains("body") {
            // The documents are no longer those of the log, and `list` has compared the index with them.
            continue;
        }
        if as_of < log.head() {
            // The states of older orders were not put back.
            found = found
                .iter()
                .map(|it| it[..it.len() - 2].to_owned())
                .collect();
            wanted = wanted
                .iter()
                .map(|it| it[..it.len() - 2].to_owned())
                .collect();
        }
        assert_eq!(found, wanted, "{change}");
    }
}

#[tokio::test]
async fn a_damaged_or_missing_index_is_filled_again() {
    let log = log_of(30);
    for damage in [None, Some("damaged"), Some("")] {
        let mut store = Store::holding(&log).await;
        store.writer.lists.flush().await.unwrap();
        let folder = crate::generations::lists_folder(&store.dir.path().join("read.db"));
        if damage.is_none() {
            std::fs::remove_dir_all(&folder).unwrap();
        }
        if let Some(damage) = damage {
            for file in std::fs::read_dir(&folder).unwrap() {
                let path = file.unwrap().path();
                if path.extension().is_some_and(|kind| kind == "fast") {
                    std::fs::write(path, damage).unwrap();
                }
            }
        }
        let mut store = store.reopened().await;
        store.fill_lists().await;
        assert_eq!(list(&store.reader).await.0, expected(&log, log.head()));
    }
}

#[tokio::test]
async fn a_write_that_fails_and_is_repeated_is_listed_once() {
    let log = log_of(12);
    let mut store = Store::new().await;
    store.follow(&log, 5).await;
    let mut more = log.clone();
    more.create("late", "c2", &["p9"], (7, "EUR"), 99);
    store
        .change("CREATE TRIGGER no BEFORE INSERT ON orders BEGIN SELECT raise(ABORT, 'no'); END")
        .await;
    let late = &more.events[log.head() as usize..];
    let head = more.head();
    store.writer.apply(LOG, late, head).await.unwrap_err();
    assert_eq!(
        list(&store.reader).await,
        (expected(&log, log.head()), log.head())
    );
    store.change("DROP TRIGGER no").await;
    store.writer.apply(LOG, late, head).await.unwrap();
    assert_eq!(list(&store.reader).await, (expected(&more, head), head));
}

#[tokio::test]
async fn a_commit_that_fails_after_it_is_written_lists_no_order_twice() {
    let log = log_of(30);
    let mut store = Store::new().await;
    let mut first = log.clone();
    first.events.truncate(20);
    store.follow(&first, 3).await;
    store.writer.lists.lose_a_commit().await;
    assert_eq!(
        list(&store.reader).await,
        (expected(&log, 20), 20),
        "the changes are still in memory"
    );
    store.follow(&log, 3).await;
    store.writer.lists.flush().await.unwrap();
    let head = log.head();
    assert_eq!(list(&store.reader).await, (expected(&log, head), head));
    let store = store.reopened().await;
    assert_eq!(list(&store.reader).await, (expected(&log, head), head));
}

#[tokio::test]
async fn a_facet_with_many_equal_counts_has_the_first_by_value() {
    let mut log = Log::default();
    for index in (0..2100).rev() {
        let customer = format!("c{index:04}");
        log.create(&format!("o{index}"), &customer, &["p1"], (100, "EUR"), 0);
    }
    log.create("more", "c1999", &["p1"], (100, "EUR"), 0);
    let store = Store::holding(&log).await;
    let all = OrderFilter::default();
    let field = [FacetField::CustomerId];
    let found = store.reader.list(&all, BY_CREATION, None, 1, &field).await;
    let values = found.unwrap().facets.remove(0).values.into_iter();
    let values: Vec<_> = values.map(|value| (value.value, value.count)).collect();
    let mut wanted = vec![("c1999".to_owned(), 2)];
    wanted.extend((0..99).map(|index| (format!("c{index:04}"), 1)));
    assert_eq!(values, wanted);
}

#[tokio::test]
async fn documents_go_on_without_lists_while_their_index_cannot_be_written() {
    let log = log_of(60);
    let mut store = Store::new().await;
    store.flush_lists_at(3);
    let folder = crate::generations::lists_folder(&store.dir.path().join("read.db"));
    let away = store.dir.path().join("away");
    std::fs::rename(&folder, &away).unwrap();
    store.follow(&log, 1).await;
    assert_eq!(store.reader.position(), log.head());
    assert!(store.writer.is_filling_lists());
    assert!(!*store.reader.listed().borrow());
    let all = OrderFilter::default();
    let listed = store.reader.list(&all, BY_CREATION, None, 500, &[]).await;
    assert!(matches!(listed, Err(Error::Unlisted)), "{listed:?}");
    store.writer.fill_lists().await.unwrap_err();
    store.order("o0").await;

    std::fs::rename(&away, &folder).unwrap();
    store.fill_lists().await;
    assert!(*store.reader.listed().borrow());
    assert_eq!(
        list(&store.reader).await,
        (expected(&log, log.head()), log.head())
    );
}

#[tokio::test]
async fn readers_that_wait_for_lists_go_on_with_those_of_another_generation() {
    let log = log_of(20);
    let mut store = Store::holding(&log).await.reopened_without_lists().await;
    let reader = store.reader.clone();
    let (found, mut differences) = mpsc::channel::<Difference>(10);
    let comparing = tokio::spawn(async move { reader.compare_lists(&found).await });
    let mut next = Writer::open_new(&store.dir.path().join("read-2.db"), 2)
        .await
        .unwrap();
    next.apply(LOG, &log.events, log.head()).await.unwrap();
    next.finish().await.unwrap();
    next.replace_live(&store.writer, TotalsCheck::Compare, || Ok(()))
        .await
        .unwrap();
    store.writer = next;
    comparing.await.unwrap().unwrap();
    assert!(differences.try_recv().is_err());
    assert!(*store.reader.listed().borrow());
}

#[tokio::test]
async fn orders_of_a_commit_that_failed_after_it_was_written_are_brought_once() {
    let log = log_of(30);
    let mut store = Store::new().await;
    let mut first = log.clone();
    first.events.truncate(20);
    store.follow(&first, 20).await;
    store.writer.lists.flush().await.unwrap();
    store.follow(&log, 20).await;
    store.writer.lists.lose_a_commit().await;
    store.writer.lists.rewind(true).await;
    store.writer.catch_up_lists().await.unwrap();
    assert_eq!(
        list(&store.reader).await,
        (expected(&log, log.head()), log.head())
    );
}
