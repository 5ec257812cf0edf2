//! Runs the contract suite against a log in Postgres, and tests its connections.

mod connections;
mod failover;
mod lock;
mod pooler;

use std::str::FromStr as _;

use sqlx::{Connection as _, PgConnection};

use super::*;
use crate::contract_suite::{Fixture, contract_suite};

/// The URL of an empty database.
struct EmptyDatabase(String);

impl EmptyDatabase {
    async fn new() -> Self {
        Self(test_support::postgres::database().await)
    }
}

#[async_trait::async_trait]
impl Fixture for EmptyDatabase {
    async fn open(&self, schema: Schema) -> Log {
        let database = Database::from_str(&self.0).unwrap();
        open(&database, schema, &Handle::current()).await.unwrap()
    }

    async fn execute(&self, sql: &'static str) -> Result<(), sqlx::Error> {
        let mut connection = PgConnection::connect(&self.0).await?;
        sqlx::raw_sql(sql).execute(&mut connection).await?;
        connection.close().await
    }

    fn delete_first(&self) -> &'static str {
        "DROP TRIGGER events_are_never_changed ON events; DELETE FROM events WHERE position = 1"
    }
}

contract_suite!(EmptyDatabase::new().await, ignore = "needs Postgres");
