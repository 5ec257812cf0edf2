//! Opening SQLite files safely, and writing many rows at once.
//!
//! Both of orderlog's files (`events.db`, the log; `read.db`, the documents) have one writer
//! connection and a pool of read-only ones. [`Folder`] makes sure that one process owns them,
//! [`writer`] refuses a file that is not ours before anything in it changes, as does [`reader`], which
//! needs not own it; and [`values`] writes the text of a multi-row `VALUES`, whose contents are always
//! bound.

mod folder;

use std::{
    fs::File,
    path::{Path, PathBuf},
    time::Duration,
};

pub use folder::Folder;
use sqlx::{
    ConnectOptions as _, Connection as _, SqliteConnection, SqlitePool,
    migrate::{MigrateError, Migrator},
    sqlite::{SqliteConnectOptions, SqlitePoolOptions, SqliteSynchronous},
};

/// `PRAGMA application_id` of our files: "ordl".
const APPLICATION_ID: i32 = 0x6f72_646c;

/// Before 3.51.3 a WAL can be corrupted when it is reset.
const OLDEST_SAFE: (u32, u32, u32) = (3, 51, 3);

/// Bound parameters in one statement, as SQLite is compiled by default.
pub const MAX_PARAMETERS: usize = 32_766;

/// Why a file or folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The folder's lock is held.
    #[error("the data folder {0} is in use by another process")]
    Owned(PathBuf),
    /// The folder or its lock cannot be made.
    #[error("the data folder {0} cannot be used: {1}")]
    Folder(PathBuf, #[source] std::io::Error),
    /// The file exists and is no SQLite database.
    #[error("{0} is not a database")]
    NotADatabase(PathBuf),
    /// The file is a SQLite database that something else made.
    #[error("{0} is a database, but not one of orderlog's")]
    Foreign(PathBuf),
    /// A newer version of orderlog has written the file.
    #[error("{0} was written by a newer version of orderlog")]
    Newer(PathBuf),
    /// The linked SQLite library has the WAL-reset bug.
    #[error("this build has SQLite {0}, which can corrupt a database; 3.51.3 or later is needed")]
    UnsafeLibrary(String),
    /// Anything else that SQLite says.
    #[error("{0}: {1}")]
    Sqlite(PathBuf, #[source] sqlx::Error),
}

/// What a commit waits for, and how large the write-ahead log grows between check-pointings.
#[derive(Debug, Clone, Copy)]
pub struct Durability {
    /// True: a commit is on the disk when it returns. False: after power loss the file is whole,
    /// but may be older.
    pub every_commit: bool,
    /// Pages in the write-ahead log after which they are moved to the main file.
    pub checkpoint_pages: u32,
}

/// Opens `path` for writing, makes it if it is missing, and brings its schema up to date.
///
/// # Errors
/// When the file is not ours, is newer than this program, or cannot be opened; nothing has
/// changed then.
pub async fn writer(
    path: &Path,
    migrations: &Migrator,
    durability: Durability,
) -> Result<SqliteConnection, Error> {
    let failed = |error| sqlite_error(path, error);
    let mut connection = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .busy_timeout(Duration::from_secs(5))
        .synchronous(if durability.every_commit {
            SqliteSynchronous::Full
        } else {
            SqliteSynchronous::Normal
        })
        .pragma(
            "wal_autocheckpoint",
            durability.checkpoint_pages.to_string(),
        )
        .disable_statement_logging()
        .connect()
        .await
        .map_err(failed)?;
    check_library(path, &mut connection).await?;
    if is_new(path, &mut connection).await? {
        let set = format!("PRAGMA application_id = {APPLICATION_ID}");
        sqlx::raw_sql(sqlx::AssertSqlSafe(set))
            .execute(&mut connection)
            .await
            .map_err(failed)?;
    }
    sqlx::raw_sql("PRAGMA journal_mode = WAL")
        .execute(&mut connection)
        .await
        .map_err(failed)?;
    // Not `run`, whose future cannot be spawned.
    migrations
        .run_direct(None, &mut connection, false)
        .await
        .map_err(|error| match error {
            MigrateError::VersionMissing(_) => Error::Newer(path.to_owned()),
            MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => {
                failed(error)
            }
            other => failed(sqlx::Error::Migrate(Box::new(other))),
        })?;
    Ok(connection)
}

/// Opens a file that others may be writing, to read it: nothing in it changes.
///
/// # Errors
/// When the file is not ours, is newer than this program, or cannot be opened.
pub async fn reader(path: &Path, migrations: &Migrator) -> Result<SqliteConnection, Error> {
    let failed = |error| sqlite_error(path, error);
    let mut connection = read_only(path).connect().await.map_err(failed)?;
    check_library(path, &mut connection).await?;
    if is_new(path, &mut connection).await? {
        return Err(Error::Foreign(path.to_owned()));
    }
    let newest: i64 = sqlx::query_scalar("SELECT coalesce(max(version), 0) FROM _sqlx_migrations")
        .fetch_one(&mut connection)
        .await
        .map_err(failed)?;
    if newest > 0 && !migrations.version_exists(newest) {
        return Err(Error::Newer(path.to_owned()));
    }
    Ok(connection)
}

fn read_only(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .read_only(true)
        .busy_timeout(Duration::from_secs(5))
        .disable_statement_logging()
}

/// Read-only connections to a file that [`writer`] or [`reader`] has opened.
///
/// # Errors
/// When the file cannot be opened.
pub async fn readers(path: &Path, connections: u32) -> Result<SqlitePool, Error> {
    SqlitePoolOptions::new()
        // All of them now and for good, so that they run at the priority of the caller's thread,
        // whoever is the first to use one.
        .min_connections(connections)
        .max_connections(connections)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
        .connect_with(read_only(path))
        .await
        .map_err(|error| sqlite_error(path, error))
}

/// Closes a writer, after its write-ahead log is folded into the file, also while readers have it
/// open.
pub async fn close(mut connection: SqliteConnection) {
    // A log that is not folded in now is folded in at the next start.
    let _ = sqlx::raw_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        .execute(&mut connection)
        .await;
    let _ = connection.close().await;
}

/// Closes a writer whose file nobody else has open, and leaves all of it in that one file, on the
/// disk, with nothing beside it.
///
/// # Errors
/// When somebody else has it open, or it cannot be written.
pub async fn close_alone(path: &Path, mut connection: SqliteConnection) -> Result<(), Error> {
    let failed = |error| sqlite_error(path, error);
    sqlx::raw_sql("PRAGMA journal_mode = DELETE")
        .execute(&mut connection)
        .await
        .map_err(failed)?;
    connection.close().await.map_err(failed)?;
    let synced = File::open(path).and_then(|file| file.sync_all());
    synced.map_err(|error| failed(error.into()))
}

async fn check_library(path: &Path, connection: &mut SqliteConnection) -> Result<(), Error> {
    let version: String = sqlx::query_scalar("SELECT sqlite_version()")
        .fetch_one(connection)
        .await
        .map_err(|error| sqlite_error(path, error))?;
    let mut parts = version
        .split('.')
        .map(|part| part.parse::<u32>().unwrap_or(0));
    let mut next = || parts.next().unwrap_or(0);
    if (next(), next(), next()) < OLDEST_SAFE {
        return Err(Error::UnsafeLibrary(version));
    }
    Ok(())
}

/// Whether there is nothing in the file yet; fails when there is something that is not ours.
async fn is_new(path: &Path, connection: &mut SqliteConnection) -> Result<bool, Error> {
    let (id, tables): (i32, i64) = sqlx::query_as(
        "SELECT application_id, (SELECT count(*) FROM sqlite_schema) FROM pragma_application_id",
    )
    .fetch_one(connection)
    .await
    .map_err(|error| sqlite_error(path, error))?;
    match (id, tables) {
        (APPLICATION_ID, _) => Ok(false),
        (0, 0) => Ok(true),
        _ => Err(Error::Foreign(path.to_owned())),
    }
}

fn sqlite_error(path: &Path, error: sqlx::Error) -> Error {
    const NOT_A_DATABASE: &str = "26";
    match error.as_database_error().and_then(|error| error.code()) {
        Some(code) if code == NOT_A_DATABASE => Error::NotADatabase(path.to_owned()),
        _ => Error::Sqlite(path.to_owned(), error),
    }
}

/// Appends `VALUES (?,...),(?,...)`: `rows` rows of `columns` parameters each.
pub fn values(sql: &mut String, rows: usize, columns: usize) {
    let row = format!("({}?)", "?,".repeat(columns.saturating_sub(1)));
    sql.reserve(8 + rows * (row.len() + 1));
    sql.push_str("VALUES ");
    for index in 0..rows {
        if index > 0 {
            sql.push(',');
        }
        sql.push_str(&row);
    }
}

#[cfg(test)]
mod tests;
