use bytes::Bytes;
use proptest::prelude::*;
use sqlx::{ConnectOptions as _, Connection as _, sqlite::SqliteConnectOptions};

use super::*;
use crate::{Aggregate, Batch, Event, Loaded, Page, Position, Request};

const SCHEMA: Schema = Schema {
    current: 1,
    upcast: |_, _, _| None,
};

struct Log {
    dir: tempfile::TempDir,
    appender: Appender,
    reader: Reader,
}

impl Log {
    async fn new() -> Self {
        Self::at(tempfile::tempdir().unwrap(), SCHEMA).await
    }

    async fn at(dir: tempfile::TempDir, schema: Schema) -> Self {
        let (appender, reader) = open(&dir.path().join("events.db"), schema).await.unwrap();
        Self {
            dir,
            appender,
            reader,
        }
    }

    async fn reopened(self, schema: Schema) -> Self {
        self.appender.close().await;
        drop(self.reader);
        Self::at(self.dir, schema).await
    }

    async fn records(&self, after: u64) -> Vec<Bytes> {
        self.reader
            .page(after, u64::MAX >> 1, 1000)
            .await
            .unwrap()
            .records
    }
}

fn event(id: &str, version: u64, record: &[u8]) -> Event {
    Event {
        aggregate: Aggregate {
            kind: 1,
            id: id.into(),
        },
        version,
        event_type: "Happened",
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

#[tokio::test]
async fn g3_positions_are_dense_across_batches_and_restarts() {
    let mut log = Log::new().await;
    assert_eq!(log.appender.head().await.unwrap(), 0);
    let two = batch([event("a", 1, b"x"), event("b", 1, b"y")]);
    assert_eq!(log.appender.append(&two).await.unwrap(), 1);
    assert_eq!(
        log.appender.append(&batch([])).await.unwrap(),
        3,
        "nothing takes no position"
    );
    let mut log = log.reopened(SCHEMA).await;
    assert_eq!(
        log.appender
            .append(&batch([event("a", 2, b"z")]))
            .await
            .unwrap(),
        3
    );
    assert_eq!(log.appender.head().await.unwrap(), 3);
    let expected = [&b"\x08\x01x"[..], b"\x08\x02y", b"\x08\x03z"];
    assert_eq!(log.records(0).await, expected);
    assert_eq!(log.records(2).await, expected[2..]);
    assert_eq!(log.records(3).await, Vec::<Bytes>::new());
    let page = log.reader.page(0, 2, 1).await.unwrap();
    assert_eq!((page.first, page.records.len()), (1, 1));
}

#[tokio::test]
async fn g2_g3_a_batch_that_fails_leaves_nothing_and_no_hole() {
    let mut log = Log::new().await;
    log.appender
        .append(&batch([event("a", 1, b"x")]))
        .await
        .unwrap();
    let mut taken = batch([event("b", 1, b"y"), event("a", 1, b"again")]);
    taken.requests.push(request("r", Position::InBatch(0)));
    let refused = log.appender.append(&taken).await;
    assert!(matches!(refused, Err(Error::Conflict)), "{refused:?}");
    assert_eq!(log.appender.head().await.unwrap(), 1);
    let aggregate = Aggregate {
        kind: 1,
        id: "b".into(),
    };
    let loaded = log.appender.load(&[&aggregate], &["r"]).await.unwrap();
    assert_eq!(loaded, Loaded::default());
    assert_eq!(
        log.appender
            .append(&batch([event("b", 1, b"y")]))
            .await
            .unwrap(),
        2
    );
}

#[tokio::test]
async fn g4_a_version_is_given_once() {
    let mut log = Log::new().await;
    let twice = batch([event("a", 1, b"x"), event("a", 1, b"y")]);
    let refused = log.appender.append(&twice).await;
    assert!(matches!(refused, Err(Error::Conflict)), "{refused:?}");
    assert_eq!(log.records(0).await, Vec::<Bytes>::new());
}

#[tokio::test]
async fn g5_requests_are_found_with_what_was_answered() {
    let mut log = Log::new().await;
    let mut batch = batch([event("a", 1, b"x"), event("a", 2, b"y")]);
    batch.requests = vec![
        request("new", Position::InBatch(1)),
        request("old", Position::Of(1)),
    ];
    log.appender.append(&batch).await.unwrap();
    let mut log = log.reopened(SCHEMA).await;
    let mut answered = log
        .appender
        .load(&[], &["old", "new", "never"])
        .await
        .unwrap()
        .requests;
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

#[tokio::test]
async fn g5_a_request_id_is_recorded_once() {
    let mut log = Log::new().await;
    let mut first = batch([event("a", 1, b"x")]);
    first.requests.push(request("r", Position::InBatch(0)));
    log.appender.append(&first).await.unwrap();
    let mut second = batch([event("b", 1, b"y")]);
    second.requests.push(request("r", Position::InBatch(0)));
    let refused = log.appender.append(&second).await;
    assert!(matches!(refused, Err(Error::Conflict)), "{refused:?}");
    assert_eq!(log.appender.head().await.unwrap(), 1);
}

#[tokio::test]
async fn an_aggregate_is_loaded_whole_and_in_order() {
    let mut log = Log::new().await;
    let events = [
        event("a", 1, b"x"),
        event("b", 1, b"-"),
        event("a", 2, b"y"),
    ];
    log.appender.append(&batch(events)).await.unwrap();
    let of = |id: &str| Aggregate {
        kind: 1,
        id: id.into(),
    };
    let loaded = log
        .appender
        .load(&[&of("a"), &of("none")], &[])
        .await
        .unwrap()
        .events;
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

#[tokio::test]
async fn the_database_itself_refuses_to_change_or_delete() {
    let mut log = Log::new().await;
    let mut one = batch([event("a", 1, b"x")]);
    one.requests.push(request("r", Position::InBatch(0)));
    log.appender.append(&one).await.unwrap();
    let options = SqliteConnectOptions::new().filename(log.dir.path().join("events.db"));
    let mut other = options.connect().await.unwrap();
    for sql in [
        "UPDATE events SET version = 2",
        "DELETE FROM events",
        "UPDATE requests SET version = 2",
        "DELETE FROM requests",
    ] {
        let refused = sqlx::raw_sql(sql)
            .execute(&mut other)
            .await
            .unwrap_err()
            .to_string();
        assert!(refused.contains("append-only"), "{sql}: {refused}");
    }
    other.close().await.unwrap();
    assert_eq!(log.records(0).await.len(), 1);
}

#[tokio::test]
async fn a_hole_is_damage_and_not_skipped() {
    let mut log = Log::new().await;
    log.appender
        .append(&batch([event("a", 1, b"x"), event("a", 2, b"y")]))
        .await
        .unwrap();
    let options = SqliteConnectOptions::new().filename(log.dir.path().join("events.db"));
    let mut other = options.connect().await.unwrap();
    sqlx::raw_sql("DROP TRIGGER events_are_never_deleted; DELETE FROM events WHERE position = 1")
        .execute(&mut other)
        .await
        .unwrap();
    let page = log.reader.page(0, 2, 10).await;
    assert!(matches!(page, Err(Error::Damaged(_))), "{page:?}");
}

#[tokio::test]
async fn old_records_are_upcast_wherever_they_are_read() {
    let mut log = Log::new().await;
    log.appender
        .append(&batch([event("a", 1, b"old")]))
        .await
        .unwrap();
    let newer = Schema {
        current: 2,
        upcast: |event_type, version, record| {
            let known = (event_type, version, record) == ("Happened", 1, &b"old"[..]);
            known.then(|| b"new".to_vec())
        },
    };
    let mut log = log.reopened(newer).await;
    log.appender
        .append(&batch([event("a", 2, b"new too")]))
        .await
        .unwrap();
    let expected = [&b"\x08\x01new"[..], b"\x08\x02new too"];
    assert_eq!(log.records(0).await, expected);
    assert_eq!(log.reader.history(1, "a").await.unwrap().records, expected);
    let aggregate = Aggregate {
        kind: 1,
        id: "a".into(),
    };
    let loaded = log.appender.load(&[&aggregate], &[]).await.unwrap().events;
    assert_eq!(
        loaded
            .into_iter()
            .map(|event| event.record)
            .collect::<Vec<_>>(),
        expected
    );

    let log = log.reopened(SCHEMA).await;
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

#[tokio::test]
async fn a_log_keeps_its_id() {
    let log = Log::new().await;
    let id = log.reader.log_id().to_owned();
    assert_eq!(log.reopened(SCHEMA).await.reader.log_id(), id);
    assert_ne!(Log::new().await.reader.log_id(), id);
}

#[tokio::test]
async fn a_batch_may_be_larger_than_one_statement() {
    let mut log = Log::new().await;
    let count = ::sqlite::MAX_PARAMETERS / 7 + 1;
    let mut large = batch((1..=count as u64).map(|version| event("a", version, b"x")));
    large.requests = (0..count * 2)
        .map(|index| request(&index.to_string(), Position::InBatch(index % count)))
        .collect();
    log.appender.append(&large).await.unwrap();
    assert_eq!(log.appender.head().await.unwrap(), count as u64);
    assert_eq!(
        log.reader
            .page(0, count as u64, count)
            .await
            .unwrap()
            .records
            .len(),
        count
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    #[test]
    fn any_bytes_come_back_in_pages_of_any_size(
        records in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..40),
        limit in 1usize..50,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut log = Log::new().await;
            let events = (1..).zip(&records).map(|(version, record)| event("a", version, record));
            log.appender.append(&batch(events)).await.unwrap();
            let mut read = Vec::new();
            loop {
                let page = log.reader.page(read.len() as u64, 1000, limit).await.unwrap();
                if page.records.is_empty() {
                    break;
                }
                read.extend(page.records.iter().map(|record| record.slice(2..).to_vec()));
            }
            assert_eq!(read, records);
        });
    }
}
