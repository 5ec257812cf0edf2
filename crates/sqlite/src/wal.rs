//! Keeps the write-ahead log of a writer small, although reads overlap.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use sqlx::{
    ConnectOptions as _, SqliteConnection, SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteSynchronous},
};
use tokio::task::JoinSet;

use crate::{BUSY_TIMEOUT, pool};

/// The pages that are only in the write-ahead log at which they are moved to the main file: 8 MiB. Many
/// batches change the same page, which is moved once for all of them.
const CHECKPOINT_PAGES: i64 = 2048;

/// The pages in the write-ahead log at which it is begun anew: 32 MiB.
const RESET_PAGES: i64 = 8192;

/// The pages in the write-ahead log at which the writer waits for a running checkpoint, and with which
/// a commit moves pages itself, should no call of [`WalLimit::enforce`] have done so: 48 MiB.
const WAIT_PAGES: i64 = 12_288;

/// The time for which one attempt of a reset waits. SQLite waits for the reads of an old state until
/// their place is free, also when reads of the newest state have taken it over. Those may overlap and
/// hold it for ever. The next attempt does not wait for them.
const ATTEMPT: Duration = Duration::from_millis(50);

/// Keeps the write-ahead log of a writer small, so that it stays under 64 MiB.
///
/// Another connection moves the pages to the main file while the writer goes on, because a checkpoint
/// takes many times as long as a commit. Then the log is begun anew. SQLite appends to it while any read
/// uses it, and reads that overlap would make it grow without end. So a reset stops the writes and waits
/// for the reads that use the log. Reads that begin meanwhile use the main file, and do not delay it.
#[derive(Debug)]
pub struct WalLimit {
    checkpointer: SqlitePool,
    /// The checkpoint that runs.
    checkpoint: JoinSet<Result<(), sqlx::Error>>,
    wait: Duration,
    interval: Duration,
    failed: Option<Instant>,
}

impl WalLimit {
    /// Takes over the checkpoints of the writer of the file at `path`. `wait` bounds the time for which
    /// a reset waits for reads, and stops the writes. `interval` is the time until the next attempt
    /// after a longer read has prevented a reset.
    ///
    /// # Errors
    /// SQLite fails the statement.
    pub async fn new(
        path: &Path,
        writer: &mut SqliteConnection,
        wait: Duration,
        interval: Duration,
    ) -> Result<Self, sqlx::Error> {
        let pragma = format!("PRAGMA wal_autocheckpoint = {WAIT_PAGES}");
        let pragma = sqlx::raw_sql(sqlx::AssertSqlSafe(pragma));
        pragma.execute(&mut *writer).await?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .synchronous(SqliteSynchronous::Normal)
            .disable_statement_logging();
        Ok(Self {
            // Connects at the first checkpoint: until then, the writer may change the journal mode.
            checkpointer: pool(1).connect_lazy_with(options),
            checkpoint: JoinSet::new(),
            wait,
            interval,
            failed: None,
        })
    }

    /// Begins a checkpoint, or begins the log anew, if it is time. Call it between transactions.
    ///
    /// # Errors
    /// SQLite cannot read or write one of the files. A read that lasts too long is no error.
    pub async fn enforce(&mut self, writer: &mut SqliteConnection) -> Result<(), sqlx::Error> {
        let (_, pages, moved): Checkpointed = sqlx::query_as("PRAGMA wal_checkpoint(NOOP)")
            .fetch_one(&mut *writer)
            .await?;
        let ended = if pages < WAIT_PAGES {
            self.checkpoint.try_join_next()
        } else {
            self.checkpoint.join_next().await
        };
        let has_ended = ended.is_some();
        if let Some(ended) = ended {
            ended.map_err(|panic| sqlx::Error::Io(panic.into()))??;
        }
        if !self.checkpoint.is_empty() {
            return Ok(());
        }
        let has_waited = |failed: Instant| failed.elapsed() >= self.interval;
        let may_reset = pages >= RESET_PAGES && self.failed.is_none_or(has_waited);
        if may_reset && has_ended {
            // The checkpoint has left few pages to move. The file is synced now, if it was not.
            return self.reset(writer).await;
        }
        if may_reset || pages - moved >= CHECKPOINT_PAGES {
            let checkpointer = self.checkpointer.clone();
            self.checkpoint.spawn(async move {
                let pragma = sqlx::raw_sql("PRAGMA wal_checkpoint(PASSIVE)");
                pragma.execute(&checkpointer).await.map(|_| ())
            });
        }
        Ok(())
    }

    async fn reset(&mut self, writer: &mut SqliteConnection) -> Result<(), sqlx::Error> {
        set_busy_timeout(writer, self.wait.min(ATTEMPT)).await?;
        let reset = reset_within(writer, self.wait).await;
        set_busy_timeout(writer, BUSY_TIMEOUT).await?;
        self.failed = (!reset?).then(Instant::now);
        Ok(())
    }

    /// Waits for the running checkpoint, and closes its connection. Close the writer after it.
    pub async fn close(mut self) {
        // The writer's close moves all pages, so that an error here is of no matter.
        while self.checkpoint.join_next().await.is_some() {}
        self.checkpointer.close().await;
    }
}

/// Returns whether the log begins anew with the next write.
async fn reset_within(writer: &mut SqliteConnection, wait: Duration) -> Result<bool, sqlx::Error> {
    let began = Instant::now();
    loop {
        let (is_busy, ..): Checkpointed = sqlx::query_as("PRAGMA wal_checkpoint(RESTART)")
            .fetch_one(&mut *writer)
            .await?;
        if !is_busy || began.elapsed() >= wait {
            return Ok(!is_busy);
        }
    }
}

/// Whether a read or write prevented the checkpoint, the pages in the log, and those of them that are
/// in the main file.
type Checkpointed = (bool, i64, i64);

async fn set_busy_timeout(
    writer: &mut SqliteConnection,
    timeout: Duration,
) -> Result<(), sqlx::Error> {
    let set = format!("PRAGMA busy_timeout = {}", timeout.as_millis());
    let set = sqlx::raw_sql(sqlx::AssertSqlSafe(set));
    set.execute(writer).await.map(|_| ())
}

#[cfg(test)]
mod tests {
    use sqlx::migrate::Migrator;

    use super::*;

    /// Writes a log of 50 MiB to a new file at `path`.
    async fn writer_of_a_large_log(path: &Path) -> (SqliteConnection, WalLimit) {
        let none = Migrator::with_migrations(Vec::new());
        let writer = crate::writer(path, &none, SqliteSynchronous::Normal).await;
        let mut writer = writer.unwrap();
        let limit = WalLimit::new(path, &mut writer, Duration::ZERO, Duration::ZERO).await;
        // No commit may move the pages before the test does.
        let sql = "PRAGMA wal_autocheckpoint = 0; CREATE TABLE t (a);
            INSERT INTO t VALUES (zeroblob(52428800))";
        sqlx::raw_sql(sql).execute(&mut writer).await.unwrap();
        (writer, limit.unwrap())
    }

    #[tokio::test]
    async fn a_writer_with_a_large_log_waits_for_the_running_checkpoint() {
        let dir = tempfile::tempdir().unwrap();
        let (mut writer, mut limit) = writer_of_a_large_log(&dir.path().join("events.db")).await;
        // The checkpoint waits for its connection.
        let connection = limit.checkpointer.acquire().await.unwrap();
        limit.enforce(&mut writer).await.unwrap();
        let waits = limit.enforce(&mut writer);
        let waited = tokio::time::timeout(Duration::from_millis(200), waits).await;
        assert!(waited.is_err(), "the writer goes on: {waited:?}");
        drop(connection);
        limit.enforce(&mut writer).await.unwrap();
        assert!(limit.checkpoint.is_empty());
        let (_, pages, moved): Checkpointed = sqlx::query_as("PRAGMA wal_checkpoint(NOOP)")
            .fetch_one(&mut writer)
            .await
            .unwrap();
        assert_eq!(pages, moved);
        limit.close().await;
        crate::close(writer).await;
    }
}
