//! Test cases that every store of the log must pass.
//!
//! `contract_suite!(fixture)` makes a test of each case. The expression `fixture` is evaluated for
//! each test, and returns a [`Fixture`]. With `, ignore = "reason"`, the tests are ignored by
//! default.

use bytes::Bytes;
use proptest::{prelude::*, strategy::ValueTree as _};

use crate::{Aggregate, Answer, Batch, Error, Event, Loaded, Log, Page, Position, Request, Schema};

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
    fn forget(&self) -> &'static str;
}

macro_rules! contract_suite {
    ($fixture:expr $(, ignore = $needs:literal)?) => {
        contract_suite! { $fixture $(, ignore = $needs)?;
            g3_positions_are_dense_across_batches_and_restarts,
            g2_g3_a_batch_that_fails_leaves_nothing_and_no_hole,
            g4_a_version_is_given_once,
            g5_requests_are_found_with_what_was_answered,
            g5_a_request_id_is_recorded_once,
            an_aggregate_is_loaded_whole_and_in_order,
            what_is_loaded_exclusively_is_appended_to,
            the_database_itself_refuses_to_change_or_delete,
            a_hole_is_damage_and_not_skipped,
            g10_what_is_stored_is_told_whether_it_is_right_or_not,
            old_records_are_upcast_wherever_they_are_read,
            a_log_keeps_its_id,
            a_batch_may_be_large,
            any_bytes_come_back_in_pages_of_any_size,
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

async fn reopened(fixture: &dyn Fixture, log: Log, schema: Schema) -> Log {
    log.appender.close().await;
    drop(log.reader);
    fixture.open(schema).await
}

async fn records(log: &Log, after: u64) -> Vec<Bytes> {
    let page = log.reader.page(after, u64::MAX >> 1, 1000).await;
    page.unwrap().records
}

async fn append(log: &mut Log, batch: &Batch) -> u64 {
    log.appender.append(batch).await.unwrap()
}

async fn conflicts(log: &mut Log, batch: &Batch) {
    let refused = log.appender.append(batch).await;
    assert!(matches!(refused, Err(Error::Conflict)), "{refused:?}");
}

fn aggregate(id: &str) -> Aggregate {
    Aggregate {
        kind: 1,
        id: id.into(),
    }
}

fn event(id: &str, version: u64, record: &[u8]) -> Event {
    Event {
        aggregate: aggregate(id),
        version,
        event_type: "Happened".into(),
        schema_version: SCHEMA.current,
        record: record.into(),
    }
}

fn batch(events: impl IntoIterator<Item = Event>) -> Batch {
    Batch {
        events: events.into_iter().collect(),
        requests: vec![],
    }
}

fn request(id: &str, position: Position) -> Request {
    Request {
        id: id.into(),
        fingerprint: vec![1, 2, 3],
        aggregate_id: "a".into(),
        version: 7,
        position,
    }
}

pub(crate) async fn g3_positions_are_dense_across_batches_and_restarts(fixture: &dyn Fixture) {
    let mut log = fixture.open(SCHEMA).await;
    assert_eq!(log.appender.head().await.unwrap(), 0);
    let two = batch([event("a", 1, b"x"), event("b", 1, b"y")]);
    assert_eq!(append(&mut log, &two).await, 1);
    append(&mut log, &batch([])).await;
    assert_eq!(
        log.reader.head().await.unwrap(),
        2,
        "nothing takes no position"
    );
    let mut log = reopened(fixture, log, SCHEMA).await;
    assert_eq!(append(&mut log, &batch([event("a", 2, b"z")])).await, 3);
    assert_eq!(log.appender.head().await.unwrap(), 3);
    let expected = [&b"\x08\x01x"[..], b"\x08\x02y", b"\x08\x03z"];
    assert_eq!(records(&log, 0).await, expected);
    assert_eq!(records(&log, 2).await, expected[2..]);
    assert_eq!(records(&log, 3).await, Vec::<Bytes>::new());
    let page = log.reader.page(0, 2, 1).await.unwrap();
    assert_eq!((page.first, page.records.len()), (1, 1));
}

pub(crate) async fn g2_g3_a_batch_that_fails_leaves_nothing_and_no_hole(fixture: &dyn Fixture) {
    let mut log = fixture.open(SCHEMA).await;
    append(&mut log, &batch([event("a", 1, b"x")])).await;
    let mut taken = batch([event("b", 1, b"y"), event("a", 1, b"again")]);
    taken.requests.push(request("r", Position::InBatch(0)));
    conflicts(&mut log, &taken).await;
    assert_eq!(log.appender.head().await.unwrap(), 1);
    let loaded = log.appender.load(&[&aggregate("b")], &["r"], false).await;
    assert_eq!(loaded.unwrap(), Loaded::default());
    assert_eq!(append(&mut log, &batch([event("b", 1, b"y")])).await, 2);
}

pub(crate) async fn g4_a_version_is_given_once(fixture: &dyn Fixture) {
    let mut log = fixture.open(SCHEMA).await;
    let twice = batch([event("a", 1, b"x"), event("a", 1, b"y")]);
    conflicts(&mut log, &twice).await;
    assert_eq!(records(&log, 0).await, Vec::<Bytes>::new());
}

pub(crate) async fn g5_requests_are_found_with_what_was_answered(fixture: &dyn Fixture) {
    let mut log = fixture.open(SCHEMA).await;
    let mut batch = batch([event("a", 1, b"x"), event("a", 2, b"y")]);
    batch.requests = vec![
        request("new", Position::InBatch(1)),
        request("old", Position::Of(1)),
    ];
    append(&mut log, &batch).await;
    let mut log = reopened(fixture, log, SCHEMA).await;
    let ids = ["old", "new", "never"];
    let mut answered = log.appender.load(&[], &ids, false).await.unwrap().requests;
    answered.sort_by(|one, other| one.request_id.cmp(&other.request_id));
    let told: Vec<_> = answered
        .iter()
        .map(|answered| {
            (
                answered.request_id.as_str(),
                answered.version,
                answered.position,
            )
        })
        .collect();
    assert_eq!(told, [("new", 7, 2), ("old", 7, 1)]);
    assert_eq!(answered[0].fingerprint, [1, 2, 3]);
    assert_eq!(answered[0].aggregate_id, "a");
}

pub(crate) async fn g5_a_request_id_is_recorded_once(fixture: &dyn Fixture) {
    let mut log = fixture.open(SCHEMA).await;
    let mut first = batch([event("a", 1, b"x")]);
    first.requests.push(request("r", Position::InBatch(0)));
    append(&mut log, &first).await;
    let mut second = batch([event("b", 1, b"y")]);
    second.requests.push(request("r", Position::InBatch(0)));
    conflicts(&mut log, &second).await;
    assert_eq!(log.appender.head().await.unwrap(), 1);
}

pub(crate) async fn g10_what_is_stored_is_told_whether_it_is_right_or_not(fixture: &dyn Fixture) {
    let mut log = fixture.open(SCHEMA).await;
    let mut unknown = event("a", 3, b"z");
    unknown.schema_version = 9;
    let mut batch = batch([
        event("a", 1, b"x"),
        event("b", 1, b"y"),
        event("a", 2, b"x"),
        unknown,
    ]);
    let fits = Request {
        version: 2,
        ..request("fits", Position::InBatch(2))
    };
    batch.requests = vec![fits, request("stray", Position::InBatch(0))];
    append(&mut log, &batch).await;

    let rows = log.reader.inspect(0, 4, 10).await.unwrap();
    let told: Vec<_> = rows
        .iter()
        .map(|row| (row.position, &row.aggregate.id[..], row.version, row.before))
        .collect();
    let expected = [
        (1, "a", 1, None),
        (2, "b", 1, None),
        (3, "a", 2, Some(1)),
        (4, "a", 3, Some(3)),
    ];
    assert_eq!(told, expected);
    assert_eq!(rows[0].record, Ok(records_of_the_first(&log).await));
    assert!(rows[3].record.is_err(), "of a schema that is not known");
    let rows = log.reader.inspect(1, 3, 1).await.unwrap();
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].position, 2);

    let answer = |id: &str, version, position, fits| Answer {
        request_id: id.into(),
        aggregate_id: "a".into(),
        version,
        position,
        fits,
    };
    let (fits, stray) = (answer("fits", 2, 3, true), answer("stray", 7, 1, false));
    let asked = ["stray".to_owned(), "never".to_owned()];
    let found = log.reader.requests(&asked).await.unwrap();
    assert_eq!(found, std::slice::from_ref(&stray));
    let first = log.reader.requests_after("", 1).await.unwrap();
    assert_eq!(first, [fits]);
    let second = log.reader.requests_after("fits", 10).await.unwrap();
    assert_eq!(second, [stray]);
}

async fn records_of_the_first(log: &Log) -> Bytes {
    let page = log.reader.page(0, 1, 1).await.unwrap();
    page.records[0].clone()
}

pub(crate) async fn an_aggregate_is_loaded_whole_and_in_order(fixture: &dyn Fixture) {
    let mut log = fixture.open(SCHEMA).await;
    let events = [
        event("a", 1, b"x"),
        event("b", 1, b"-"),
        event("a", 2, b"y"),
    ];
    append(&mut log, &batch(events)).await;
    let wanted = [&aggregate("a"), &aggregate("none")];
    let loaded = log.appender.load(&wanted, &[], false).await.unwrap().events;
    let told: Vec<_> = loaded
        .iter()
        .map(|event| (event.version, event.position))
        .collect();
    assert_eq!(told, [(1, 1), (2, 3)]);
    let history = log.reader.history(1, "a").await.unwrap().records;
    assert_eq!(history, [&b"\x08\x01x"[..], b"\x08\x03y"]);
    assert_eq!(
        log.reader.history(2, "a").await.unwrap(),
        Page::default(),
        "another type"
    );
}

pub(crate) async fn what_is_loaded_exclusively_is_appended_to(fixture: &dyn Fixture) {
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

pub(crate) async fn the_database_itself_refuses_to_change_or_delete(fixture: &dyn Fixture) {
    let mut log = fixture.open(SCHEMA).await;
    let mut one = batch([event("a", 1, b"x")]);
    one.requests.push(request("r", Position::InBatch(0)));
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

pub(crate) async fn a_hole_is_damage_and_not_skipped(fixture: &dyn Fixture) {
    let mut log = fixture.open(SCHEMA).await;
    append(&mut log, &batch([event("a", 1, b"x"), event("a", 2, b"y")])).await;
    fixture.execute(fixture.forget()).await.unwrap();
    let page = log.reader.page(0, 2, 10).await;
    assert!(matches!(page, Err(Error::Damaged(_))), "{page:?}");
}

pub(crate) async fn old_records_are_upcast_wherever_they_are_read(fixture: &dyn Fixture) {
    let mut log = fixture.open(SCHEMA).await;
    append(&mut log, &batch([event("a", 1, b"old")])).await;
    let newer = Schema {
        current: 2,
        upcast: |event_type, version, record| {
            let known = (event_type, version, record) == ("Happened", 1, &b"old"[..]);
            known.then(|| b"new".to_vec())
        },
    };
    let mut log = reopened(fixture, log, newer).await;
    let newer = Event {
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

    let log = reopened(fixture, log, SCHEMA).await;
    let page = log.reader.page(0, 2, 10).await;
    assert!(
        matches!(
            page,
            Err(Error::UnknownSchema {
                position: 2,
                found: 2,
                ..
            })
        ),
        "{page:?}"
    );
}

pub(crate) async fn a_log_keeps_its_id(fixture: &dyn Fixture) {
    let log = fixture.open(SCHEMA).await;
    let id = log.reader.log_id().to_owned();
    assert!(!id.is_empty());
    let log = reopened(fixture, log, SCHEMA).await;
    assert_eq!(log.reader.log_id(), id);
}

pub(crate) async fn a_batch_may_be_large(fixture: &dyn Fixture) {
    let mut log = fixture.open(SCHEMA).await;
    // One row more than SQLite's limit of parameters permits in one statement.
    let count = ::sqlite::MAX_PARAMETERS / 7 + 1;
    let mut large = batch((1..=count as u64).map(|version| event("a", version, b"x")));
    large.requests = (0..count * 2)
        .map(|index| request(&index.to_string(), Position::InBatch(index % count)))
        .collect();
    append(&mut log, &large).await;
    assert_eq!(log.appender.head().await.unwrap(), count as u64);
    let page = log.reader.page(0, count as u64, count).await.unwrap();
    assert_eq!(page.records.len(), count);
}

pub(crate) async fn any_bytes_come_back_in_pages_of_any_size(fixture: &dyn Fixture) {
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
            let page = log
                .reader
                .page(read.len() as u64, 1000, limit)
                .await
                .unwrap();
            if page.records.is_empty() {
                break;
            }
            read.extend(page.records.iter().map(|record| record[2..].to_vec()));
        }
        assert_eq!(read, records, "{limit}");
    }
}
