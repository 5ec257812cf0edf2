//! The log in a SQLite file, `events.db`, which one process owns.

mod append;
mod read;

use std::{path::Path, sync::Arc};

use ::sqlite::Durability;
use append::Appender;
use read::Reader;
use sqlx::{SqliteConnection, migrate::Migrator};
use uuid::Uuid;

use crate::{Error, Log, News, Schema};

static MIGRATIONS: Migrator = sqlx::migrate!("../../migrations/sqlite");

/// An acknowledged command survives power loss (guarantee G1). With a larger write-ahead log the
/// rate is the same, but some commits take as long as folding it in takes.
const DURABILITY: Durability = Durability {
    every_commit: true,
    checkpoint_pages: 1000,
};

/// Two for catching up, one for everybody else: more would only compete for two cores.
const READERS: u32 = 3;

/// Opens the log in a file, making it if it is missing.
///
/// # Errors
/// When the file cannot be used; it is unchanged then.
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
    let appender = Appender::new(connection, schema).await?;
    let reader = Reader::new(::sqlite::readers(path, READERS).await?, log_id, schema);
    let reader = Arc::new(reader);
    Ok(Log {
        appender: Box::new(appender),
        // There are no others, whose news would have to be read.
        follower: Arc::clone(&reader) as Arc<dyn crate::Reader>,
        reader,
        news: News::default(),
    })
}

/// Opens the log in a file to read it only: nothing in it changes, and it may be in use.
///
/// # Errors
/// When the file cannot be used, or is not the whole of a log.
pub async fn reader(path: &Path, schema: Schema) -> Result<Arc<dyn crate::Reader>, Error> {
    let mut connection = connect_to_read(path).await?;
    let (log_id, whole): (_, bool) = sqlx::query_as("SELECT id, whole FROM log")
        .fetch_one(&mut connection)
        .await?;
    if !whole {
        return Err(Error::NotWhole);
    }
    let readers = ::sqlite::readers(path, 1).await?;
    Ok(Arc::new(Reader::new(readers, log_id, schema)))
}

/// A connection that may only read, to a file that may be in use.
pub(crate) async fn connect_to_read(path: &Path) -> Result<SqliteConnection, Error> {
    Ok(::sqlite::reader(path, &MIGRATIONS).await?)
}

/// A connection that may write, to a file that is made if it is missing.
pub(crate) async fn connect(path: &Path) -> Result<SqliteConnection, Error> {
    Ok(::sqlite::writer(path, &MIGRATIONS, DURABILITY).await?)
}

/// What appends to a log, whole or not.
pub(crate) async fn appender(
    path: &Path,
    schema: Schema,
) -> Result<Box<dyn crate::Appender>, Error> {
    Ok(Box::new(Appender::new(connect(path).await?, schema).await?))
}

#[cfg(test)]
mod tests;
