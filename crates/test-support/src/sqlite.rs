//! Access to the SQLite files of a node, outside the node.

use std::path::Path;

use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Connection as _, SqliteConnection,
    sqlite::SqliteConnectOptions,
};

use crate::DEADLINE;

/// Opens an existing file.
///
/// # Panics
/// Panics if the file does not exist, or is no database.
pub async fn open(file: &Path) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(file);
    options.busy_timeout(DEADLINE).connect().await.unwrap()
}

/// Runs SQL statements on a file.
///
/// # Panics
/// Panics if a statement fails.
pub async fn run(file: &Path, sql: &str) {
    let sql = AssertSqlSafe(sql.to_owned());
    let mut connection = open(file).await;
    sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

/// Drops the triggers of a log that reject changes of events and request ids.
///
/// # Panics
/// Panics if the file is no log, or has no triggers.
pub async fn unlock(log: &Path) {
    let triggers = "DROP TRIGGER events_are_never_changed; DROP TRIGGER events_are_never_deleted;
        DROP TRIGGER requests_are_never_changed; DROP TRIGGER requests_are_never_deleted";
    run(log, triggers).await;
}
