//! Tests of the comparison of the lists with the documents.

use tokio::sync::mpsc;

use std::sync::Arc;

use super::*;
use crate::{
    generations,
    lists::{Change, Entry},
    postings,
};

fn log() -> Log {
    let mut log = Log::default();
    log.create("o1", "c1", &["p1", "p2"], (100, "EUR"), 0);
    log.ship("o1", DAY);
    log.create("o2", "c2", &["p1"], (200, "EUR"), 0);
    log.customer("c1", "Ann");
    log.product("p1", "Tea");
    log
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

/// Returns what is told of the lists if the postings are those of another log. Each log has one order,
/// because the index may have several in any order.
async fn told_with_postings_of(other: &Log) -> Vec<String> {
    let mut log = Log::default();
    log.create("o1", "c1", &["p1"], (100, "EUR"), 0);
    log.customer("c2", "Bob");
    let close = async |log: &Log| {
        let mut store = Store::new().await;
        // The first event is a batch of its own, so that its customer gets the first number.
        let first = &log.events[..1];
        store.writer.apply(LOG, first, 1).await.unwrap();
        store.follow(log, 1000).await;
        store.writer.close().await;
        store.dir
    };
    let (dir, other) = (close(&log).await, close(other).await);
    let lists = |dir: &TempDir| generations::lists_folder(&dir.path().join("read.db"));
    postings::replace(&lists(&dir), &lists(&other));
    let writer = Writer::open(&dir.path().join("read.db"), 1).await.unwrap();
    let reader = writer.reader(1).await.unwrap();
    let (found, mut differences) = mpsc::channel::<Difference>(100);
    reader.compare_lists(&found).await.unwrap();
    drop(found);
    let mut told = Vec::new();
    while let Some(Difference { subject, problem }) = differences.recv().await {
        told.push(format!("{subject} {problem}"));
    }
    told
}

#[tokio::test]
async fn g10_an_order_that_the_lists_find_by_another_value_is_named() {
    let mut same = Log::default();
    same.create("o1", "c1", &["p1"], (100, "EUR"), 0);
    assert_eq!(told_with_postings_of(&same).await, [""; 0]);
    let mut other = Log::default();
    other.customer("c2", "Bob");
    other.create("o1", "c1", &["p1", "p2"], (200, "USD"), 0);
    other.cancel("o1", 0);
    assert_eq!(
        told_with_postings_of(&other).await,
        [
            "order o1 is found in the lists by another row than it has",
            "order o1 is found in the lists by another customer than it has",
            "order o1 is found in the lists by another product than it has",
        ]
    );
}
