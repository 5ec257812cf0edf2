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
use sqlx::{migrate::Migrator, postgres::PgPoolOptions};
use tokio::runtime::Handle;
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
