//! Test cases that every store of the log must pass.
//!
//! `contract_suite!(fixture)` makes a test of each case. The expression `fixture` is evaluated for
//! each test, and returns a [`Fixture`]. With `, ignore = "reason"`, the tests are ignored by
//! default.

use bytes::Bytes;
use proptest::{prelude::*, strategy::ValueTree as _};

use crate::{
    Aggregate, Batch, Error, InspectedRequest, Loaded, Log, NewEvent, NewRequest, Page,
    PendingPosition, Position, Schema,
};

pub(crate) const SCHEMA: Schema = Schema {
    current: 1,
    upcast: |_, _, _| None,
};

/// A place for one log, empty at first.
#[async_trait::async_trait]
pub(crate) trait Fixture: Sync {
    /// Opens the log. A test restarts a node by closing the appender and opening the log anew.
    async fn open(&self, schema: Schema) -> Log;

    /// Runs SQL on the store, without the log's code.
    async fn execute(&self, sql: &'static str) -> Result<(), sqlx::Error>;

    /// Returns SQL that deletes the event at position 1.
    fn delete_first(&self) -> &'static str;
}

macro_rules! contract_suite {
    ($fixture:expr $(, ignore = $needs:literal)?) => {
        contract_suite! { $fixture $(, ignore = $needs)?;
            g3_positions_are_dense_across_batches_and_restarts,
            g2_g3_failed_batch_leaves_no_row_and_no_hole,
            g4_append_rejects_a_version_that_exists,
            g5_load_returns_the_replies_to_known_request_ids,
            g5_append_rejects_a_request_id_that_exists,
            load_returns_all_events_of_an_aggregate_in_version_order,
            append_or_load_ends_an_exclusive_load,
            database_rejects_updates_and_deletes,
            page_with_a_missing_position_is_damaged,
            g10_inspect_returns_valid_and_invalid_rows,
            every_read_upcasts_old_records,
            log_keeps_its_id_after_a_restart,
            append_takes_more_rows_than_one_statement_has_parameters_for,
            pages_of_any_size_return_the_appended_bytes,
        }
    };
    ($fixture:expr; $($case:ident,)*) => {
        $(
            #[tokio::test]
            async fn $case() {
                $crate::contract_suite::$case(&$fixture).await;
            }
        )*
    };
    ($fixture:expr, ignore = $needs:literal; $($case:ident,)*) => {
        $(
            #[tokio::test]
            #[ignore = $needs]
            async fn $case() {
                $crate::contract_suite::$case(&$fixture).await;
            }
        )*
    };
}
pub(crate) use contract_suite;

async fn reopen(fixture: &dyn Fixture, log: Log, schema: Schema) -> Log {
    log.appender.close().await;
    drop(log.reader);
    fixture.open(schema).await
}

async fn page(log: &Log, after: u64, upto: u64, limit: usize) -> Result<Page, Error> {
    log.reader.page(after.into(), upto.into(), limit).await
}

async fn records(log: &Log, after: u64) -> Vec<Bytes> {
    let page = log.reader.page(after.into(), Position::MAX, 1000).await;
    page.unwrap().records
}

async fn head(log: &mut Log) -> u64 {
    log.appender.head().await.unwrap().get()
}

/// Appends a batch, and returns the position of its first event.
async fn append(log: &mut Log, batch: &Batch) -> u64 {
    log.appender.append(batch).await.unwrap().get()
}

async fn assert_conflict(log: &mut Log, batch: &Batch) {
    let refused = log.appender.append(batch).await;
    assert!(matches!(refused, Err(Error::Conflict)), "{refused:?}");
}

fn aggregate(id: &str) -> Aggregate {
    Aggregate {
        kind: 1,
        id: id.into(),
    }
}

fn event(id: &str, version: u64, record: &[u8]) -> NewEvent {
    NewEvent {
        aggregate: aggregate(id),
        version: version.into(),
        event_type: "Happened".into(),
        schema_version: SCHEMA.current,
        record: record.into(),
    }
}

fn batch(events: impl IntoIterator<Item = NewEvent>) -> Batch {
    Batch {
        events: events.into_iter().collect(),
        requests: vec![],
    }
}

fn request(id: &str, position: PendingPosition) -> NewRequest {
    NewRequest {
        id: id.into(),
        fingerprint: vec![1, 2, 3],
        aggregate_id: "a".into(),
        version: 7.into(),
        position,
    }
}

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
    let loaded = log.appender.load(&[&aggregate("b")], &["r"], false).await;
    assert_eq!(loaded.unwrap(), Loaded::default());
    assert_eq!(append(&mut log, &batch([event("b", 1, b"y")])).await, 2);
}

pub(crate) async fn g4_append_rejects_a_version_that_exists(fixture: &dyn Fixture) {
    let mut log = fixture.open(SCHEMA).await;
    let twice = batch([event("a", 1, b"x"), event("a", 1, b"y")]);
    assert_conflict(&mut log, &twice).await;
    assert_eq!(records(&log, 0).await, Vec::<Bytes>::new());
}

pub(crate) async fn g5_load_returns_the_replies_to_known_request_ids(fixture: &dyn Fixture) {
    let mut log = fixture.open(SCHEMA).await;
    let mut batch = batch([event("a", 1, b"x"), event("a", 2, b"y")]);
    batch.requests = vec![
        request("new", PendingPosition::InBatch(1)),
        request("old", PendingPosition::Known(1.into())),
    ];
    append(&mut log, &batch).await;
    let mut log = reopen(fixture, log, SCHEMA).await;
    let ids = ["old", "new", "never"];
    let mut requests = log.appender.load(&[], &ids, false).await.unwrap().requests;
    requests.sort_by(|one, other| one.id.cmp(&other.id));
    let replies: Vec<_> = requests
        .iter()
        .map(|request| (&*request.id, request.version.get(), request.position.get()))
        .collect();
    assert_eq!(replies, [("new", 7, 2), ("old", 7, 1)]);
    assert_eq!(requests[0].fingerprint, [1, 2, 3]);
    assert_eq!(requests[0].aggregate_id, "a");
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

pub(crate) async fn g10_inspect_returns_valid_and_invalid_rows(fixture: &dyn Fixture) {
    let mut log = fixture.open(SCHEMA).await;
    let mut unknown = event("a", 3, b"z");
    unknown.schema_version = 9;
    let mut batch = batch([
        event("a", 1, b"x"),
        event("b", 1, b"y"),
        event("a", 2, b"x"),
        unknown,
    ]);
    let fits = NewRequest {
        version: 2.into(),
        ..request("fits", PendingPosition::InBatch(2))
    };
    batch.requests = vec![fits, request("stray", PendingPosition::InBatch(0))];
    append(&mut log, &batch).await;

    let rows = log
        .reader
        .inspect(Position::START, 4.into(), 10)
        .await
        .unwrap();
    let found: Vec<_> = rows
        .iter()
        .map(|row| {
            let previous = row.previous.map(Position::get);
            (
                row.position.get(),
                &*row.aggregate.id,
                row.version.get(),
                previous,
            )
        })
        .collect();
    let expected = [
        (1, "a", 1, None),
        (2, "b", 1, None),
        (3, "a", 2, Some(1)),
        (4, "a", 3, Some(3)),
    ];
    assert_eq!(found, expected);
    assert_eq!(
        rows[0].record,
        Ok(page(&log, 0, 1, 1).await.unwrap().records[0].clone())
    );
    assert!(rows[3].record.is_err(), "its schema version is unknown");
    let rows = log.reader.inspect(1.into(), 3.into(), 1).await.unwrap();
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].position.get(), 2);

    let inspected = |id: &str, version: u64, position: u64, fits| InspectedRequest {
        id: id.into(),
        aggregate_id: "a".into(),
        version: version.into(),
        position: position.into(),
        fits,
    };
    let fits = inspected("fits", 2, 3, true);
    let stray = inspected("stray", 7, 1, false);
    let ids = ["stray".to_owned(), "never".to_owned()];
    let found = log.reader.requests(&ids).await.unwrap();
    assert_eq!(found, std::slice::from_ref(&stray));
    let first = log.reader.requests_after("", 1).await.unwrap();
    assert_eq!(first, [fits]);
    let second = log.reader.requests_after("fits", 10).await.unwrap();
    assert_eq!(second, [stray]);
}

pub(crate) async fn load_returns_all_events_of_an_aggregate_in_version_order(
    fixture: &dyn Fixture,
) {
    let mut log = fixture.open(SCHEMA).await;
    let events = [
        event("a", 1, b"x"),
        event("b", 1, b"-"),
        event("a", 2, b"y"),
    ];
    append(&mut log, &batch(events)).await;
    let wanted = [&aggregate("a"), &aggregate("none")];
    let loaded = log.appender.load(&wanted, &[], false).await.unwrap().events;
    let found: Vec<_> = loaded
        .iter()
        .map(|event| (event.version.get(), event.position.get()))
        .collect();
    assert_eq!(found, [(1, 1), (2, 3)]);
    let history = log.reader.history(1, "a").await.unwrap().records;
    assert_eq!(history, [&b"\x08\x01x"[..], b"\x08\x03y"]);
    assert_eq!(
        log.reader.history(2, "a").await.unwrap(),
        Page::default(),
        "another type"
    );
}

pub(crate) async fn append_or_load_ends_an_exclusive_load(fixture: &dyn Fixture) {
    let mut log = fixture.open(SCHEMA).await;
    append(&mut log, &batch([event("a", 1, b"x")])).await;
    let a = aggregate("a");
    let loaded = log.appender.load(&[&a], &[], true).await.unwrap();
    assert_eq!(loaded.events.len(), 1);
    assert_eq!(append(&mut log, &batch([event("a", 2, b"y")])).await, 2);
    // An empty batch, or a load without an append, also ends an exclusive load.
    log.appender.load(&[&a], &[], true).await.unwrap();
    append(&mut log, &batch([])).await;
    log.appender.load(&[&a], &[], true).await.unwrap();
    log.appender.load(&[&a], &[], false).await.unwrap();
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

pub(crate) async fn page_with_a_missing_position_is_damaged(fixture: &dyn Fixture) {
    let mut log = fixture.open(SCHEMA).await;
    append(&mut log, &batch([event("a", 1, b"x"), event("a", 2, b"y")])).await;
    fixture.execute(fixture.delete_first()).await.unwrap();
    let page = page(&log, 0, 2, 10).await;
    assert!(matches!(page, Err(Error::Damaged(_))), "{page:?}");
}

pub(crate) async fn every_read_upcasts_old_records(fixture: &dyn Fixture) {
    let mut log = fixture.open(SCHEMA).await;
    append(&mut log, &batch([event("a", 1, b"old")])).await;
    let newer = Schema {
        current: 2,
        upcast: |event_type, version, record| {
            let known = (event_type, version, record) == ("Happened", 1, &b"old"[..]);
            known.then(|| b"new".to_vec())
        },
    };
    let mut log = reopen(fixture, log, newer).await;
    let newer = NewEvent {
        schema_version: newer.current,
        ..event("a", 2, b"new too")
    };
    append(&mut log, &batch([newer])).await;
    let expected = [&b"\x08\x01new"[..], b"\x08\x02new too"];
    assert_eq!(records(&log, 0).await, expected);
    assert_eq!(log.reader.history(1, "a").await.unwrap().records, expected);
    let loaded = log.appender.load(&[&aggregate("a")], &[], false).await;
    assert_eq!(
        loaded
            .unwrap()
            .events
            .into_iter()
            .map(|event| event.record)
            .collect::<Vec<_>>(),
        expected
    );

    let log = reopen(fixture, log, SCHEMA).await;
    let page = page(&log, 0, 2, 10).await;
    assert!(
        matches!(
            page,
            Err(Error::UnknownSchema {
                position,
                found: 2,
                ..
            }) if position == 2.into()
        ),
        "{page:?}"
    );
}

pub(crate) async fn log_keeps_its_id_after_a_restart(fixture: &dyn Fixture) {
    let log = fixture.open(SCHEMA).await;
    let id = log.reader.log_id().to_owned();
    assert!(!id.is_empty());
    let log = reopen(fixture, log, SCHEMA).await;
    assert_eq!(log.reader.log_id(), id);
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

pub(crate) async fn pages_of_any_size_return_the_appended_bytes(fixture: &dyn Fixture) {
    let records = prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 100);
    let mut runner = proptest::test_runner::TestRunner::default();
    let records = records.new_tree(&mut runner).unwrap().current();
    let mut log = fixture.open(SCHEMA).await;
    let events = (1..)
        .zip(&records)
        .map(|(version, record)| event("a", version, record));
    append(&mut log, &batch(events)).await;
    for limit in [1, 2, 7, 99, 100, 1000] {
        let mut read: Vec<Vec<u8>> = Vec::new();
        loop {
            let page = page(&log, read.len() as u64, 1000, limit).await.unwrap();
            if page.records.is_empty() {
                break;
            }
            read.extend(page.records.iter().map(|record| record[2..].to_vec()));
        }
        assert_eq!(read, records, "{limit}");
    }
}
