//! Runs the contract suite against a log in Postgres, and tests its connections.

mod connections;
mod failover;
mod lock;
mod pooler;

use std::str::FromStr as _;

use sqlx::{Connection as _, PgConnection};

use super::*;
use crate::{
    Batch, Point,
    contract_suite::{self, Fixture, contract_suite},
};

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

/// Sets the log back to position 1, as a point-in-time recovery does, and ends all connections.
const GO_BACK_TO_1: &str = "
    ALTER TABLE events DISABLE TRIGGER events_are_never_changed;
    DELETE FROM events WHERE position > 1;
    ALTER TABLE events ENABLE TRIGGER events_are_never_changed;
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()";

#[tokio::test]
#[ignore = "needs Postgres"]
async fn g12_appender_rejects_a_log_that_went_back_after_a_reconnect() {
    let fixture = EmptyDatabase::new().await;
    let mut log = fixture.open(contract_suite::SCHEMA).await;
    let event = |version| contract_suite::identified_event("a", version);
    let events = [event(1), event(2)];
    let records = events.clone().map(|event| event.record);
    let batch = |events| Batch {
        events,
        requests: Vec::new(),
    };
    log.appender.append(&batch(events.into())).await.unwrap();
    log.appender.has_seen(Point::of(2.into(), &records[1]));
    fixture.execute(GO_BACK_TO_1).await.unwrap();
    // The first call after the cut may find the dead connection. It appends nothing.
    let other = batch(vec![event(2)]);
    log.appender.append(&other).await.unwrap_err();
    for _ in 0..2 {
        let refused = log.appender.append(&other).await;
        assert!(matches!(refused, Err(Error::Diverged { position }) if position.get() == 2));
    }
    log.appender.probe().await.unwrap_err();
    log.appender.has_seen(Point::of(1.into(), &records[0]));
    log.appender.probe().await.unwrap();
    let before = log.appender.append(&other).await.unwrap();
    assert_eq!(before, Point::of(1.into(), &records[0]));
}

#[tokio::test]
#[ignore = "needs Postgres"]
async fn g13_appends_leave_no_versions_of_a_row_behind_while_a_snapshot_is_open() {
    let fixture = EmptyDatabase::new().await;
    let mut log = fixture.open(contract_suite::SCHEMA).await;
    let mut dump = PgConnection::connect(&fixture.0).await.unwrap();
    sqlx::raw_sql("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM events")
        .execute(&mut dump)
        .await
        .unwrap();
    for version in 1..=500 {
        let one = contract_suite::batch([contract_suite::identified_event("a", version)]);
        log.appender.append(&one).await.unwrap();
    }
    let mut witness = PgConnection::connect(&fixture.0).await.unwrap();
    // A page has room for some 200 versions of a row.
    let grown: Vec<String> = sqlx::query_scalar(
        "SELECT relname::text FROM pg_stat_user_tables
        WHERE relname NOT IN ('events', 'requests') AND pg_relation_size(relid) > 8192",
    )
    .fetch_all(&mut witness)
    .await
    .unwrap();
    assert_eq!(grown, [""; 0]);
}
