//! Tests of [`export`] and [`Restore`].

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
};

use super::*;

/// A folder for an exported file.
struct Backup(TempDir);

impl Backup {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("backup.db")
    }

    /// Returns the file as the location of a log.
    fn location(&self) -> Location {
        Location::File(self.file())
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.0.path()).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

async fn export_to(from: &Location, file: &Path) -> Result<Copied, Error> {
    export(from, file, &mut |_| {}).await?.finish()
}

async fn restore(backup: &Backup, to: &Location, log_id: LogId) -> Result<Copied, Error> {
    let restore = Restore::open(&backup.file(), to).await?;
    restore.run(log_id, &mut |_| {}).await
}

/// Part of the request ids that [`append_until_stopped`] records with the log's first event.
const SECOND_ID: &str = "second";

/// Appends batches until `stop` is set, and counts them in `appended`. A batch has an event with a
/// request id, and a second request id whose reply is the log's first event.
async fn append_until_stopped(location: Location, appended: Arc<AtomicU64>, stop: Arc<AtomicBool>) {
    let mut log = open(&location).await;
    for version in 1_u64.. {
        if stop.load(Ordering::SeqCst) {
            break;
        }
        let event = NewEvent {
            aggregate: Aggregate {
                kind: 1,
                id: "meanwhile".into(),
            },
            version: version.into(),
            event_type: "Happened".into(),
            schema_version: 3,
            record: vec![version as u8],
        };
        let request = |id: String, position| NewRequest {
            id,
            fingerprint: Vec::new(),
            aggregate_id: String::new(),
            version: version.into(),
            position,
        };
        // The ids spread over the existing ones, in the order in which a copy reads requests.
        let spread = version % 10;
        let requests = vec![
            request(
                format!("{spread}-new-{version}"),
                PendingPosition::InBatch(0),
            ),
            request(
                format!("{spread}-{SECOND_ID}-{version}"),
                PendingPosition::Known(1.into()),
            ),
        ];
        let events = vec![event];
        log.appender
            .append(&Batch { events, requests })
            .await
            .unwrap();
        appended.fetch_add(1, Ordering::SeqCst);
    }
    log.appender.close().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Postgres"]
async fn g3_g5_export_has_the_log_through_its_head_while_nodes_append() {
    let places = Places::new().await;
    for from in [&places.file, &places.database] {
        append(from, "a", 1, 3000).await;
        let backup = Backup::new();
        let appended = Arc::new(AtomicU64::new(0));
        let stop = Arc::new(AtomicBool::new(false));
        let writer = append_until_stopped(from.clone(), appended.clone(), stop.clone());
        let writer = tokio::spawn(writer);
        let mut stages = Vec::new();
        let mut report = |progress: Progress| {
            // At least one batch is appended before each page, however fast the copy is.
            let seen = appended.load(Ordering::SeqCst);
            while appended.load(Ordering::SeqCst) == seen {
                thread::yield_now();
            }
            stages.push(progress.stage);
        };
        let exported = export(from, &backup.file(), &mut report).await.unwrap();
        stop.store(true, Ordering::SeqCst);
        writer.await.unwrap();
        assert_eq!(backup.names(), ["backup.db.unfinished"]);
        let copied = exported.finish().unwrap();
        assert_eq!(
            backup.names(),
            ["backup.db"],
            "no other file is in the folder"
        );
        stages.dedup();
        assert_eq!(stages, [Stage::Events, Stage::Requests, Stage::Verifying]);

        let head = copied.events;
        assert!((3000..3000 + appended.load(Ordering::SeqCst)).contains(&head));
        let (source, exported_rows) = (all(from).await, all(&backup.location()).await);
        assert_eq!(
            exported_rows.0, source.0,
            "the export has the log's id, and is whole"
        );
        assert_eq!(exported_rows.1[..], source.1[..head as usize]);
        let is_exported =
            |request: &&NewRequest| request.position.resolve(Position::START) <= head.into();
        let through_head: Vec<_> = source.2.iter().filter(is_exported).collect();
        // The export may have read a request of an earlier event before or after its commit.
        let is_certain = |request: &&&NewRequest| !request.id.contains(SECOND_ID);
        let certain: Vec<_> = through_head.iter().filter(is_certain).collect();
        assert_eq!(certain.len() as u64, head);
        for request in certain {
            assert!(exported_rows.2.contains(request), "{request:?}");
        }
        for request in &exported_rows.2 {
            assert!(through_head.contains(&request), "{request:?}");
        }
        assert_eq!(copied.requests, exported_rows.2.len() as u64);
    }
}

#[tokio::test]
#[ignore = "needs Postgres"]
async fn export_needs_no_lock_and_stops_no_append() {
    let places = Places::new().await;
    for from in [&places.file, &places.database] {
        append(from, "a", 1, 10).await;
        let _folder = match from {
            Location::File(file) => Some(::sqlite::Folder::own(file.parent().unwrap()).unwrap()),
            Location::Database(_) => None,
        };
        let node = open(from).await;
        let backup = Backup::new();
        export_to(from, &backup.file()).await.unwrap();
        node.appender.close().await;
        let again = export_to(from, &backup.file()).await;
        assert!(matches!(again, Err(Error::FileExists(_))), "{again:?}");
        assert_eq!(backup.names(), ["backup.db"]);
    }
}

const INTERRUPTIONS: [(Stage, u64); 3] = [
    (Stage::Events, 1000),
    (Stage::Requests, 2000),
    (Stage::Verifying, 3000),
];

#[tokio::test]
#[ignore = "needs Postgres"]
async fn interrupted_export_leaves_no_file_and_continues() {
    let places = Places::new().await;
    for from in [&places.file, &places.database] {
        append(from, "a", 1, 4000).await;
        let (backup, file) = (Backup::new(), Backup::file);
        for moment in INTERRUPTIONS {
            let file = file(&backup);
            interrupt_at(moment, async |report| {
                export(from, &file, report).await.map(drop)
            })
            .await;
            assert_eq!(backup.names(), ["backup.db.unfinished"]);
        }
        append(from, "b", 1, 10).await;
        let copied = export_to(from, &file(&backup)).await.unwrap();
        assert_eq!((copied.events, copied.new_events), (4010, 10));
        assert_eq!(backup.names(), ["backup.db"]);
        assert_eq!(all(from).await, all(&backup.location()).await);
    }
}

#[tokio::test]
#[ignore = "needs Postgres"]
async fn export_rejects_an_unfinished_log_and_an_existing_file() {
    let places = Places::new().await;
    let backup = Backup::new();
    for from in [&places.file, &places.database] {
        let nothing = export_to(from, &backup.file()).await;
        assert!(matches!(nothing, Err(Error::NoLog(_))), "{nothing:?}");
    }
    append(&places.file, "a", 1, 4000).await;
    interrupt_copy(&places.file, &places.database, Stage::Events, 1000).await;
    let part = export_to(&places.database, &backup.file()).await;
    assert!(matches!(part, Err(Error::NotWhole(_))), "{part:?}");
    assert_eq!(backup.names(), Vec::<String>::new());

    let exported = export(&places.file, &backup.file(), &mut |_| {}).await;
    let another = export_to(&places.file, &backup.file()).await.unwrap_err();
    let told = another.to_string();
    assert!(told.ends_with("is in use by another process"), "{told}");
    fs::write(backup.file(), "a letter").unwrap();
    let taken = exported.unwrap().finish();
    assert!(matches!(taken, Err(Error::FileExists(_))), "{taken:?}");
    assert_eq!(fs::read_to_string(backup.file()).unwrap(), "a letter");
}

#[tokio::test]
#[ignore = "needs Postgres"]
async fn g5_restored_log_is_the_same_under_its_id_or_a_new_one() {
    let places = Places::new().await;
    append(&places.file, "a", 1, 2500).await;
    record_reply(&places.file, "changed nothing").await;
    let backup = Backup::new();
    export_to(&places.file, &backup.file()).await.unwrap();
    let before = all(&places.file).await;
    for (to, log_id) in [
        (&places.other_file, LogId::Kept),
        (&places.database, LogId::New),
    ] {
        let copied = restore(&backup, to, log_id).await.unwrap();
        assert_eq!((copied.events, copied.requests), (2500, 2501));
        let after = all(to).await;
        assert_eq!((&after.1, &after.2), (&before.1, &before.2));
        assert_eq!(after.0.log_id, copied.log_id);
        assert_eq!(copied.log_id == before.0.log_id, log_id == LogId::Kept);
        let node = open(to).await;
        assert_eq!(node.reader.log_id(), copied.log_id, "it is served");
        node.appender.close().await;
        drop(node.notifications);

        let occupied = restore(&backup, to, log_id).await;
        assert!(
            matches!(&occupied, Err(Error::Occupied { log_id, .. }) if *log_id == copied.log_id),
            "{occupied:?}"
        );
        assert_eq!(all(to).await, after);
    }
    assert_eq!(
        backup.names(),
        ["backup.db"],
        "no other file is in the folder"
    );
}

#[tokio::test]
#[ignore = "needs Postgres"]
async fn interrupted_restore_is_not_opened_and_continues() {
    let places = Places::new().await;
    append(&places.file, "a", 1, 4000).await;
    let (backup, another) = (Backup::new(), Backup::new());
    export_to(&places.file, &backup.file()).await.unwrap();
    append(&places.other_file, "b", 1, 1).await;
    export_to(&places.other_file, &another.file())
        .await
        .unwrap();
    let to = &places.database;
    for moment in INTERRUPTIONS {
        let restore_new = Restore::open(&backup.file(), to).await.unwrap();
        interrupt_at(moment, async |report| {
            restore_new.run(LogId::New, report).await.map(drop)
        })
        .await;
        // The database notices the end of an interrupted connection a moment later.
        let refused = test_support::eventually("the restore has left the database", async || {
            let refused = crate::open(to, SCHEMA, &Handle::current())
                .await
                .unwrap_err();
            (!refused.to_string().contains("is being copied")).then_some(refused)
        })
        .await;
        assert!(matches!(refused, crate::Error::NotWhole), "{refused:?}");
        let mixed = restore(&another, to, LogId::Kept).await;
        assert!(matches!(mixed, Err(Error::Ahead { .. })), "{mixed:?}");
    }
    let copied = restore(&backup, to, LogId::Kept).await.unwrap();
    assert_eq!((copied.events, copied.new_events), (4000, 0));
    assert_eq!(all(&places.file).await, all(to).await);
}

#[tokio::test]
#[ignore = "needs Postgres"]
async fn restore_rejects_a_store_in_use() {
    let places = Places::new().await;
    append(&places.file, "a", 1, 1).await;
    let backup = Backup::new();
    export_to(&places.file, &backup.file()).await.unwrap();
    let node = open(&places.database).await;
    let used = restore(&backup, &places.database, LogId::Kept).await;
    assert!(matches!(used, Err(Error::InUse(_))), "{used:?}");
    node.appender.close().await;

    let to = &places.other_file;
    let Location::File(file) = to else {
        unreachable!()
    };
    let owner = ::sqlite::Folder::own(file.parent().unwrap()).unwrap();
    let used = restore(&backup, to, LogId::Kept).await.unwrap_err();
    let told = used.to_string();
    assert!(told.ends_with("is in use by another process"), "{told}");
    assert!(!file.exists());
    drop(owner);
    restore(&backup, to, LogId::Kept).await.unwrap();
}
