//! The log in a Postgres database that any number of nodes share.
//!
//! An append locks the one row of `append_lock` and gives the next positions. The lock on that row lasts until
//! the commit, so commit order is position order (guarantee G3). If another node has already
//! appended the same version or request id, the append violates a unique constraint. The error is
//! then [`crate::Error::Conflict`].
//!
//! [`Database`] reads the URL. Its `connect` finds the server that takes writes, for the appender,
//! the [`Pool`]s of the readers, and the [`Channel`] of notifications.

mod append;
mod database;
mod notifications;
mod passfile;
mod read;
mod session;
mod url;

use std::{io, sync::Arc, time::Duration};

use append::PostgresAppender;
pub use database::{Database, OpenError};
pub(crate) use notifications::Channel;
use read::PostgresReader;
use session::{Pool, Purpose};
use sqlx::{AssertSqlSafe, PgConnection, migrate::Migrator};
use tokio::runtime::Handle;
pub use url::UrlError;
use uuid::Uuid;

use crate::{Error, Log, Notifications, Schema, long_reads::LongReads};

static MIGRATIONS: Migrator = sqlx::migrate!("../../migrations/postgres");

/// Limits the connections in the pool of [`Log::reader`]: three for [`LongReads`], and one for
/// short reads. The pool opens a connection on demand.
const MAX_READ_CONNECTIONS: u32 = 4;

/// Limits the connections in the pool of [`Log::follower`] and [`Channel`]: one each to notify and to read.
/// Other reads cannot occupy these connections. [`Channel`] listens on one more.
const MAX_FOLLOWER_CONNECTIONS: u32 = 2;

/// The server cancels a statement after 5 s, including its wait for a lock.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(5);

/// The server ends a session that idles in a transaction for 1 s, because the transaction may keep
/// other nodes from appending. The other nodes wait longer, for [`STATEMENT_TIMEOUT`].
const IDLE_TIMEOUT: Duration = Duration::from_secs(1);

/// An answer may take 6 s: longer than [`STATEMENT_TIMEOUT`], so that the server gives up first.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(6);

/// The key of the advisory lock on a log. Nodes hold the lock shared, and a copy holds it exclusively.
const LOG_LOCK: i64 = 0x6f72_646c;

/// A connection attempt fails after 3 s, unless the URL has a `connect_timeout`. The wait for a
/// pooled connection or for the exclusive lock of a copy fails after 3 s.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Opens the log in `database` and brings its tables up to date. Readers connect on `runtime`.
///
/// # Errors
/// - [`Error::Database`]: the database cannot be used. Tables of another program or of a newer
///   orderlog stay unchanged.
/// - [`Error::NotWhole`]: the log is an unfinished copy.
/// - [`Error::Store`]: the database does not answer, or a copy has the log to itself.
pub async fn open(database: &Database, schema: Schema, runtime: &Handle) -> Result<Log, Error> {
    database.prepare(&MIGRATIONS).await?;
    let mut appender = PostgresAppender::new(database.clone(), schema);
    let log_id = appender.log_id(&Uuid::now_v7().to_string()).await?;
    let reader = |pool: &Pool, connections| PostgresReader {
        long_reads: LongReads::on(connections),
        pool: pool.clone(),
        log_id: log_id.clone(),
        schema,
    };
    let readers = Pool::new(database, MAX_READ_CONNECTIONS, runtime)?;
    let followers = Pool::new(database, MAX_FOLLOWER_CONNECTIONS, runtime)?;
    Ok(Log {
        appender: Box::new(appender),
        reader: Arc::new(reader(&readers, MAX_READ_CONNECTIONS)),
        follower: Arc::new(reader(&followers, MAX_FOLLOWER_CONNECTIONS)),
        notifications: Notifications::on(Channel::new(
            database.clone(),
            followers,
            log_id,
            runtime,
        )),
    })
}

/// Returns the appender of a copy, which has locked the log with [`connect_exclusively`].
pub(crate) fn appender(database: &Database, schema: Schema) -> Box<dyn crate::Appender> {
    Box::new(PostgresAppender::of_copy(database.clone(), schema))
}

/// Returns whether the database has the tables of a log.
pub(crate) async fn has_tables(database: &Database) -> Result<bool, Error> {
    let mut connection = database.connect(Purpose::Export).await?;
    let has_tables = sqlx::query_scalar("SELECT to_regclass('events') IS NOT NULL");
    Ok(has_tables.fetch_one(&mut connection).await?)
}

/// Opens a read-only connection. Nodes may use the database meanwhile, and its tables stay as they
/// are.
pub(crate) async fn connect_to_read(database: &Database) -> Result<PgConnection, Error> {
    Ok(database.connect_to_read(&MIGRATIONS).await?)
}

/// Opens a connection that keeps nodes and other copies from the log for its lifetime, and brings
/// the tables up to date. Returns `None` if a node or another copy uses the log.
pub(crate) async fn connect_exclusively(
    database: &Database,
) -> Result<Option<PgConnection>, Error> {
    database.prepare(&MIGRATIONS).await?;
    let mut connection = database.connect(Purpose::Maintain).await?;
    // The server may release the lock of a closed connection late, so the statement waits 3 s.
    let wait = format!("SET lock_timeout = {}", CONNECT_TIMEOUT.as_millis());
    sqlx::raw_sql(AssertSqlSafe(wait))
        .execute(&mut connection)
        .await?;
    let lock = sqlx::query("SELECT pg_advisory_lock($1)").bind(LOG_LOCK);
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

/// Awaits `answer`, and fails with a timeout error after `timeout`.
async fn in_time<T, E>(
    timeout: Duration,
    answer: impl Future<Output = Result<T, E>>,
) -> Result<T, Error>
where
    Error: From<E>,
{
    match tokio::time::timeout(timeout, answer).await {
        Ok(answered) => Ok(answered?),
        Err(_) => Err(sqlx::Error::Io(io::ErrorKind::TimedOut.into()).into()),
    }
}

#[cfg(test)]
mod tests;
