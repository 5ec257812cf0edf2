//! The state of the subscriber: the orders to pack, and the position in the log.

use std::path::Path;

use contract::orders::v1::{RecordedEvent, SubscribeResponse, recorded_event::Payload};
use sqlx::{
    Connection as _, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};

use super::position::Position;

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
        let mut transaction = file.begin_with("BEGIN IMMEDIATE").await?;
        sqlx::raw_sql(
            "CREATE TABLE IF NOT EXISTS progress (
                 only INTEGER PRIMARY KEY CHECK (only = 1), log_id TEXT NOT NULL, position INTEGER,
                 resume_token TEXT NOT NULL DEFAULT ''
             );
             CREATE TABLE IF NOT EXISTS to_pack (order_id TEXT PRIMARY KEY, pieces INTEGER);",
        )
        .execute(&mut *transaction)
        .await?;
        let column = "SELECT 1 FROM pragma_table_info('progress') WHERE name = 'resume_token'";
        let column = sqlx::query(column).fetch_optional(&mut *transaction);
        if column.await?.is_none() {
            // An earlier version of this program made the file.
            let add = "ALTER TABLE progress ADD COLUMN resume_token TEXT NOT NULL DEFAULT ''";
            sqlx::raw_sql(add).execute(&mut *transaction).await?;
        }
        sqlx::raw_sql("INSERT OR IGNORE INTO progress VALUES (1, '', 0, '')")
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(Self { file })
    }

    /// Returns the position to resume after.
    pub(crate) async fn position(&mut self) -> Result<Position, sqlx::Error> {
        read_position(&mut self.file).await
    }

    /// Applies the events of a response after `after`, and stores its position, in one transaction.
    /// The transaction alone ensures that no event is lost or applied twice.
    ///
    /// Returns false and changes nothing if the warehouse is no longer at `after`, because another
    /// process with the same file has moved it.
    pub(crate) async fn apply(
        &mut self,
        response: &SubscribeResponse,
        after: &Position,
    ) -> Result<bool, sqlx::Error> {
        let mut transaction = self.file.begin_with("BEGIN IMMEDIATE").await?;
        if read_position(&mut transaction).await? != *after {
            return Ok(false);
        }
        for event in &response.events {
            project(event, &mut transaction).await?;
        }
        sqlx::query("UPDATE progress SET log_id = ?, position = ?, resume_token = ?")
            .bind(&response.log_id)
            .bind(response.position.cast_signed())
            .bind(&response.resume_token)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(true)
    }
}

async fn read_position(file: &mut SqliteConnection) -> Result<Position, sqlx::Error> {
    let position = sqlx::query_as("SELECT log_id, position, resume_token FROM progress");
    position.fetch_one(file).await
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
