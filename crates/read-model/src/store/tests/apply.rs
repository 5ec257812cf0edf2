//! Tests of the writer: batches, checkpoints and their faults.

use sqlx::ConnectOptions as _;

use super::*;

fn three_events() -> Log {
    let mut log = Log::default();
    log.create("o1", "c1", &["p1"], (100, "EUR"), 0);
    log.customer("c1", "Ann");
    log.ship("o1", DAY);
    log
}

async fn everything(store: &Store) -> impl PartialEq + std::fmt::Debug + use<> {
    let newest = Sort {
        field: SortField::CreatedAt,
        descending: true,
    };
    let filter = OrderFilter::default();
    let list = store.reader.list(&filter, newest, None, 100, &[]);
    (
        list.await.unwrap(),
        store.reader.statistics(ALL_DAYS).await.unwrap(),
        store.reader.customer_statistics("c1").await.unwrap(),
        store.reader.position(),
    )
}

/// Opens another connection that may write, to cause a fault.
async fn other(store: &Store) -> sqlx::SqliteConnection {
    sqlx::sqlite::SqliteConnectOptions::new()
        .filename(store.dir.path().join("read.db"))
        .connect()
        .await
        .unwrap()
}

#[tokio::test]
async fn g7_a_batch_that_fails_in_the_file_changes_neither_documents_nor_checkpoint() {
    let log = three_events();
    // The statements before the failing one have already run.
    for table in ["orders", "customers", "statistics", "checkpoint"] {
        let mut store = Store::new().await;
        let mut first = Log::default();
        first.create("o0", "c1", &["p1"], (100, "EUR"), 0);
        let mut log = log.clone();
        for event in &mut log.events {
            event.position += 1;
        }
        store.follow(&first, 1).await;
        let before = everything(&store).await;
        let mut other = other(&store).await;
        let (insert, update) = (
            format!(
                "CREATE TRIGGER a BEFORE INSERT ON {table} BEGIN SELECT raise(ABORT, 'no'); END"
            ),
            format!(
                "CREATE TRIGGER b BEFORE UPDATE ON {table} BEGIN SELECT raise(ABORT, 'no'); END"
            ),
        );
        for trigger in [insert, update] {
            sqlx::raw_sql(sqlx::AssertSqlSafe(trigger))
                .execute(&mut other)
                .await
                .unwrap();
        }
        let failed = store.writer.apply(LOG, &log.events, 4).await;
        assert!(
            matches!(failed, Err(Error::Sqlite(_))),
            "{table}: {failed:?}"
        );
        assert_eq!(everything(&store).await, before, "{table}");
        assert_eq!(store.writer.checkpoint().unwrap().position, 1);

        sqlx::raw_sql("DROP TRIGGER a; DROP TRIGGER b")
            .execute(&mut other)
            .await
            .unwrap();
        store.writer.apply(LOG, &log.events, 4).await.unwrap();
        assert_eq!(store.order("o1").await.status(), OrderStatus::Shipped);
        assert_eq!(store.reader.position(), 4);
    }
}

#[tokio::test]
async fn g7_a_repeated_batch_changes_nothing() {
    let log = three_events();
    let mut store = Store::holding(&log).await;
    let before = everything(&store).await;
    store.writer.apply(LOG, &log.events, 3).await.unwrap();
    store.writer.apply(LOG, &log.events[..1], 1).await.unwrap();
    assert_eq!(everything(&store).await, before);

    let mut longer = log.clone();
    longer.deliver("o1", 2 * DAY);
    store.writer.apply(LOG, &longer.events, 4).await.unwrap();
    assert_eq!(store.order("o1").await.version, 3);
}

#[tokio::test]
async fn g7_a_batch_with_a_gap_is_refused() {
    let log = three_events();
    let batch = |positions: &[usize]| -> Vec<RecordedEvent> {
        positions
            .iter()
            .map(|it| log.events[it - 1].clone())
            .collect()
    };
    for (done, positions, position, expected, given) in [
        (0, &[2][..], 2, 1, 2),
        (0, &[1, 3], 3, 2, 3),
        (1, &[3], 3, 2, 3),
        (1, &[], 2, 2, 3),
        (1, &[1, 2], 3, 3, 4),
        (2, &[1, 2], 3, 3, 4),
        (0, &[1, 2, 3], 2, 4, 3),
        (0, &[2, 1], 2, 1, 2),
    ] {
        let mut store = Store::new().await;
        let events = &log.events[..done];
        store.writer.apply(LOG, events, done as u64).await.unwrap();
        let before = everything(&store).await;
        let refused = store.writer.apply(LOG, &batch(positions), position).await;
        let Err(Error::Gap {
            expected: missing,
            given: next,
        }) = refused
        else {
            panic!("{done} {positions:?} {position}: {refused:?}");
        };
        assert_eq!((missing, next), (expected, given), "{done} {positions:?}");
        assert_eq!(everything(&store).await, before, "{done} {positions:?}");
    }
}

#[tokio::test]
async fn g7_applied_events_are_kept_when_the_file_is_reopened() {
    let Store {
        dir,
        writer,
        reader,
    } = Store::holding(&three_events()).await;
    let order = reader.order("o1").await.unwrap();
    let checkpoint = writer.checkpoint().cloned();
    writer.close().await;

    let writer = Writer::open(&dir.path().join("read.db"), 99).await.unwrap();
    let reader = writer.reader(2).await.unwrap();
    assert_eq!(writer.checkpoint().cloned(), checkpoint);
    assert_eq!(writer.checkpoint().unwrap().position, 3);
    assert_eq!(
        writer.checkpoint().unwrap().generation,
        1,
        "it keeps its own"
    );
    assert_eq!(reader.position(), 3);
    assert_eq!(reader.order("o1").await.unwrap(), order);
}

#[tokio::test]
async fn g7_a_cancelled_apply_leaves_the_old_or_new_state_and_a_usable_writer() {
    let mut log = Log::default();
    for index in 0..200 {
        log.create(&format!("o{index}"), "c1", &["p1"], (1, "EUR"), 0);
    }
    for polls in 1..12 {
        let mut store = Store::new().await;
        {
            let mut apply = std::pin::pin!(store.writer.apply(LOG, &log.events, 200));
            for _ in 0..polls {
                let poll = std::future::poll_fn(|context| {
                    std::task::Poll::Ready(apply.as_mut().poll(context).is_ready())
                });
                if poll.await {
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
        store.writer.apply(LOG, &log.events, 200).await.unwrap();
        let statistics = store.reader.statistics(None).await.unwrap();
        assert_eq!(statistics.total_orders, 200);
        assert_eq!(store.reader.position(), 200);
    }
}

#[tokio::test]
async fn another_logs_events_are_refused() {
    let mut store = Store::holding(&three_events()).await;
    let refused = store.writer.apply("log-2", &[], 9).await;
    assert!(
        matches!(&refused, Err(Error::LogMismatch { given, actual })
            if given == "log-2" && actual == LOG),
        "{refused:?}"
    );
    assert_eq!(store.reader.position(), 3);
}

#[tokio::test]
async fn more_rows_than_one_statement_takes_are_written() {
    let mut log = Log::default();
    let products: Vec<_> = (0..30).map(|index| format!("p{index}")).collect();
    let products: Vec<_> = products.iter().map(String::as_str).collect();
    for index in 0..3500 {
        log.create(&format!("o{index}"), "c1", &products, (1, "EUR"), 0);
    }
    let mut store = Store::new().await;
    store.follow(&log, 3500).await;
    let statistics = store.reader.statistics(None).await.unwrap();
    assert_eq!(statistics.total_orders, 3500);
    assert_eq!(store.order("o3499").await.item_count, 30);
}

#[tokio::test]
async fn readers_learn_the_position_and_can_wait_for_it() {
    let mut store = Store::new().await;
    let reader = store.reader.clone();
    let waiting = tokio::spawn(async move { reader.wait_for(3).await.map(|()| reader.position()) });
    store.follow(&three_events(), 1).await;
    assert_eq!(waiting.await.unwrap().unwrap(), 3);

    let Store { writer, reader, .. } = store;
    drop(writer);
    assert!(matches!(reader.wait_for(4).await, Err(Error::Stopped)));
}
