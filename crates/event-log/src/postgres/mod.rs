//! The log in a Postgres database, which any number of nodes share.
//!
//! Positions are given by an update of one row, `log_head`, in the statement that appends: its lock
//! makes the order of commits that of the positions (guarantee G3). What another node appended
//! meanwhile shows as a unique violation, [`crate::Error::Conflict`].

mod append;
mod database;
mod news;
mod read;

use std::{io, sync::Arc, time::Duration};

use append::Appender;
pub use database::{Database, OpenError};
pub use news::News;
use read::Reader;
use sqlx::{PgConnection, migrate::Migrator, postgres::PgPoolOptions};
use tokio::{runtime::Handle, time::Instant};
use uuid::Uuid;

use crate::{Error, Log, Schema};

static MIGRATIONS: Migrator = sqlx::migrate!("../../migrations/postgres");

/// Connections for reading: some for catching up, one for everybody else. They are made when they
/// are needed.
const READERS: u32 = 5;

/// How long a statement may take there, also while it waits for a lock.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long it waits for us in the midst of a transaction, in which nobody else can append: less than
/// the others wait.
const IDLE_TIMEOUT: Duration = Duration::from_secs(1);

/// How long we wait for an answer; later than the database itself gives up.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(6);

/// From one look at who is connected to the next.
const AGAIN: Duration = Duration::from_millis(50);

/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Opens the log in a database, making its tables if they are missing; it is read on `runtime`.
///
/// # Errors
/// When the database cannot be used; it is unchanged then.
pub async fn open(database: &Database, schema: Schema, runtime: &Handle) -> Result<Log, Error> {
    database.prepare(&MIGRATIONS).await?;
    let mut appender = Appender::new(database.for_appending(), schema);
    let log_id = appender.log_id(&Uuid::now_v7().to_string()).await?;
    let pool = PgPoolOptions::new()
        .max_connections(READERS)
        .acquire_timeout(CONNECT_TIMEOUT)
        .connect_lazy_with(database.for_reading());
    Ok(Log {
        appender: Box::new(appender),
        news: News::new(pool.clone()).into(),
        reader: Arc::new(Reader {
            pool,
            runtime: runtime.clone(),
            log_id,
            schema,
        }),
    })
}

/// What appends to a log, whole or not.
pub(crate) fn appender(database: &Database, schema: Schema) -> Box<dyn crate::Appender> {
    Box::new(Appender::new(database.for_appending(), schema))
}

/// Whether a log's tables are in a database.
pub(crate) async fn has_tables(database: &Database) -> Result<bool, Error> {
    let mut connection = database.connect().await?;
    let has_tables = sqlx::query_scalar("SELECT to_regclass('log_head') IS NOT NULL");
    Ok(has_tables.fetch_one(&mut connection).await?)
}

/// A connection to a database that no node is running on, nor anything else of orderlog; `None` if
/// something is. Its tables are made if they are missing.
pub(crate) async fn alone(database: &Database) -> Result<Option<PgConnection>, Error> {
    database.prepare(&MIGRATIONS).await?;
    let mut connection = database.connect().await?;
    let deadline = Instant::now() + CONNECT_TIMEOUT;
    loop {
        let others: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
            AND application_name = 'orderlog' AND pid <> pg_backend_pid()",
        )
        .fetch_one(&mut connection)
        .await?;
        if others == 0 {
            return Ok(Some(connection));
        }
        if Instant::now() > deadline {
            return Ok(None);
        }
        // What has just been closed may still be there.
        tokio::time::sleep(AGAIN).await;
    }
}

/// What does not come in time has failed.
async fn in_time<T>(
    most: Duration,
    answer: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, Error> {
    match tokio::time::timeout(most, answer).await {
        Ok(answered) => Ok(answered?),
        Err(_) => Err(sqlx::Error::Io(io::ErrorKind::TimedOut.into()).into()),
    }
}

#[cfg(test)]
mod tests;
