//! Tests of exporting a log in use, and of clients after a restore.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::Output,
};

use contract::orders::v1::*;
use e2e::{Clients, Process};
use sqlx::{ConnectOptions as _, sqlite::SqliteConnectOptions};
use tempfile::TempDir;
use test_support::{eventually, order, postgres, reason};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::Code;

use crate::binary::{orderlog, serve, start};

/// The storage of a node: a folder, and a database if the log is not in the folder.
struct Place {
    folder: TempDir,
    database: Option<String>,
}

impl Place {
    fn in_folder() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            database: None,
        }
    }

    async fn in_database() -> Self {
        Self {
            database: Some(postgres::database().await),
            ..Self::in_folder()
        }
    }

    fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn command(&self, arguments: &[&OsStr]) -> std::process::Command {
        let mut command = orderlog();
        command.env("ORDERLOG_DATA_DIR", self.data_dir());
        if let Some(database) = &self.database {
            command.env("ORDERLOG_DATABASE_URL", database);
        }
        command.args(arguments);
        command
    }

    fn serve(&self, more: &[&str]) -> Process {
        let mut serve = serve(&self.data_dir());
        if let Some(database) = &self.database {
            serve.env("ORDERLOG_DATABASE_URL", database);
        }
        serve.args(more);
        serve.into()
    }

    fn export(&self, file: &Path) -> Output {
        let arguments = [OsStr::new("export"), file.as_os_str()];
        self.command(&arguments).output().unwrap()
    }

    fn restore(&self, file: &Path, more: &[&str]) -> Output {
        let arguments = [OsStr::new("restore"), file.as_os_str()];
        self.command(&arguments).args(more).output().unwrap()
    }
}

/// Returns the output of a command that succeeded.
fn said(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Returns the only error line of a command that failed with exit code 1.
fn failed(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let told = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(told.lines().count(), 1, "{told}");
    told
}

/// Parses the output of a command that ran with `--json`.
fn json(output: &Output) -> serde_json::Value {
    serde_json::from_str(&said(output)).unwrap()
}

async fn head(clients: &mut Clients) -> GetHeadResponse {
    let head = clients.events.get_head(GetHeadRequest {}).await.unwrap();
    head.into_inner()
}

/// Creates an order and returns the position in the reply.
async fn create(clients: &mut Clients, create: &CreateOrderRequest) -> u64 {
    let created = clients.commands.create_order(create.clone()).await;
    created.unwrap().into_inner().position
}

/// Creates orders until `stop` is cancelled, and returns them in the order of their positions.
fn create_until(process: &Process, stop: CancellationToken) -> JoinHandle<Vec<CreateOrderRequest>> {
    let url = process.url().to_owned();
    tokio::spawn(async move {
        let mut clients = Clients::connect(&url).await.unwrap();
        let mut created = Vec::new();
        while !stop.is_cancelled() {
            let next = order::create("", "ann");
            create(&mut clients, &next).await;
            created.push(next);
        }
        created
    })
}

/// Returns the error code and reason of a rejected subscription.
async fn refused(clients: &mut Clients, after_position: u64, log_id: &str) -> (Code, String) {
    let subscribe = SubscribeRequest {
        after_position,
        log_id: log_id.to_owned(),
        ..SubscribeRequest::default()
    };
    let refused = clients.events.subscribe(subscribe).await.unwrap_err();
    (refused.code(), reason(&refused))
}

/// Exports the log of a node under continuous writes, and restores it.
async fn check_backup(from: &Place, to: [&Place; 2]) {
    let node = from.serve(&[]);
    let mut clients = node.clients().await;
    let first = order::create("o-1", "ann");
    assert_eq!(create(&mut clients, &first).await, 1);
    let stop = CancellationToken::new();
    let writing = create_until(&node, stop.clone());
    let file = from.folder.path().join("backup.db");
    // The export starts while orders are written.
    eventually("some are there", async || {
        (clients.head().await > 100).then_some(())
    })
    .await;
    let exported = said(&from.export(&file));
    let at_the_end = clients.head().await;
    eventually("it goes on", async || {
        (clients.head().await > at_the_end + 10).then_some(())
    })
    .await;
    stop.cancel();
    let created = writing.await.unwrap();
    let lost = head(&mut clients).await;
    assert_eq!(created.len() as u64, lost.position - 1);
    assert_eq!(node.terminate(), Some(0));

    let kept = json(&to[0].restore(&file, &["--json"]));
    assert_eq!(kept["logId"], lost.log_id);
    let end = kept["headPosition"].as_u64().unwrap();
    assert!((101..=at_the_end).contains(&end), "{end} of {at_the_end}");
    assert_eq!(
        (&kept["events"], &kept["requests"]),
        (&end.into(), &end.into())
    );
    assert!(exported.contains(&lost.log_id), "{exported}");

    let renewed = to[1].restore(&file, &["--new-log-id", "--json"]);
    assert_eq!(renewed.stderr, b"", "nothing to be warned of");
    let renewed = json(&renewed);
    assert_ne!(renewed["logId"], lost.log_id);

    for (to, log_id) in to.into_iter().zip([&kept["logId"], &renewed["logId"]]) {
        let log_id = log_id.as_str().unwrap();
        let node = to.serve(&[]);
        let mut clients = node.clients().await;
        let restored = head(&mut clients).await;
        assert_eq!((restored.position, restored.log_id.as_str()), (end, log_id));
        let beyond = refused(&mut clients, end + 1, log_id).await;
        let expected = (Code::OutOfRange, "POSITION_BEYOND_HEAD".to_owned());
        assert_eq!(beyond, expected);
        if log_id != lost.log_id {
            // The server rejects another log id at any position.
            for position in [1, lost.position] {
                let other = refused(&mut clients, position, &lost.log_id).await;
                let expected = (Code::FailedPrecondition, "LOG_MISMATCH".to_owned());
                assert_eq!(other, expected);
            }
        }
        // A repeated command in the export returns its old position. A command lost since the
        // export takes effect.
        assert_eq!(create(&mut clients, &first).await, 1);
        for (repeated, position) in created.iter().zip(2..) {
            assert_eq!(create(&mut clients, repeated).await, position);
        }
        assert_eq!(clients.head().await, lost.position);
        node.ask(["verify"]);
        assert_eq!(node.terminate(), Some(0));
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Postgres"]
async fn g3_g5_a_log_is_exported_while_it_is_written_and_restored_as_it_was() {
    let kept = Place::in_folder();
    let renewed = Place::in_database().await;
    check_backup(&Place::in_folder(), [&kept, &renewed]).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Postgres"]
async fn g3_g5_a_log_is_exported_while_it_is_written_and_restored_as_it_was_from_postgres() {
    let (from, kept) = (Place::in_database().await, Place::in_database().await);
    check_backup(&from, [&kept, &Place::in_folder()]).await;
}

/// Returns the status of the documents of a query node.
async fn documents(clients: &mut Clients) -> ProjectionStatus {
    let status = clients.projections.get_status(GetStatusRequest {}).await;
    let projections = status.unwrap().into_inner().projections;
    let documents = projections.into_iter().find(|one| one.name == "documents");
    documents.unwrap()
}

/// Checks a read model that is ahead of a restored log. The node stops with `error` and keeps its
/// position.
async fn follow_restored(more: &[&str], error: &str) {
    let (from, to, reads) = (Place::in_folder(), Place::in_folder(), Place::in_folder());
    let file = from.folder.path().join("backup.db");
    let node = from.serve(&[]);
    let mut clients = node.clients().await;
    create(&mut clients, &order::create("o-1", "ann")).await;
    said(&from.export(&file));
    for id in ["lost-1", "lost-2"] {
        create(&mut clients, &order::create(id, "ann")).await;
    }
    let reading = reads.serve(&["--roles", "query", "--events-url", node.url()]);
    reading.clients().await.order("lost-2", 3).await;
    assert_eq!(reading.terminate(), Some(0));
    assert_eq!(node.terminate(), Some(0));

    said(&to.restore(&file, more));
    let node = to.serve(&[]);
    let reading = reads.serve(&["--roles", "query", "--events-url", node.url()]);
    let mut clients = reading.clients().await;
    let failing = eventually("it is refused", async || {
        let status = documents(&mut clients).await;
        (status.state() == ProjectionState::Failing).then_some(status)
    })
    .await;
    assert!(failing.error.contains(error), "{}", failing.error);
    assert_eq!(failing.position, 3, "it is left as it was");
    assert!(!reading.run(["status", "--ready"]).status.success());

    // An operator recovers by deleting the read model, which the node rebuilds from the log.
    assert_eq!(reading.terminate(), Some(0));
    fs::remove_dir_all(reads.data_dir()).unwrap();
    let reading = reads.serve(&["--roles", "query", "--events-url", node.url()]);
    let mut written = node.clients().await;
    let position = create(&mut written, &order::create("o-2", "ann")).await;
    assert_eq!(position, 2);
    reading.clients().await.order("o-2", position).await;
    reading.ask(["verify"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_model_that_is_beyond_a_restored_log_is_refused() {
    follow_restored(&[], "after_position is 3, but the log ends at 1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_model_of_the_log_of_before_is_refused() {
    follow_restored(&["--new-log-id"], "but this log is").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_the_way_is_named() {
    let (from, to) = (Place::in_folder(), Place::in_folder());
    let file = from.folder.path().join("backup.db");
    let told = failed(&from.export(&file));
    assert!(told.contains("there is no log in sqlite:"), "{told}");
    let told = failed(&to.restore(&file, &[]));
    assert!(told.contains("there is no log in sqlite:"), "{told}");
    assert!(!to.data_dir().exists());

    let node = from.serve(&[]);
    create(&mut node.clients().await, &order::create("o-1", "ann")).await;
    said(&from.export(&file));
    let before = fs::read(&file).unwrap();
    let told = failed(&from.export(&file));
    assert!(told.contains("backup.db is there already"), "{told}");
    assert_eq!(fs::read(&file).unwrap(), before);

    let writes = to.serve(&["--roles", "command"]);
    let told = failed(&to.restore(&file, &[]));
    assert!(told.contains("is in use by another process"), "{told}");
    assert_eq!(writes.terminate(), Some(0));
    let told = failed(&to.restore(&file, &[]));
    assert!(told.contains("there is a log in sqlite:"), "{told}");
    fs::remove_file(to.data_dir().join("events.db")).unwrap();
    fs::write(to.data_dir().join("read-7.db"), "").unwrap();
    let told = failed(&to.restore(&file, &[]));
    assert!(told.contains("read-7.db is there"), "{told}");
    fs::remove_file(to.data_dir().join("read-7.db")).unwrap();

    let output = to.restore(&file, &[]);
    let note = String::from_utf8(output.stderr.clone()).unwrap();
    assert!(note.contains("beyond position 1 are refused"), "{note}");
    assert!(note.contains("--new-log-id"), "{note}");
    assert_eq!(note.lines().count(), 1, "{note}");
    let text = said(&output);
    assert!(
        text.contains("1 events, up to position 1, and 1 request ids"),
        "{text}"
    );

    let mut wrong = orderlog();
    wrong.args(["export", "--database-url", "mysql://ann:secret@host/db"]);
    let wrong = wrong.arg(&file).output().unwrap();
    assert_eq!(wrong.status.code(), Some(2));
    assert!(!String::from_utf8(wrong.stderr).unwrap().contains("secret"));
}

/// Drops the triggers that protect events and requests, and runs `sql` on the file.
async fn change(file: &Path, sql: &'static str) {
    const TRIGGERS: &str = "
        DROP TRIGGER events_are_never_changed; DROP TRIGGER events_are_never_deleted;
        DROP TRIGGER requests_are_never_changed; DROP TRIGGER requests_are_never_deleted";
    let options = SqliteConnectOptions::new().filename(file);
    let mut other = options.connect().await.unwrap();
    for sql in [TRIGGERS, sql] {
        sqlx::raw_sql(sql).execute(&mut other).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_damaged_is_neither_restored_nor_exported() {
    let from = Place::in_folder();
    let node = from.serve(&[]);
    let mut clients = node.clients().await;
    for index in 0..200 {
        create(&mut clients, &order::create(&format!("o-{index}"), "ann")).await;
    }
    let whole = from.folder.path().join("backup.db");
    said(&from.export(&whole));
    for (damage, named) in [
        (
            "DELETE FROM events WHERE position = 7",
            "event 7 is missing",
        ),
        (
            "UPDATE events SET version = 2 WHERE position = 7",
            "event 7 is version 2 of",
        ),
        (
            "UPDATE events SET record = x'0fff' WHERE position = 7",
            "event 7 cannot be read",
        ),
        (
            "DELETE FROM requests WHERE position = 7",
            "led to event 7, and is not recorded",
        ),
        (
            "UPDATE requests SET position = 9999 WHERE position = 7",
            "is damaged: request id",
        ),
    ] {
        let (to, file) = (Place::in_folder(), from.folder.path().join("damaged.db"));
        fs::copy(&whole, &file).unwrap();
        change(&file, damage).await;
        let told = failed(&to.restore(&file, &[]));
        assert!(told.contains("damaged.db"), "{told}");
        assert!(told.contains(named), "{told}");
    }
    let cut = from.folder.path().join("cut.db");
    let bytes = fs::read(&whole).unwrap();
    fs::write(&cut, &bytes[..bytes.len() / 2]).unwrap();
    let told = failed(&Place::in_folder().restore(&cut, &[]));
    assert!(told.contains("cut.db"), "{told}");

    let log = from.data_dir().join("events.db");
    change(&log, "DELETE FROM requests WHERE position = 7").await;
    let file = from.folder.path().join("another.db");
    let told = failed(&from.export(&file));
    assert!(
        told.contains("led to event 7, and is not recorded"),
        "{told}"
    );
    assert!(!file.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_that_is_killed_leaves_no_file_and_goes_on() {
    let from = Place::in_folder();
    let node = from.serve(&[]);
    let mut clients = node.clients().await;
    for index in 0..500 {
        create(&mut clients, &order::create(&format!("o-{index}"), "ann")).await;
    }
    let file = from.folder.path().join("backup.db");
    let unfinished = from.folder.path().join("backup.db.unfinished/events.db");
    let arguments = [OsStr::new("export"), file.as_os_str()];
    let mut killed = from.command(&arguments).spawn().unwrap();
    eventually("it has begun", async || unfinished.exists().then_some(())).await;
    killed.kill().unwrap();
    killed.wait().unwrap();
    // The export renames its file only when it is complete.
    if unfinished.exists() {
        assert!(!file.exists());
        said(&from.export(&file));
    }
    assert!(!unfinished.exists());
    let to = Place::in_folder();
    let restored = json(&to.restore(&file, &["--json"]));
    assert_eq!(restored["events"], 500);
}

#[test]
fn an_export_does_not_make_the_folder_it_is_to_be_in() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    drop(start(&data));
    let backups = folder.path().join("not-mounted");
    let mut export = orderlog();
    export.args(["export", "--data-dir"]).arg(&data);
    let refused = export.arg(backups.join("orders.db")).output().unwrap();
    assert_eq!(refused.status.code(), Some(1));
    let told = String::from_utf8(refused.stderr).unwrap();
    assert!(told.contains("No such file or directory"), "{told}");
    assert!(!backups.exists());
}
