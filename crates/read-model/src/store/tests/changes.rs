//! Tests of the changes after a position.

use std::collections::BTreeSet;

use super::*;

/// Follows the changes from a cursor, and keeps the newest state of each order.
struct Follower {
    at: ChangeCursor,
    orders: BTreeMap<Row, Order>,
    times: usize,
}

impl Follower {
    fn after(position: u64) -> Self {
        Self {
            at: ChangeCursor::at(position),
            orders: BTreeMap::new(),
            times: 0,
        }
    }

    /// Takes one step, and returns whether more may follow.
    async fn step(&mut self, reader: &Reader, limit: usize) -> bool {
        let changes = reader.changed_since(self.at, limit).await.unwrap();
        assert!(changes.documents.len() <= limit);
        let positions = changes.documents.iter();
        assert!(positions.is_sorted_by_key(|document| document.order.position));
        self.times += changes.documents.len();
        for document in changes.documents {
            self.orders.insert(document.row, document.order);
        }
        let moved = changes.next != self.at;
        self.at = changes.next;
        let done = self.at.row == 0 && self.at.position >= changes.as_of;
        assert!(moved || done, "it stands still at {:?}", self.at);
        !done
    }

    async fn catch_up(&mut self, reader: &Reader, limit: usize) {
        while self.step(reader, limit).await {}
    }
}

/// Follows the orders' own events and the new names apart, as the indexer does.
struct Apart {
    position: u64,
    names: ChangeCursor,
    orders: BTreeMap<Row, Order>,
}

impl Apart {
    fn from_now(reader: &Reader) -> Self {
        Self {
            position: 0,
            names: ChangeCursor::at(reader.position()),
            orders: BTreeMap::new(),
        }
    }

    fn add(&mut self, documents: Vec<Document>) {
        let orders = documents.into_iter();
        self.orders
            .extend(orders.map(|document| (document.row, document.order)));
    }

    /// Takes a step of each, and returns whether more may follow.
    async fn step(&mut self, reader: &Reader, limit: usize) -> bool {
        let changes = reader
            .own_changes_since(self.position, limit)
            .await
            .unwrap();
        assert!(changes.documents.len() <= limit);
        self.position = changes.next.position;
        self.add(changes.documents);
        let renamed = reader.renamed_since(self.names, limit).await.unwrap();
        assert!(renamed.orders.len() <= limit);
        let distinct = BTreeSet::from_iter(renamed.orders.iter().map(|(_, row)| row));
        assert_eq!(distinct.len(), renamed.orders.len());
        // A part of them, as when a page is full.
        let count = renamed.orders.len().div_ceil(2);
        let rows = Vec::from_iter(renamed.orders.iter().take(count).map(|(_, row)| *row));
        let page = reader.documents_page(&rows).await.unwrap();
        self.names = renamed.cursor(count);
        self.add(page.documents);
        self.position.min(self.names.position) < changes.as_of
    }
}

fn changed_since(documents: &[Document], position: u64) -> BTreeMap<Row, Order> {
    documents
        .iter()
        .filter(|document| document.order.position > position)
        .map(|document| (document.row, document.order.clone()))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_change_after_a_position_is_returned_once_in_its_newest_state(
        log in logs(50),
        limit in 1_usize..6,
    ) {
        run(async {
            let store = Store::holding(&log).await;
            let documents = log.documents(log.events.len());
            for position in 0..=log.head() {
                let mut follower = Follower::after(position);
                follower.catch_up(&store.reader, limit).await;
                let expected = changed_since(&documents, position);
                prop_assert_eq!(follower.times, expected.len());
                prop_assert_eq!(follower.orders, expected);
            }
            Ok(())
        })?;
    }

    #[test]
    fn following_changes_during_writes_ends_with_the_documents(
        log in logs(50),
        limit in 1_usize..6,
        paces in proptest::collection::vec((1_usize..6, 0_usize..4), 60),
    ) {
        run(async {
            let mut store = Store::new().await;
            let mut followers = vec![Follower::after(0)];
            let mut rest = log.events.as_slice();
            for (events, steps) in paces {
                let (batch, later) = rest.split_at(events.min(rest.len()));
                rest = later;
                if let Some(last) = batch.last() {
                    store.writer.apply(LOG, batch, last.position).await.unwrap();
                    followers.push(Follower::after(last.position));
                }
                for follower in &mut followers {
                    for _ in 0..steps {
                        follower.step(&store.reader, limit).await;
                    }
                }
            }
            let documents = log.documents(log.events.len() - rest.len());
            let newest = changed_since(&documents, 0);
            for (index, mut follower) in followers.into_iter().enumerate() {
                let start = if index == 0 { 0 } else { follower.at.position };
                follower.catch_up(&store.reader, limit).await;
                if index == 0 {
                    prop_assert_eq!(&follower.orders, &newest);
                }
                for (row, order) in changed_since(&documents, start) {
                    prop_assert_eq!(follower.orders.get(&row), Some(&order));
                }
                for (row, order) in follower.orders {
                    prop_assert_eq!(newest.get(&row), Some(&order));
                }
            }
            Ok(())
        })?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn following_own_events_and_names_apart_ends_with_the_documents(
        log in logs(50),
        limit in 1_usize..6,
        paces in proptest::collection::vec((1_usize..6, 0_usize..4), 60),
    ) {
        run(async {
            let mut store = Store::new().await;
            let mut followers = vec![Apart::from_now(&store.reader)];
            let mut rest = log.events.as_slice();
            for (events, steps) in paces {
                let (batch, later) = rest.split_at(events.min(rest.len()));
                rest = later;
                if let Some(last) = batch.last() {
                    store.writer.apply(LOG, batch, last.position).await.unwrap();
                    followers.push(Apart::from_now(&store.reader));
                }
                for follower in &mut followers {
                    for _ in 0..steps {
                        follower.step(&store.reader, limit).await;
                    }
                }
            }
            let documents = log.documents(log.events.len() - rest.len());
            let newest = changed_since(&documents, 0);
            for mut follower in followers {
                while follower.step(&store.reader, limit).await {}
                prop_assert_eq!(&follower.orders, &newest);
            }
            Ok(())
        })?;
    }
}

#[tokio::test]
async fn new_name_of_a_million_orders_is_returned_in_parts_and_replaced_in_between() {
    let mut log = Log::default();
    for index in 0..10 {
        log.create(&format!("o{index}"), "c1", &["p1"], (1, "EUR"), 0);
    }
    log.customer("c1", "Ann");
    let mut store = Store::holding(&log).await;
    let first = store
        .reader
        .renamed_since(ChangeCursor::at(10), 4)
        .await
        .unwrap();
    let orders = Vec::from_iter((1..=4).map(|row| (11, Row(row))));
    assert_eq!(first.orders, orders);
    let among = ChangeCursor {
        position: 10,
        row: Row(2),
    };
    assert_eq!(first.cursor(2), among);
    assert_eq!(
        first.cursor(4),
        ChangeCursor {
            position: 10,
            row: Row(4)
        }
    );
    // A later name counts for all orders, also those that have the earlier one.
    log.customer("c1", "Anna");
    store.follow(&log, 10).await;
    let later = store.reader.renamed_since(among, 20).await.unwrap();
    assert_eq!(
        later.orders,
        Vec::from_iter((1..=10).map(|row| (12, Row(row))))
    );
    assert_eq!(later.next, ChangeCursor::at(12));
}

#[tokio::test]
async fn an_order_that_fills_a_page_is_passed_by_however_many_of_its_names_are_new() {
    let ids = Vec::from_iter((0..40).map(|index| format!("p{index}")));
    let ids = Vec::from_iter(ids.iter().map(String::as_str));
    let mut log = Log::default();
    log.create("large", "c1", &ids, (1, "EUR"), 0);
    log.create("small", "c1", &ids[39..], (1, "EUR"), 0);
    for id in &ids {
        // The names make the document many times larger than what is stored.
        log.product(id, &"x".repeat(60_000));
    }
    let store = Store::holding(&log).await;
    let renamed = store.reader.renamed_since(ChangeCursor::at(2), 1000).await;
    let renamed = renamed.unwrap();
    assert_eq!(renamed.orders, [(3, Row(1)), (42, Row(2))]);
    let rows = [Row(1), Row(2)];
    let page = store.reader.documents_page(&rows).await.unwrap();
    assert_eq!(page.covered, 1, "the first one fills it");
    let after = renamed.cursor(page.covered);
    let rest = store.reader.renamed_since(after, 1000).await.unwrap();
    assert!(rest.orders.iter().any(|(_, row)| *row == Row(2)));
    assert_eq!(rest.next, ChangeCursor::at(log.head()));
}

#[tokio::test]
async fn search_is_concerned_by_the_new_and_the_old_name_until_the_index_shows_it() {
    let mut log = Log::default();
    log.customer("c1", "Ann");
    log.product("p1", "Pear");
    let mut store = Store::holding(&log).await;
    log.customer("c1", "Bea");
    log.customer("c2", "Cid");
    store.follow(&log, 10).await;
    let until = async |shown, word: &'static str| {
        let concern = |names: &[&str]| names.iter().map(|name| *name == word).collect();
        store
            .reader
            .unconcerned_until(shown, concern)
            .await
            .unwrap()
    };
    // The word, and the position in an index that shows the names up to event 2.
    for (word, position) in [("Ann", 2), ("Bea", 2), ("Cid", 3), ("Pear", 4), ("Dan", 4)] {
        assert_eq!(until(2, word).await, position, "{word}");
    }
    assert_eq!(until(3, "Bea").await, 4);
    assert_eq!(until(4, "Cid").await, 4);
    // Of two new names, the index may show a name that is no longer known.
    assert_eq!(until(0, "Pear").await, 0);
}

#[tokio::test]
async fn search_is_concerned_by_names_that_a_migration_found() {
    let mut log = Log::default();
    log.customer("c1", "Ann");
    log.customer("c1", "Bea");
    let store = Store::holding(&log).await;
    store
        .change("UPDATE customers SET previous_name = NULL")
        .await;
    let until = store
        .reader
        .unconcerned_until(1, |_| panic!("the names are unknown"))
        .await;
    assert_eq!(until.unwrap(), 1);
}

#[tokio::test]
async fn a_rename_of_many_orders_is_returned_in_bounded_steps() {
    for of_customer in [true, false] {
        let mut log = Log::default();
        for index in 0..25 {
            log.create(&format!("o{index}"), "c1", &["p1"], (1, "EUR"), index % 3);
        }
        if of_customer {
            log.customer("c1", "Ann");
        } else {
            log.product("p1", "Pear");
        }
        let store = Store::holding(&log).await;
        let mut follower = Follower::after(25);
        let mut steps = 0;
        while follower.step(&store.reader, 10).await {
            steps += 1;
            assert_eq!(follower.at.position, 25, "not past it before it is whole");
            assert_eq!(follower.times, steps * 10);
        }
        let rows: BTreeSet<_> = follower.orders.into_keys().collect();
        assert_eq!(rows, (1..=25).map(Row).collect());
        assert_eq!((steps, follower.times), (2, 25));
    }
}

#[tokio::test]
async fn a_cursor_ahead_of_the_documents_stays_where_it_is() {
    let store = Store::new().await;
    let ahead = ChangeCursor::at(9);
    let changes = store.reader.changed_since(ahead, 10).await.unwrap();
    assert_eq!((changes.next, changes.as_of), (ahead, 0));
    assert!(changes.documents.is_empty());
}
