//! The state of the subscriber: each event that it has seen, for the suite.

use std::{path::Path, time::Duration};

use contract::orders::v1::SubscribeResponse;
use serde_json::json;
use sqlx::{Connection as _, SqliteConnection, sqlite::SqliteConnectOptions};
use tokio::{sync::watch, time::sleep};

use super::position::Position;

/// The positions of the events seen, and the place to resume.
pub(crate) struct Warehouse {
    file: SqliteConnection,
    pause: Duration,
    position: watch::Sender<u64>,
}

impl Warehouse {
    /// Opens the file, and creates it if it is missing. Each transaction takes at least `pause`.
    pub(crate) async fn open(file: &Path, pause: Duration) -> Result<Self, sqlx::Error> {
        let options = SqliteConnectOptions::new()
            .filename(file)
            .create_if_missing(true);
        let mut file = SqliteConnection::connect_with(&options).await?;
        sqlx::raw_sql(
            "CREATE TABLE IF NOT EXISTS seen (position INTEGER PRIMARY KEY);
             CREATE TABLE IF NOT EXISTS progress (
                 only INTEGER PRIMARY KEY CHECK (only = 1), log_id TEXT NOT NULL, position INTEGER,
                 resume_token TEXT NOT NULL
             );
             INSERT OR IGNORE INTO progress VALUES (1, '', 0, '');",
        )
        .execute(&mut file)
        .await?;
        let position = watch::Sender::new(read_position(&mut file).await?.position);
        Ok(Self {
            file,
            pause,
            position,
        })
    }

    /// Follows the position of the warehouse.
    pub(crate) fn watch(&self) -> watch::Receiver<u64> {
        self.position.subscribe()
    }

    /// Returns the position to resume after.
    pub(crate) async fn position(&mut self) -> Result<Position, sqlx::Error> {
        read_position(&mut self.file).await
    }

    /// Notes the events of a response after `after`, and stores its position, in one transaction.
    /// An event that comes twice violates the primary key.
    ///
    /// Returns false and changes nothing if the warehouse is no longer at `after`.
    pub(crate) async fn apply(
        &mut self,
        response: &SubscribeResponse,
        after: &Position,
    ) -> Result<bool, sqlx::Error> {
        let mut transaction = self.file.begin_with("BEGIN IMMEDIATE").await?;
        if read_position(&mut transaction).await? != *after {
            return Ok(false);
        }
        sleep(self.pause).await;
        for event in &response.events {
            sqlx::query("INSERT INTO seen VALUES (?)")
                .bind(event.position.cast_signed())
                .execute(&mut *transaction)
                .await?;
        }
        sqlx::query("UPDATE progress SET log_id = ?, position = ?, resume_token = ?")
            .bind(&response.log_id)
            .bind(response.position.cast_signed())
            .bind(&response.resume_token)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        println!(
            "{}",
            json!({ "progress": { "position": response.position } })
        );
        self.position.send_replace(response.position);
        Ok(true)
    }

    /// Returns the positions of all events seen.
    pub(crate) async fn seen(&mut self) -> Result<Vec<u64>, sqlx::Error> {
        let seen = sqlx::query_scalar("SELECT position FROM seen ORDER BY position");
        seen.fetch_all(&mut self.file).await
    }

    /// Removes the events after a position, and resumes after it; from 0, at any log.
    pub(crate) async fn rewind(&mut self, position: u64) -> Result<(), sqlx::Error> {
        let mut transaction = self.file.begin().await?;
        for change in [
            "DELETE FROM seen WHERE position > ?1",
            "UPDATE progress SET position = ?1, resume_token = '', log_id = iif(?1 = 0, '', log_id)",
        ] {
            sqlx::query(change)
                .bind(position.cast_signed())
                .execute(&mut *transaction)
                .await?;
        }
        transaction.commit().await
    }
}

async fn read_position(file: &mut SqliteConnection) -> Result<Position, sqlx::Error> {
    let position = sqlx::query_as("SELECT log_id, position, resume_token FROM progress");
    position.fetch_one(file).await
}
