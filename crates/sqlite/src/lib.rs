//! Opens SQLite files safely, and builds multi-row inserts.
//!
//! Each of orderlog's files (`events.db`, the log; `read.db`, the documents) has one writer
//! connection and a pool of read-only ones.
//!
//! - [`Folder`] locks the data folder for one process.
//! - [`keep_temporary_files_in`] names the folder of SQLite's temporary files.
//! - [`writer`] opens a file for writing and migrates its schema. A file that is not orderlog's is
//!   rejected before it changes.
//! - [`readers`] opens the pool of read-only connections.
//! - [`reader`] opens a file read-only, also while another process owns it.
//! - [`WalLimit`] keeps the write-ahead log small, and [`wal_path`] names its file.
//! - [`close`] folds the write-ahead log into the file. [`close_as_one_file`] leaves a single file.
//! - [`values`] writes the text of a multi-row `VALUES` with bound parameters.

mod folder;
mod wal;

use std::{
    ffi::OsString,
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
pub use wal::WalLimit;

/// The `PRAGMA application_id` of orderlog's files: "ordl" in ASCII.
const APPLICATION_ID: i32 = 0x6f72_646c;

/// The oldest version of SQLite that is safe: earlier ones can corrupt a WAL when they reset it.
const MIN_LIBRARY_VERSION: (u32, u32, u32) = (3, 51, 3);

/// The time for which a statement waits for a lock.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// The size in bytes that the file of the write-ahead log keeps when SQLite begins the log anew:
/// 32 MiB, which it has then if no read delays that. Overwriting is faster than growing.
const KEPT_WAL_BYTES: u32 = 32 << 20;

/// Limits the bound parameters of one statement: SQLite's compile-time default.
pub const MAX_PARAMETERS: usize = 32_766;

/// The reason for which a file or folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another process holds the folder's lock.
    #[error("the data folder {0} is in use by another process")]
    Owned(PathBuf),
    /// The folder or its lock file cannot be created or opened.
    #[error("the data folder {0} cannot be used: {1}")]
    Folder(PathBuf, #[source] std::io::Error),
    /// Another user could change the files in the folder.
    #[error("the data folder {0} is not safe: {1}")]
    Unsafe(PathBuf, &'static str),
    /// The file exists and is not a SQLite database.
    #[error("{0} is not a database")]
    NotADatabase(PathBuf),
    /// The file is a SQLite database of another program.
    #[error("{0} is a database, but not one of orderlog's")]
    Foreign(PathBuf),
    /// A newer version of orderlog has written the file.
    #[error("{0} was written by a newer version of orderlog")]
    Newer(PathBuf),
    /// The linked SQLite library has the WAL-reset bug.
    #[error("this build has SQLite {0}, which can corrupt a database; 3.51.3 or later is needed")]
    UnsafeLibrary(String),
    /// SQLite returned any other error.
    #[error("{0}: {1}")]
    Sqlite(PathBuf, #[source] sqlx::Error),
}

/// Makes SQLite put its temporary files into `folder`, for the whole process. It would use the system's
/// folder otherwise, which a container may not have.
///
/// # Errors
/// [`Error::Sqlite`] when the folder is not writable.
pub async fn keep_temporary_files_in(folder: &Path) -> Result<(), Error> {
    let failed = |error| Error::Sqlite(folder.to_owned(), error);
    let quoted = folder.to_string_lossy().replace('\'', "''");
    let memory = SqliteConnectOptions::new().in_memory(true);
    let memory = memory.pragma("temp_store_directory", format!("'{quoted}'"));
    memory
        .connect()
        .await
        .map_err(failed)?
        .close()
        .await
        .map_err(failed)
}

/// Makes the sorts of a connection use temporary files, so that the index of a large table, when it is
/// created, takes no memory in proportion.
pub const SORT_IN_FILES: &str = "PRAGMA temp_store = FILE";

/// Makes a connection use memory for what is temporary, which is faster in small statements. This is
/// the setting of a new connection.
pub const SORT_IN_MEMORY: &str = "PRAGMA temp_store = MEMORY";

/// Opens `path` for writing, creates it if it is missing, and migrates its schema.
///
/// With [`SqliteSynchronous::Full`], a commit is on the disk when it returns. With
/// [`SqliteSynchronous::Normal`], a power loss may undo the last commits, but does not damage the file.
///
/// # Errors
/// - [`Error::NotADatabase`] and [`Error::Foreign`] when the file is not orderlog's.
/// - [`Error::Newer`] when a newer version of orderlog has migrated the file.
/// - [`Error::UnsafeLibrary`] when the linked SQLite has the WAL-reset bug.
/// - [`Error::Sqlite`] when SQLite fails otherwise, for example in a migration.
///
/// An existing file is unchanged after each of them but [`Error::Sqlite`].
pub async fn writer(
    path: &Path,
    migrations: &Migrator,
    synchronous: SqliteSynchronous,
) -> Result<SqliteConnection, Error> {
    let failed = |error| sqlite_error(path, error);
    let mut connection = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .busy_timeout(BUSY_TIMEOUT)
        .synchronous(synchronous)
        .pragma("journal_size_limit", KEPT_WAL_BYTES.to_string())
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
    run_pragma(&mut connection, "PRAGMA journal_mode = WAL")
        .await
        .map_err(failed)?;
    run_pragma(&mut connection, SORT_IN_FILES)
        .await
        .map_err(failed)?;
    // The future of `run` cannot be spawned.
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
    run_pragma(&mut connection, SORT_IN_MEMORY)
        .await
        .map_err(failed)?;
    Ok(connection)
}

async fn run_pragma(
    connection: &mut SqliteConnection,
    pragma: &'static str,
) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(pragma).execute(connection).await.map(|_| ())
}

/// Opens a file read-only, also while another process writes it.
///
/// # Errors
/// - [`Error::NotADatabase`] and [`Error::Foreign`] when the file is not orderlog's.
/// - [`Error::Newer`] when a newer version of orderlog has migrated the file.
/// - [`Error::UnsafeLibrary`] when the linked SQLite has the WAL-reset bug.
/// - [`Error::Sqlite`] when SQLite fails otherwise.
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
        .busy_timeout(BUSY_TIMEOUT)
        .disable_statement_logging()
}

/// Opens a pool of read-only connections to a file that [`writer`] or [`reader`] has checked. The
/// progress handler that a read gives its connection ends with the read.
///
/// # Errors
/// [`Error::Sqlite`] or [`Error::NotADatabase`] when the file cannot be opened.
pub async fn readers(path: &Path, connections: u32) -> Result<SqlitePool, Error> {
    // Opens all connections now, so that their threads run at the priority of the caller's thread. A
    // connection opened later would run at another thread's priority.
    let pool = pool(connections).min_connections(connections);
    let pool = pool.after_release(|connection, _| {
        Box::pin(async move {
            connection.lock_handle().await?.remove_progress_handler();
            Ok(true)
        })
    });
    let pool = pool.connect_with(read_only(path)).await;
    pool.map_err(|error| sqlite_error(path, error))
}

/// Returns the options of a pool that keeps its connections open.
fn pool(connections: u32) -> SqlitePoolOptions {
    SqlitePoolOptions::new()
        .max_connections(connections)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
}

/// Returns the path of the write-ahead log of a file.
#[must_use]
pub fn wal_path(file: &Path) -> PathBuf {
    let mut path = OsString::from(file);
    path.push("-wal");
    path.into()
}

/// Folds the write-ahead log into the file and closes a writer, also while readers have the file
/// open.
pub async fn close(mut connection: SqliteConnection) {
    // After a failure, the write-ahead log is folded in at the next start.
    let _ = sqlx::raw_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        .execute(&mut connection)
        .await;
    let _ = connection.close().await;
}

/// Closes a writer whose file no other connection has open. Leaves all data on the disk in that one
/// file, without a write-ahead log.
///
/// # Errors
/// [`Error::Sqlite`] when another connection has the file open, or the file cannot be written.
pub async fn close_as_one_file(path: &Path, mut connection: SqliteConnection) -> Result<(), Error> {
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
    if (next(), next(), next()) < MIN_LIBRARY_VERSION {
        return Err(Error::UnsafeLibrary(version));
    }
    Ok(())
}

/// Returns whether the file is an empty database. Fails with [`Error::Foreign`] if another program
/// made it.
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

/// Appends `VALUES (?,...),(?,...)` to `sql`: `rows` rows of `columns` parameters each.
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
