//! Runs the contract suite against a log in SQLite.

use std::time::{Duration, Instant};

use sqlx::{ConnectOptions as _, Connection as _, sqlite::SqliteConnectOptions};
use tempfile::TempDir;

use super::*;
use crate::PendingPosition;
use crate::contract_suite::{Fixture, SCHEMA, batch, contract_suite, event, records, request};

/// A temporary folder for `events.db`.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }
}

#[async_trait::async_trait]
impl Fixture for Folder {
    async fn open(&self, schema: Schema) -> Log {
        open(&self.0.path().join("events.db"), schema)
            .await
            .unwrap()
    }

    async fn execute(&self, sql: &'static str) -> Result<(), sqlx::Error> {
        let options = SqliteConnectOptions::new().filename(self.0.path().join("events.db"));
        let mut connection = options.connect().await?;
        sqlx::raw_sql(sql).execute(&mut connection).await?;
        connection.close().await
    }

    fn delete_first(&self) -> &'static str {
        "DROP TRIGGER events_are_never_deleted; DELETE FROM events WHERE position = 1"
    }
}

contract_suite!(Folder::new());

#[tokio::test]
async fn database_rejects_replacements_from_any_program() {
    let folder = Folder::new();
    let mut log = folder.open(SCHEMA).await;
    let mut two = batch([event("a", 1, b"x"), event("a", 2, b"y")]);
    two.requests.push(request("r", PendingPosition::InBatch(0)));
    log.appender.append(&two).await.unwrap();
    for sql in [
        "INSERT OR REPLACE INTO events VALUES (1, 1, 'other', 1, 'Happened', 1, x'00')",
        "REPLACE INTO events VALUES (2, 1, 'other', 1, 'Happened', 1, x'00')",
        "INSERT OR REPLACE INTO events VALUES (3, 1, 'a', 1, 'Happened', 1, x'00')",
        "INSERT OR REPLACE INTO requests VALUES ('r', x'00', 'a', 2, 2)",
    ] {
        let refused = folder.execute(sql).await.unwrap_err().to_string();
        assert!(refused.contains("append-only"), "{sql}: {refused}");
    }
    let expected = [&b"\x08\x01x"[..], b"\x08\x02y"];
    assert_eq!(records(&log, 0).await, expected);
    let loaded = log.appender.load(&[], &["r"], false).await.unwrap();
    assert_eq!(loaded.requests[0].fingerprint, [1, 2, 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn few_events_with_large_records_have_their_log_moved_too() {
    const LARGE: &[u8] = &[0; 1 << 20];
    let folder = Folder::new();
    let mut log = folder.open(SCHEMA).await;
    // So many that the next growth is checked, and less than what a commit moves by itself.
    for version in 1..=20 {
        let one = batch([event("a", version, LARGE)]);
        log.appender.append(&one).await.unwrap();
    }
    let file = folder.0.path().join("events.db");
    let deadline = Instant::now() + Duration::from_secs(30);
    while std::fs::metadata(&file).unwrap().len() < 8 << 20 {
        assert!(Instant::now() < deadline, "nothing is moved");
        tokio::task::yield_now().await;
    }
}
