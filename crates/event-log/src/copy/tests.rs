//! Tests of [`run`]: copies from store to store.

mod backup;

use tempfile::TempDir;
use test_support::postgres::wait_for_advisory_lock;
use tokio::runtime::Handle;

use super::*;
use crate::{Aggregate, Log, NewEvent, NewRequest, PendingPosition, Schema};

const SCHEMA: Schema = Schema {
    current: 3,
    upcast: |_, _, record| Some(record.to_vec()),
};

/// Places for logs: two files and a database.
struct Places {
    file: Location,
    other_file: Location,
    database: Location,
    _folders: [TempDir; 2],
}

impl Places {
    async fn new() -> Self {
        let url = test_support::postgres::database().await;
        let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let file = |folder: &TempDir| Location::File(folder.path().join("events.db"));
        Self {
            file: file(&folders[0]),
            other_file: file(&folders[1]),
            database: Location::Database(url.parse().unwrap()),
            _folders: folders,
        }
    }
}

async fn open(location: &Location) -> Log {
    crate::open(location, SCHEMA, &Handle::current())
        .await
        .unwrap()
}

/// Appends versions `from` through `upto` of an aggregate, each with a request id. The records have
/// schema versions older than the current one.
async fn append(location: &Location, id: &str, from: u64, upto: u64) {
    let mut log = open(location).await;
    let events: Vec<_> = (from..=upto)
        .map(|version| NewEvent {
            aggregate: Aggregate {
                kind: 1,
                id: id.into(),
            },
            version: version.into(),
            event_type: "Happened".into(),
            schema_version: 1 + version as u32 % 2,
            record: format!("{id} {version}").into_bytes(),
        })
        .collect();
    let requests = events
        .iter()
        .enumerate()
        .map(|(index, event)| NewRequest {
            // The ids follow neither the positions nor an order that all collations share.
            id: format!("{}-{id}-\u{e4}{}", event.version.get() % 7, event.version),
            fingerprint: vec![event.version.get() as u8],
            aggregate_id: id.into(),
            version: event.version,
            position: PendingPosition::InBatch(index),
        })
        .collect();
    log.appender
        .append(&Batch { events, requests })
        .await
        .unwrap();
    log.appender.close().await;
}

async fn copy(from: &Location, to: &Location) -> Result<Copied, Error> {
    run(from, to, &mut |_| {}).await
}

/// Returns all rows of a log, as stored.
async fn all(location: &Location) -> (Identity, Vec<NewEvent>, Vec<NewRequest>) {
    let mut contents = Contents::open(location).await.unwrap();
    let all = (
        contents.identity().await.unwrap().unwrap(),
        contents.events(Position::START, 100_000).await.unwrap(),
        contents.requests("", 100_000).await.unwrap(),
    );
    contents.close().await;
    all
}

#[tokio::test]
#[ignore = "needs Postgres"]
async fn log_is_the_same_after_a_copy_there_and_back() {
    let places = Places::new().await;
    append(&places.file, "a", 1, 2500).await;
    let copied = copy(&places.file, &places.database).await.unwrap();
    let (identity, events, requests) = all(&places.file).await;
    assert_eq!(copied.log_id, identity.log_id);
    assert_eq!((copied.events, copied.requests), (2500, 2500));
    assert_eq!(
        all(&places.database).await,
        (identity.clone(), events.clone(), requests)
    );

    append(&places.database, "b", 1, 1200).await;
    let copied = copy(&places.database, &places.file).await.unwrap();
    assert_eq!((copied.events, copied.new_events), (3700, 1200));
    let back = all(&places.file).await;
    assert_eq!(back.0, identity);
    assert_eq!(back.1[..2500], events);
    assert_eq!(all(&places.database).await, back);

    let again = copy(&places.database, &places.file).await.unwrap();
    assert_eq!((again.events, again.new_events), (3700, 0));
    append(&places.file, "c", 1, 1).await;
    copy(&places.file, &places.other_file).await.unwrap();
    assert_eq!(all(&places.file).await, all(&places.other_file).await);
}

/// Runs `work` until `done` rows of `stage` are done, and then drops the future of `work`.
async fn interrupt_at(
    (stage, done): (Stage, u64),
    work: impl AsyncFnOnce(&mut (dyn FnMut(Progress) + Send)) -> Result<(), Error>,
) {
    let (reached, stop) = tokio::sync::oneshot::channel();
    let mut reached = Some(reached);
    let mut report = |progress: Progress| {
        if progress.stage == stage
            && progress.done >= done
            && let Some(reached) = reached.take()
        {
            reached.send(()).unwrap();
        }
    };
    tokio::select! {
        biased;
        reached = stop => reached.unwrap(),
        worked = work(&mut report) => panic!("{worked:?}"),
    }
}

/// Interrupts a copy after `done` rows of `stage`.
async fn interrupt_copy(from: &Location, to: &Location, stage: Stage, done: u64) {
    interrupt_at((stage, done), async |report| {
        run(from, to, report).await.map(drop)
    })
    .await;
}

#[tokio::test]
#[ignore = "needs Postgres"]
async fn interrupted_copy_is_not_opened_and_continues() {
    let places = Places::new().await;
    append(&places.file, "a", 1, 4000).await;
    for (from, to) in [
        (&places.file, &places.database),
        (&places.database, &places.other_file),
    ] {
        for (stage, done) in [
            (Stage::Events, 1000),
            (Stage::Requests, 2000),
            (Stage::Verifying, 3000),
        ] {
            interrupt_copy(from, to, stage, done).await;
            let refused = crate::open(to, SCHEMA, &Handle::current()).await;
            assert!(
                matches!(refused, Err(crate::Error::NotWhole)),
                "{refused:?}"
            );
            let refused = copy(to, from).await;
            assert!(matches!(refused, Err(Error::NotWhole(_))), "{refused:?}");
        }
        let mut first = None;
        let mut report = |progress: Progress| {
            first.get_or_insert(progress.done);
        };
        let copied = run(from, to, &mut report).await.unwrap();
        assert_eq!((copied.events, copied.requests), (4000, 4000));
        assert_eq!(first, Some(4000), "the copied events are not copied twice");
        assert_eq!(all(from).await, all(to).await);
        drop(open(to).await);
    }
}

#[tokio::test]
#[ignore = "needs Postgres"]
async fn copy_rejects_a_target_with_other_events_and_leaves_it_unchanged() {
    let places = Places::new().await;
    let nothing = copy(&places.file, &places.database).await;
    assert!(matches!(nothing, Err(Error::NoLog(_))), "{nothing:?}");
    let nothing = copy(&places.database, &places.file).await;
    assert!(matches!(nothing, Err(Error::NoLog(_))), "{nothing:?}");

    append(&places.file, "a", 1, 3).await;
    append(&places.other_file, "b", 1, 1).await;
    let before = all(&places.other_file).await;
    let taken = copy(&places.file, &places.other_file).await;
    assert!(matches!(taken, Err(Error::OtherLog(_))), "{taken:?}");
    assert_eq!(all(&places.other_file).await, before);

    // A node has opened the database before: it holds a log without events.
    open(&places.database).await.appender.close().await;
    copy(&places.file, &places.database).await.unwrap();
    // From here on, the two logs differ.
    append(&places.file, "a", 4, 4).await;
    append(&places.database, "b", 1, 1).await;
    for (from, to) in [
        (&places.file, &places.database),
        (&places.database, &places.file),
    ] {
        let before = all(to).await;
        let refused = copy(from, to).await;
        assert!(
            matches!(refused, Err(Error::Diverged { position, .. }) if position == 4.into()),
            "{refused:?}"
        );
        assert_eq!(all(to).await, before);
    }
    append(&places.database, "b", 2, 2).await;
    let refused = copy(&places.file, &places.database).await;
    assert!(
        matches!(
            refused,
            Err(Error::Ahead {
                target_head,
                source_head,
                ..
            }) if (target_head, source_head) == (5.into(), 4.into())
        ),
        "{refused:?}"
    );
}

/// Records the reply to a request that appended no event.
async fn record_reply(location: &Location, id: &str) {
    let mut log = open(location).await;
    let request = NewRequest {
        id: id.into(),
        fingerprint: Vec::new(),
        aggregate_id: "a".into(),
        version: 1.into(),
        position: PendingPosition::Known(1.into()),
    };
    let batch = Batch {
        events: Vec::new(),
        requests: vec![request],
    };
    log.appender.append(&batch).await.unwrap();
    log.appender.close().await;
}

#[tokio::test]
#[ignore = "needs Postgres"]
async fn g5_copy_rejects_a_target_with_requests_of_its_own_and_copies_new_ones() {
    let places = Places::new().await;
    append(&places.file, "a", 1, 3).await;
    copy(&places.file, &places.database).await.unwrap();
    for id in ["", "4-a", "~"] {
        record_reply(&places.database, &format!("{id}of the target")).await;
        let before = all(&places.database).await;
        let refused = copy(&places.file, &places.database).await;
        assert!(matches!(refused, Err(Error::Different(_))), "{refused:?}");
        assert_eq!(all(&places.database).await, before, "and it is whole");
    }
    // A copy adds the requests that only the source has.
    copy(&places.database, &places.file).await.unwrap();
    record_reply(&places.file, "5 of the source").await;
    copy(&places.file, &places.database).await.unwrap();
    assert_eq!(all(&places.file).await, all(&places.database).await);
}

#[tokio::test]
#[ignore = "needs Postgres"]
async fn copy_rejects_a_log_in_use() {
    let places = Places::new().await;
    append(&places.file, "a", 1, 3).await;
    let node = open(&places.database).await;
    let used = copy(&places.file, &places.database).await;
    assert!(matches!(used, Err(Error::InUse(_))), "{used:?}");
    let used = copy(&places.database, &places.file).await;
    assert!(matches!(used, Err(Error::InUse(_))), "{used:?}");
    node.appender.close().await;
    drop(node.notifications);
    copy(&places.file, &places.database).await.unwrap();
    let itself = copy(&places.database, &places.database).await;
    assert!(matches!(itself, Err(Error::InUse(_))), "{itself:?}");
    let itself = copy(&places.file, &places.file).await;
    assert!(matches!(itself, Err(Error::SameFile)), "{itself:?}");
    drop(open(&places.file).await);
}

#[tokio::test]
#[ignore = "needs Postgres"]
async fn copy_names_the_row_that_differs() {
    let places = Places::new().await;
    append(&places.file, "a", 1, 1500).await;
    copy(&places.file, &places.other_file).await.unwrap();
    let Location::File(file) = &places.other_file else {
        unreachable!()
    };
    for (damage, named) in [
        (
            "DROP TRIGGER requests_are_never_changed;
            UPDATE requests SET position = 7 WHERE version = 1234",
            "request id \"2-a-\u{e4}1234\"",
        ),
        (
            "DROP TRIGGER events_are_never_changed;
            UPDATE events SET record = x'00' WHERE position = 1234",
            "event 1234",
        ),
    ] {
        let mut connection = crate::sqlite::connect(file).await.unwrap();
        sqlx::raw_sql(damage)
            .execute(&mut connection)
            .await
            .unwrap();
        ::sqlite::close(connection).await;
        let different = copy(&places.file, &places.other_file).await.unwrap_err();
        assert!(
            all(&places.other_file).await.0.whole,
            "it is left as it was"
        );
        assert_eq!(
            different.to_string(),
            format!("the copy differs from its source in {named}")
        );
    }
}

#[tokio::test]
#[ignore = "needs Postgres"]
async fn node_cannot_reconnect_while_its_log_is_copied() {
    let places = Places::new().await;
    append(&places.database, "a", 1, 1).await;
    let mut node = open(&places.database).await;
    let Location::Database(database) = &places.database else {
        unreachable!()
    };
    let mut killer = crate::postgres::connect_to_read(database).await.unwrap();
    let (copying, ()) = tokio::join!(Contents::open(&places.database), async {
        wait_for_advisory_lock(&mut killer).await;
        // The waiting copy is the next to hold the lock.
        sqlx::raw_sql(
            "SELECT pg_terminate_backend(pid) FROM pg_locks
            WHERE locktype = 'advisory' AND granted AND database =
                (SELECT oid FROM pg_database WHERE datname = current_database())",
        )
        .execute(&mut killer)
        .await
        .unwrap();
    });
    let copying = copying.unwrap();
    for _ in 0..2 {
        // The first error may be of the terminated connection.
        node.appender.head().await.unwrap_err();
    }
    let another = crate::open(&places.database, SCHEMA, &Handle::current()).await;
    another.unwrap_err();
    copying.close().await;
    assert_eq!(node.appender.head().await.unwrap(), 1.into());
}
