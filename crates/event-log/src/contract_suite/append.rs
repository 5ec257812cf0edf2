//! Cases of appends: positions, versions, request ids, exclusive loads.

use uuid::Uuid;

use super::*;

pub(crate) async fn g3_positions_are_dense_across_batches_and_restarts(fixture: &dyn Fixture) {
    let mut log = fixture.open(SCHEMA).await;
    assert_eq!(head(&mut log).await, 0);
    let two = batch([event("a", 1, b"x"), event("b", 1, b"y")]);
    assert_eq!(append(&mut log, &two).await, 1);
    append(&mut log, &batch([])).await;
    assert_eq!(
        log.reader.head().await.unwrap().get(),
        2,
        "an empty batch takes no position"
    );
    let mut log = reopen(fixture, log, SCHEMA).await;
    assert_eq!(append(&mut log, &batch([event("a", 2, b"z")])).await, 3);
    assert_eq!(head(&mut log).await, 3);
    let expected = [&b"\x08\x01x"[..], b"\x08\x02y", b"\x08\x03z"];
    assert_eq!(records(&log, 0).await, expected);
    assert_eq!(records(&log, 2).await, expected[2..]);
    assert_eq!(records(&log, 3).await, Vec::<Bytes>::new());
    let page = page(&log, 0, 2, 1).await.unwrap();
    assert_eq!((page.first.get(), page.records.len()), (1, 1));
}

pub(crate) async fn g2_g3_failed_batch_leaves_no_row_and_no_hole(fixture: &dyn Fixture) {
    let mut log = fixture.open(SCHEMA).await;
    append(&mut log, &batch([event("a", 1, b"x")])).await;
    let mut taken = batch([event("b", 1, b"y"), event("a", 1, b"again")]);
    taken
        .requests
        .push(request("r", PendingPosition::InBatch(0)));
    assert_conflict(&mut log, &taken).await;
    assert_eq!(head(&mut log).await, 1);
    let loaded = log
        .appender
        .load(&[all_of(&aggregate("b"))], &["r"], false)
        .await;
    assert_eq!(loaded.unwrap(), Loaded::default());
    assert_eq!(append(&mut log, &batch([event("b", 1, b"y")])).await, 2);
}

pub(crate) async fn g4_append_rejects_a_version_that_exists(fixture: &dyn Fixture) {
    let mut log = fixture.open(SCHEMA).await;
    let twice = batch([event("a", 1, b"x"), event("a", 1, b"y")]);
    assert_conflict(&mut log, &twice).await;
    assert_eq!(records(&log, 0).await, Vec::<Bytes>::new());
}

pub(crate) async fn g5_append_rejects_a_request_id_that_exists(fixture: &dyn Fixture) {
    let mut log = fixture.open(SCHEMA).await;
    let mut first = batch([event("a", 1, b"x")]);
    first
        .requests
        .push(request("r", PendingPosition::InBatch(0)));
    append(&mut log, &first).await;
    let mut second = batch([event("b", 1, b"y")]);
    second
        .requests
        .push(request("r", PendingPosition::InBatch(0)));
    assert_conflict(&mut log, &second).await;
    assert_eq!(head(&mut log).await, 1);
}

pub(crate) async fn append_or_load_ends_an_exclusive_load(fixture: &dyn Fixture) {
    let mut log = fixture.open(SCHEMA).await;
    append(&mut log, &batch([event("a", 1, b"x")])).await;
    let a = aggregate("a");
    let loaded = log.appender.load(&[all_of(&a)], &[], true).await.unwrap();
    assert_eq!(loaded.events.len(), 1);
    assert_eq!(append(&mut log, &batch([event("a", 2, b"y")])).await, 2);
    // An empty batch, or a load without an append, also ends an exclusive load.
    log.appender.load(&[all_of(&a)], &[], true).await.unwrap();
    append(&mut log, &batch([])).await;
    log.appender.load(&[all_of(&a)], &[], true).await.unwrap();
    log.appender.load(&[all_of(&a)], &[], false).await.unwrap();
    assert_eq!(append(&mut log, &batch([event("a", 3, b"z")])).await, 3);
    assert_eq!(records(&log, 0).await.len(), 3);
}

pub(crate) async fn database_rejects_updates_and_deletes(fixture: &dyn Fixture) {
    let mut log = fixture.open(SCHEMA).await;
    let mut one = batch([event("a", 1, b"x")]);
    one.requests.push(request("r", PendingPosition::InBatch(0)));
    append(&mut log, &one).await;
    for sql in [
        "UPDATE events SET version = 2",
        "DELETE FROM events",
        "UPDATE requests SET version = 2",
        "DELETE FROM requests",
    ] {
        let refused = fixture.execute(sql).await.unwrap_err().to_string();
        assert!(refused.contains("append-only"), "{sql}: {refused}");
    }
    assert_eq!(records(&log, 0).await.len(), 1);
}

pub(crate) async fn append_takes_more_rows_than_one_statement_has_parameters_for(
    fixture: &dyn Fixture,
) {
    let mut log = fixture.open(SCHEMA).await;
    // One row more than SQLite's limit of parameters permits in one statement.
    let count = ::sqlite::MAX_PARAMETERS / 7 + 1;
    let mut large = batch((1..=count as u64).map(|version| event("a", version, b"x")));
    large.requests = (0..count * 2)
        .map(|index| request(&index.to_string(), PendingPosition::InBatch(index % count)))
        .collect();
    append(&mut log, &large).await;
    assert_eq!(head(&mut log).await, count as u64);
    let page = page(&log, 0, count as u64, count).await.unwrap();
    assert_eq!(page.records.len(), count);
}

pub(crate) async fn g12_append_returns_the_point_before_the_batch(fixture: &dyn Fixture) {
    let mut log = fixture.open(SCHEMA).await;
    let mut expected = Point::START;
    for version in 1..=3 {
        let event_id = Uuid::now_v7();
        let one = batch([event("a", version, &identified(event_id))]);
        assert_eq!(log.appender.append(&one).await.unwrap(), expected);
        expected = Point {
            position: version.into(),
            event_id,
        };
        if version == 2 {
            log = reopen(fixture, log, SCHEMA).await;
        }
    }
}
