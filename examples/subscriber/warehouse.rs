//! The state of the subscriber: the orders to pack, and the position in the log.

use std::path::Path;

use contract::orders::v1::{RecordedEvent, SubscribeResponse, recorded_event::Payload};
use sqlx::{
    Connection as _, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};

/// The orders to pack, and the position in the log that they result from.
pub(crate) struct Warehouse {
    file: SqliteConnection,
}

impl Warehouse {
    /// Opens the file, and creates it if it is missing.
    pub(crate) async fn open(file: impl AsRef<Path>) -> Result<Self, sqlx::Error> {
        let options = SqliteConnectOptions::new()
            .filename(file)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full);
        let mut file = SqliteConnection::connect_with(&options).await?;
        sqlx::raw_sql(
            "CREATE TABLE IF NOT EXISTS progress (
                 only INTEGER PRIMARY KEY CHECK (only = 1), log_id TEXT NOT NULL, position INTEGER
             );
             INSERT OR IGNORE INTO progress VALUES (1, '', 0);
             CREATE TABLE IF NOT EXISTS to_pack (order_id TEXT PRIMARY KEY, pieces INTEGER);",
        )
        .execute(&mut file)
        .await?;
        Ok(Self { file })
    }

    /// Returns the log's id and the position to resume after.
    pub(crate) async fn position(&mut self) -> Result<(String, u64), sqlx::Error> {
        let position = sqlx::query_as("SELECT log_id, position FROM progress");
        position.fetch_one(&mut self.file).await
    }

    /// Applies the events of a response and stores its position in one transaction. The transaction
    /// alone ensures that no event is lost or applied twice.
    pub(crate) async fn apply(&mut self, response: &SubscribeResponse) -> Result<(), sqlx::Error> {
        let mut transaction = self.file.begin_with("BEGIN IMMEDIATE").await?;
        let (log_id, done): (String, u64) = sqlx::query_as("SELECT log_id, position FROM progress")
            .fetch_one(&mut *transaction)
            .await?;
        if !log_id.is_empty() && log_id != response.log_id {
            let other = format!("the file is made from log {log_id}");
            return Err(sqlx::Error::InvalidArgument(other));
        }
        for event in &response.events {
            // Another process with the same file may have applied this event.
            if event.position > done {
                project(event, &mut transaction).await?;
            }
        }
        sqlx::query("UPDATE progress SET log_id = ?, position = max(position, ?)")
            .bind(&response.log_id)
            .bind(response.position.cast_signed())
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await
    }
}

/// Adds an order when it is created, and removes it when it is shipped or cancelled.
async fn project(event: &RecordedEvent, to: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    match &event.payload {
        Some(Payload::OrderCreated(created)) => {
            let pieces: u32 = created.items.iter().map(|item| item.quantity).sum();
            sqlx::query("INSERT INTO to_pack VALUES (?, ?)")
                .bind(&event.aggregate_id)
                .bind(pieces)
                .execute(to)
                .await?;
        }
        Some(Payload::OrderShipped(_) | Payload::OrderCancelled(_)) => {
            sqlx::query("DELETE FROM to_pack WHERE order_id = ?")
                .bind(&event.aggregate_id)
                .execute(to)
                .await?;
        }
        // `None` is an event type that is newer than this program.
        _ => {}
    }
    Ok(())
}
