//! Runs the contract suite against a log in SQLite.

use sqlx::{ConnectOptions as _, Connection as _, sqlite::SqliteConnectOptions};
use tempfile::TempDir;

use super::*;
use crate::contract_suite::{Fixture, contract_suite};

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
