//! The log in a SQLite file, `events.db`, which one process owns.

mod append;
mod read;

use std::{path::Path, sync::Arc};

use append::SqliteAppender;
use read::SqliteReader;
use sqlx::{SqliteConnection, migrate::Migrator, sqlite::SqliteSynchronous};
use uuid::Uuid;

use crate::{Appender, Error, Log, Notifications, Reader, Schema};

static MIGRATIONS: Migrator = sqlx::migrate!("../../migrations/sqlite");

/// An acknowledged command survives power loss (guarantee G1).
const SYNCHRONOUS: SqliteSynchronous = SqliteSynchronous::Full;

/// Two for [`LongReads`](crate::long_reads::LongReads), and one for short reads. More connections
/// would only compete for two cores.
const READ_CONNECTIONS: u32 = 3;

/// Opens the log in the file at `path`, and creates the file if it is missing.
///
/// # Errors
/// - [`Error::File`]: the file cannot be used. A file of another program or of a newer orderlog
///   stays unchanged.
/// - [`Error::NotWhole`]: the log is an unfinished copy.
/// - [`Error::Store`]: SQLite fails a statement.
/// - [`Error::Damaged`]: SQLite reports corruption.
pub async fn open(path: &Path, schema: Schema) -> Result<Log, Error> {
    let mut connection = connect(path).await?;
    sqlx::query("INSERT INTO log (only_row, id) VALUES (1, ?) ON CONFLICT DO NOTHING")
        .bind(Uuid::now_v7().to_string())
        .execute(&mut connection)
        .await?;
    let (log_id, whole): (_, bool) = sqlx::query_as("SELECT id, whole FROM log")
        .fetch_one(&mut connection)
        .await?;
    if !whole {
        return Err(Error::NotWhole);
    }
    let appender = SqliteAppender::new(path, connection, schema).await?;
    let reader = SqliteReader::new(
        ::sqlite::readers(path, READ_CONNECTIONS).await?,
        log_id,
        schema,
    );
    let reader = Arc::new(reader);
    Ok(Log {
        appender: Box::new(appender),
        // A file has one node, so a follower has no appends of other nodes to read.
        follower: Arc::clone(&reader) as Arc<dyn Reader>,
        reader,
        notifications: Notifications::default(),
    })
}

/// Opens the log in a file for reading only. A node may use the file meanwhile, and its contents
/// stay as they are.
///
/// # Errors
/// - [`Error::File`]: the file cannot be opened, or belongs to another program or a newer orderlog.
/// - [`Error::NotWhole`]: the log is an unfinished copy.
/// - [`Error::Store`]: SQLite fails a statement.
/// - [`Error::Damaged`]: SQLite reports corruption.
pub async fn reader(path: &Path, schema: Schema) -> Result<Arc<dyn Reader>, Error> {
    let mut connection = connect_to_read(path).await?;
    let (log_id, whole): (_, bool) = sqlx::query_as("SELECT id, whole FROM log")
        .fetch_one(&mut connection)
        .await?;
    if !whole {
        return Err(Error::NotWhole);
    }
    let readers = ::sqlite::readers(path, 1).await?;
    Ok(Arc::new(SqliteReader::new(readers, log_id, schema)))
}

/// Opens a read-only connection to a file that a node may use.
pub(crate) async fn connect_to_read(path: &Path) -> Result<SqliteConnection, Error> {
    Ok(::sqlite::reader(path, &MIGRATIONS).await?)
}

/// Opens a connection for writing, and creates the file if it is missing.
pub(crate) async fn connect(path: &Path) -> Result<SqliteConnection, Error> {
    Ok(::sqlite::writer(path, &MIGRATIONS, SYNCHRONOUS).await?)
}

/// Opens an appender to a log, whole or not.
pub(crate) async fn appender(path: &Path, schema: Schema) -> Result<Box<dyn Appender>, Error> {
    Ok(Box::new(
        SqliteAppender::new(path, connect(path).await?, schema).await?,
    ))
}

#[cfg(test)]
mod tests;
