//! Tests of the backfill: orders that show a new name.

use contract::orders::v1::CustomerRegistered;
use read_model::generations::lists_folder;

use super::*;

/// Returns the event that gives the customer of every order a name.
fn renamed(position: u64) -> RecordedEvent {
    RecordedEvent {
        aggregate_type: AggregateType::Customer.into(),
        ..event(
            position,
            "",
            position,
            Payload::CustomerRegistered(CustomerRegistered {
                name: format!("Name {position}"),
            }),
        )
    }
}

/// Returns an engine's rows that have been submitted, and forgets them.
fn taken(engine: &Gated) -> Vec<Row> {
    std::mem::take(&mut *engine.rows.lock().unwrap())
}

const RENAMED: u64 = 1000;

/// Returns an indexer of an index that has [`RENAMED`] orders, whose customer gets a new name now.
async fn renaming(folder: &Path) -> (Indexer, Arc<Gated>, Writer, Parking) {
    let created =
        (1..=RENAMED).map(|position| event(position, &format!("o{position}"), 1, created()));
    let write_limits = WriteLimits {
        documents: 5000,
        first: 5000,
        writes: 1,
    };
    let (indexer, engine, mut writer, parking) =
        indexer(folder, &Vec::from_iter(created), write_limits, None).await;
    let documents = indexer.documents.checkpoint().await.unwrap().unwrap();
    let mut updater = updater(&indexer, documents.history, 0);
    engine.writes.add_permits(1);
    updater.reach(RENAMED, 0).await.unwrap();
    assert_eq!(taken(&engine).len() as u64, RENAMED);
    let name = renamed(RENAMED + 1);
    writer.apply("log", &[name], RENAMED + 1).await.unwrap();
    (indexer, engine, writer, parking)
}

#[tokio::test]
async fn fresh_order_is_indexed_before_the_orders_that_show_a_new_name() {
    let folder = tempfile::tempdir().unwrap();
    let (indexer, engine, mut writer, _parking) = renaming(folder.path()).await;
    let mut checkpoint = engine.checkpoint.subscribe();
    checkpoint.mark_unchanged();
    let running = Running::start(indexer);
    // The first orders with the new name are being written.
    engine.writes.add_permits(1);
    timeout(DEADLINE, checkpoint.changed())
        .await
        .unwrap()
        .unwrap();
    let fresh = RENAMED + 2;
    let event = event(fresh, "fresh", 1, created());
    writer.apply("log", &[event], fresh).await.unwrap();
    // A fresh change may wait for as long as it could have followed another one.
    sleep(crate::index_updater::WRITE_INTERVAL).await;
    while checkpoint.borrow().as_ref().unwrap().answers < fresh {
        engine.writes.add_permits(1);
        timeout(DEADLINE, checkpoint.changed())
            .await
            .unwrap()
            .unwrap();
    }
    let at_once = taken(&engine);
    assert!(at_once.contains(&Row(fresh)));
    assert!((at_once.len() as u64) < RENAMED, "{}", at_once.len());
    let stored = checkpoint.borrow().clone().unwrap();
    assert!(stored.names.position < fresh, "{stored:?}");

    engine.writes.add_permits(1000);
    timeout(DEADLINE, running.progress.wait_for_names(fresh))
        .await
        .unwrap();
    let mut rows = [at_once, taken(&engine)].concat();
    rows.sort_unstable();
    rows.dedup();
    let all = (1..=RENAMED).chain([fresh]).map(Row);
    assert_eq!(rows, Vec::from_iter(all));
    running.stop().await;
}

#[tokio::test]
async fn empty_index_gets_orders_with_a_new_name_once() {
    let folder = tempfile::tempdir().unwrap();
    let (indexer, engine, _writer, _parking) = renaming(folder.path()).await;
    let documents = indexer.documents.checkpoint().await.unwrap().unwrap();
    let mut updater = updater(&indexer, documents.history, 0);
    engine.writes.add_permits(1000);
    updater.reach(RENAMED + 1, RENAMED + 1).await.unwrap();
    assert_eq!(taken(&engine).len() as u64, RENAMED);
}

#[tokio::test]
async fn g7_backfill_goes_on_where_the_stored_cursor_is() {
    let folder = tempfile::tempdir().unwrap();
    let (mut indexer, engine, _writer, _parking) = renaming(folder.path()).await;
    let mut checkpoint = engine.checkpoint.subscribe();
    let stopped = {
        let mut backoff = Backoff::new();
        let running = indexer.write(&mut backoff);
        tokio::pin!(running);
        engine.writes.add_permits(2);
        loop {
            tokio::select! {
                ended = &mut running => panic!("{ended:?}"),
                _ = checkpoint.changed() => {}
            }
            let stored = checkpoint.borrow_and_update().clone().unwrap();
            if stored.names.row > Row(0) {
                break stored;
            }
        }
    };
    assert_eq!(stopped.names.position, RENAMED, "{stopped:?}");
    taken(&engine);
    engine.writes.add_permits(1000);
    let running = Running::start(indexer);
    timeout(DEADLINE, running.progress.wait_for_names(RENAMED + 1))
        .await
        .unwrap();
    let rest = (stopped.names.row.0 + 1..=RENAMED).map(Row);
    assert_eq!(taken(&engine), Vec::from_iter(rest));
    running.stop().await;
}

#[tokio::test]
async fn only_the_refused_order_with_a_new_name_is_parked() {
    let folder = tempfile::tempdir().unwrap();
    let (indexer, engine, _writer, mut parking) = renaming(folder.path()).await;
    *engine.refuses.lock().unwrap() = Some(Row(150));
    engine.writes.add_permits(1000);
    let running = Running::start(indexer);
    let named = running.progress.wait_for_names(RENAMED + 1);
    timeout(DEADLINE, named).await.unwrap();
    let refused = timeout(DEADLINE, parking.parked.recv()).await.unwrap();
    assert_eq!(refused.unwrap().aggregate, AggregateId::order("o150"));
    assert!(parking.parked.try_recv().is_err());
    let mut rows = taken(&engine);
    rows.sort_unstable();
    rows.dedup();
    let others = (1..=RENAMED).filter(|row| *row != 150).map(Row);
    assert_eq!(rows, Vec::from_iter(others));
    running.stop().await;
}

#[tokio::test]
async fn fresh_orders_are_indexed_while_a_new_name_waits_for_the_lists() {
    // An index of lists that lacks more than this many events is not filled when the file is opened.
    const AT_ONCE: u64 = 65_536;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("read.db");
    let mut writer = Writer::open(&file, 1).await.unwrap();
    let order = [event(1, "old", 1, created())];
    writer.apply("log", &order, 1).await.unwrap();
    let names = Vec::from_iter((2..=AT_ONCE + 1).map(renamed));
    for names in names.chunks(8000) {
        let last = names.last().unwrap().position;
        writer.apply("log", names, last).await.unwrap();
    }
    writer.close().await;
    std::fs::remove_dir_all(lists_folder(&file)).unwrap();
    let mut writer = Writer::open(&file, 1).await.unwrap();
    let write_limits = WriteLimits {
        documents: 16,
        first: 16,
        writes: 1,
    };
    let (indexer, engine, _parking) = indexer_of(&writer, write_limits, None).await;
    engine.writes.add_permits(1000);
    let running = Running::start(indexer);
    let progress = running.progress.clone();
    let reach = async |position| {
        timeout(DEADLINE, progress.wait_for(position))
            .await
            .unwrap()
    };
    reach(AT_ONCE + 1).await;
    assert_eq!(taken(&engine), [Row(1)]);

    let (named, fresh) = (AT_ONCE + 2, AT_ONCE + 3);
    writer.apply("log", &[renamed(named)], named).await.unwrap();
    let created = event(fresh, "fresh", 1, created());
    writer.apply("log", &[created], fresh).await.unwrap();
    reach(fresh).await;
    assert_eq!(taken(&engine), [Row(fresh)]);
    assert!(writer.is_filling_lists());
    while writer.is_filling_lists() {
        writer.fill_lists().await.unwrap();
    }
    let named = progress.wait_for_names(named);
    timeout(DEADLINE, named).await.unwrap();
    assert_eq!(taken(&engine), [Row(1)]);
    running.stop().await;
}
