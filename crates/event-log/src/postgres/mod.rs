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
use sqlx::{AssertSqlSafe, PgConnection, migrate::Migrator, postgres::PgPoolOptions};
use tokio::runtime::Handle;
use uuid::Uuid;

use crate::{Error, Log, Schema};

static MIGRATIONS: Migrator = sqlx::migrate!("../../migrations/postgres");

/// Connections for reading what is asked for. They are made when they are needed.
const READERS: u32 = 4;

/// Connections for following what others append, which nobody who reads can keep busy: to listen, to
/// tell and to read.
const FOLLOWERS: u32 = 3;

/// How long a statement may take there, also while it waits for a lock.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long it waits for us in the midst of a transaction, in which nobody else can append: less than
/// the others wait.
const IDLE_TIMEOUT: Duration = Duration::from_secs(1);

/// How long we wait for an answer; later than the database itself gives up.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(6);

/// The advisory lock on using a log: nodes share it, a copy has it alone.
const USERS: i64 = 0x6f72_646c;

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
    let pool = |connections| {
        PgPoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(CONNECT_TIMEOUT)
            .connect_lazy_with(database.for_reading())
    };
    let reader = |pool| Reader {
        pool,
        runtime: runtime.clone(),
        log_id: log_id.clone(),
        schema,
    };
    let followers = pool(FOLLOWERS);
    Ok(Log {
        appender: Box::new(appender),
        reader: Arc::new(reader(pool(READERS))),
        follower: Arc::new(reader(followers.clone())),
        news: News::new(followers).into(),
    })
}

/// What a copy appends with, which has the log [`alone`].
pub(crate) fn appender(database: &Database, schema: Schema) -> Box<dyn crate::Appender> {
    Box::new(Appender::of_copy(database.for_appending(), schema))
}

/// Whether a log's tables are in a database.
pub(crate) async fn has_tables(database: &Database) -> Result<bool, Error> {
    let mut connection = database.connect().await?;
    let has_tables = sqlx::query_scalar("SELECT to_regclass('log_head') IS NOT NULL");
    Ok(has_tables.fetch_one(&mut connection).await?)
}

/// A connection that only reads, to a database that nodes may be using, and whose tables stay as they
/// are.
pub(crate) async fn connect_to_read(database: &Database) -> Result<PgConnection, Error> {
    Ok(database.connect_to_read(&MIGRATIONS).await?)
}

/// A connection to a database that no node appends to, nor another copy uses, and none will for as
/// long as it lives; `None` if one does. Its tables are made if they are missing.
pub(crate) async fn alone(database: &Database) -> Result<Option<PgConnection>, Error> {
    database.prepare(&MIGRATIONS).await?;
    let mut connection = database.connect().await?;
    // Whoever has just gone may not be gone there: worth a moment.
    let wait = format!("SET lock_timeout = {}", CONNECT_TIMEOUT.as_millis());
    sqlx::raw_sql(AssertSqlSafe(wait))
        .execute(&mut connection)
        .await?;
    let lock = sqlx::query("SELECT pg_advisory_lock($1)").bind(USERS);
    match lock.execute(&mut connection).await {
        Ok(_) => Ok(Some(connection)),
        Err(error) if is_lock_timeout(&error) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn is_lock_timeout(error: &sqlx::Error) -> bool {
    const LOCK_NOT_AVAILABLE: &str = "55P03";
    let refused = error.as_database_error();
    refused.is_some_and(|refused| refused.code().as_deref() == Some(LOCK_NOT_AVAILABLE))
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
