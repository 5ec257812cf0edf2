//! Keeps the write-ahead log of a writer small, although reads overlap.

use std::time::{Duration, Instant};

use sqlx::SqliteConnection;

use crate::BUSY_TIMEOUT;

/// The pages in the write-ahead log at which a writer waits for the reads that use it: 32 MiB. Before,
/// SQLite begins the log anew only if no read happens to use it.
const RESET_PAGES: i64 = 8192;

/// Begins the write-ahead log of a writer anew when it has grown, so that it stays under 64 MiB.
///
/// SQLite appends to the log while any read uses it. Reads that overlap would make it grow without
/// end. The reset stops the writes and waits for the reads that use the log. Reads that begin
/// meanwhile use the main file, and do not delay the reset.
#[derive(Debug)]
pub struct WalLimit {
    wait: Duration,
    interval: Duration,
    failed: Option<Instant>,
}

impl WalLimit {
    /// Creates a limit. `wait` bounds the time for which a reset stops the writes. `interval` is the
    /// time until the next attempt after a longer read has prevented a reset.
    #[must_use]
    pub const fn new(wait: Duration, interval: Duration) -> Self {
        Self {
            wait,
            interval,
            failed: None,
        }
    }

    /// Resets the log if it has grown too large. Call it between transactions.
    ///
    /// # Errors
    /// SQLite cannot read or write one of the files. A read that lasts too long is no error.
    pub async fn enforce(&mut self, writer: &mut SqliteConnection) -> Result<(), sqlx::Error> {
        let has_waited = |failed: Instant| failed.elapsed() >= self.interval;
        if !self.failed.is_none_or(has_waited) {
            return Ok(());
        }
        self.failed = None;
        let (_, pages, _): Checkpointed = sqlx::query_as("PRAGMA wal_checkpoint(NOOP)")
            .fetch_one(&mut *writer)
            .await?;
        if pages < RESET_PAGES {
            return Ok(());
        }
        set_busy_timeout(writer, self.wait).await?;
        let reset: Result<Checkpointed, _> = sqlx::query_as("PRAGMA wal_checkpoint(RESTART)")
            .fetch_one(&mut *writer)
            .await;
        set_busy_timeout(writer, BUSY_TIMEOUT).await?;
        let (is_busy, ..) = reset?;
        if is_busy {
            self.failed = Some(Instant::now());
        }
        Ok(())
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
