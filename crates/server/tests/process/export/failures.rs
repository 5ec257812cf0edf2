//! Tests of exports and restores that fail, and of what they leave.

use std::{ffi::OsStr, fs};

use test_support::{sqlite, wait_until};

use super::{Place, json};
use crate::binary::{failed, failed_in_one_line, orderlog, start, succeeded};

#[tokio::test(flavor = "multi_thread")]
async fn an_export_of_no_log_or_over_an_existing_file_is_refused() {
    let from = Place::in_folder();
    let file = from.file("backup.db");
    let error = failed_in_one_line(&from.export(&file), 1);
    assert!(error.contains("there is no log in sqlite:"), "{error}");

    let node = from.serve(&[]);
    node.clients().await.create("o-1").await;
    succeeded(&from.export(&file));
    let before = fs::read(&file).unwrap();
    let error = failed_in_one_line(&from.export(&file), 1);
    assert!(error.contains("backup.db is there already"), "{error}");
    assert_eq!(fs::read(&file).unwrap(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_over_a_log_or_a_read_model_is_refused() {
    let (from, to) = (Place::in_folder(), Place::in_folder());
    let file = from.file("backup.db");
    let assert_refused = |reason: &str| {
        let error = failed_in_one_line(&to.restore(&file, &[]), 1);
        assert!(error.contains(reason), "{error}");
    };
    assert_refused("there is no log in sqlite:");
    assert!(!to.data_dir().exists());

    let node = from.serve(&[]);
    node.clients().await.create("o-1").await;
    succeeded(&from.export(&file));
    let writes = to.serve(&["--roles", "command"]);
    assert_refused("is in use by another process");
    assert_eq!(writes.shut_down().await, Some(0));
    assert_refused("there is a log in sqlite:");
    fs::remove_file(to.data_dir().join("events.db")).unwrap();
    fs::write(to.data_dir().join("read-7.db"), "").unwrap();
    assert_refused("read-7.db is there");
    fs::remove_file(to.data_dir().join("read-7.db")).unwrap();

    let output = to.restore(&file, &[]);
    let printed = succeeded(&output);
    assert!(
        printed.contains("1 events, up to position 1, and 1 request ids"),
        "{printed}"
    );
    let note = String::from_utf8(output.stderr).unwrap();
    assert_eq!(note.lines().count(), 1, "{note}");
    assert!(note.contains("beyond position 1 are made again"), "{note}");
    assert!(note.contains("--new-log-id"), "{note}");
}

#[test]
fn an_export_from_a_wrong_url_does_not_show_its_password() {
    let mut export = orderlog();
    export.args(["export", "--database-url", "mysql://ann:secret@host/db"]);
    let error = failed(&export.arg("backup.db").output().unwrap(), 2);
    assert!(!error.contains("secret"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_corrupted_or_truncated_export_is_not_restored() {
    let from = Place::in_folder();
    let node = from.serve(&[]);
    let mut clients = node.clients().await;
    clients.create_many("o", 200).await;
    let intact = from.file("backup.db");
    succeeded(&from.export(&intact));
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
        let file = from.file("damaged.db");
        fs::copy(&intact, &file).unwrap();
        sqlite::unlock(&file).await;
        sqlite::run(&file, damage).await;
        let error = failed_in_one_line(&Place::in_folder().restore(&file, &[]), 1);
        assert!(error.contains("damaged.db"), "{error}");
        assert!(error.contains(named), "{error}");
    }
    let cut = from.file("cut.db");
    let bytes = fs::read(&intact).unwrap();
    fs::write(&cut, &bytes[..bytes.len() / 2]).unwrap();
    let error = failed_in_one_line(&Place::in_folder().restore(&cut, &[]), 1);
    assert!(error.contains("cut.db"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_corrupted_log_is_not_exported() {
    let from = Place::in_folder();
    let node = from.serve(&[]);
    node.clients().await.create_many("o", 10).await;
    let log = from.data_dir().join("events.db");
    sqlite::unlock(&log).await;
    sqlite::run(&log, "DELETE FROM requests WHERE position = 7").await;
    let file = from.file("backup.db");
    let error = failed_in_one_line(&from.export(&file), 1);
    assert!(
        error.contains("led to event 7, and is not recorded"),
        "{error}"
    );
    assert!(!file.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_export_leaves_no_file_and_can_be_repeated() {
    let from = Place::in_folder();
    let node = from.serve(&[]);
    node.clients().await.create_many("o", 500).await;
    let file = from.file("backup.db");
    let unfinished = from.file("backup.db.unfinished/events.db");
    let arguments = [OsStr::new("export"), file.as_os_str()];
    let mut killed = from.command(&arguments).spawn().unwrap();
    wait_until("the export has begun", async || unfinished.exists()).await;
    killed.kill().unwrap();
    killed.wait().unwrap();
    // The export renames its file only when it is complete.
    if unfinished.exists() {
        assert!(!file.exists());
        succeeded(&from.export(&file));
    }
    assert!(!unfinished.exists());
    let to = Place::in_folder();
    let restored = json(&to.restore(&file, &["--json"]));
    assert_eq!(restored["events"], 500);
}

#[test]
fn an_export_into_a_missing_folder_is_refused_and_creates_no_folder() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    drop(start(&data));
    let backups = folder.path().join("not-mounted");
    let mut export = orderlog();
    export.args(["export", "--data-dir"]).arg(&data);
    let error = failed(&export.arg(backups.join("orders.db")).output().unwrap(), 1);
    assert!(error.contains("No such file or directory"), "{error}");
    assert!(!backups.exists());
}
