//! Tests of the servers, sessions and schemas that a node accepts.

use std::{fs, os::unix::fs::PermissionsExt as _};

use test_support::{eventually, postgres::Cluster, wait_until};

use super::*;
use crate::{
    Position,
    contract_suite::{SCHEMA, batch, event},
};

/// Runs statements on the database, without the log's code.
pub(super) async fn run(url: &str, sql: &'static str) {
    let mut connection = PgConnection::connect(url).await.unwrap();
    sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

/// Adds parameters to a URL.
fn with(url: &str, parameters: &str) -> String {
    let separator = if url.contains('?') { '&' } else { '?' };
    format!("{url}{separator}{parameters}")
}

pub(super) async fn open_at(url: &str) -> Result<Log, Error> {
    let database = Database::from_str(url).unwrap();
    open(&database, SCHEMA, &Handle::current()).await
}

/// Appends a version of an aggregate, and retries while the database does not answer.
pub(super) async fn append(log: &mut Log, version: u64) {
    let one = batch([event("a", version, b"x")]);
    let appended = eventually("the log takes an event", async || {
        log.appender.append(&one).await.ok()
    });
    assert_eq!((appended.await.position + 1).get(), version);
}

/// Checks the number of events that each reader returns, and retries while the database does not
/// answer.
pub(super) async fn assert_read(log: &Log, count: usize) {
    for reader in [&log.reader, &log.follower] {
        let page = eventually("a reader answers", async || {
            let page = reader.page(Point::START, Position::MAX, 100).await;
            page.ok()
        });
        assert_eq!(page.await.records.len(), count);
    }
}

/// Waits until a session of the database listens for notifications.
pub(super) async fn wait_for_listener(url: &str) {
    let mut witness = PgConnection::connect(url).await.unwrap();
    wait_until("a session listens", async || {
        let listening = "SELECT count(*) FROM pg_stat_activity
            WHERE datname = current_database() AND query LIKE 'LISTEN%'";
        let listening: i64 = sqlx::query_scalar(listening)
            .fetch_one(&mut witness)
            .await
            .unwrap();
        listening > 0
    })
    .await;
}

#[tokio::test]
#[ignore = "needs Postgres"]
async fn read_only_server_is_not_used_until_it_takes_writes() {
    let url = EmptyDatabase::new().await.0;
    let mut log = open_at(&url).await.unwrap();
    append(&mut log, 1).await;
    assert_read(&log, 1).await;
    let alter = |value: &str| {
        let name = url.split('?').next().unwrap().rsplit('/').next().unwrap();
        format!("ALTER DATABASE {name} SET default_transaction_read_only = {value}")
    };
    let mut witness = PgConnection::connect(&url).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(alter("on")))
        .execute(&mut witness)
        .await
        .unwrap();
    test_support::postgres::terminate_others(&mut witness).await;
    // The first answer may be of a terminated connection.
    let _ = log.appender.head().await;
    for head in [
        log.reader.head().await,
        log.follower.head().await,
        log.appender.head().await,
    ] {
        let is_read_only = matches!(&head, Err(Error::Database(OpenError::ReadOnly(_))));
        assert!(is_read_only, "{head:?}");
    }
    let refused = open_at(&url).await.unwrap_err().to_string();
    assert!(refused.contains("is read-only"), "{refused}");
    sqlx::raw_sql("SET default_transaction_read_only = off")
        .execute(&mut witness)
        .await
        .unwrap();
    sqlx::raw_sql(AssertSqlSafe(alter("off")))
        .execute(&mut witness)
        .await
        .unwrap();
    append(&mut log, 2).await;
    assert_read(&log, 2).await;
}

#[tokio::test]
#[ignore = "needs Postgres"]
async fn rotated_password_is_read_from_its_file_without_a_restart() {
    let cluster = Cluster::start("");
    let url = cluster.database().await;
    run(&url, "CREATE ROLE ann LOGIN PASSWORD 'first'").await;
    run(&url, "GRANT ALL ON SCHEMA public TO ann").await;
    cluster.require_passwords("ann").await;
    let file = tempfile::NamedTempFile::new().unwrap();
    let write = |password: &str| {
        fs::write(file.path(), format!("*:*:*:ann:{password}\n")).unwrap();
        fs::set_permissions(file.path(), fs::Permissions::from_mode(0o600)).unwrap();
    };
    write("first");
    let as_ann = with(
        &url,
        &format!("user=ann&passfile={}", file.path().display()),
    );
    let mut log = open_at(&as_ann).await.unwrap();
    append(&mut log, 1).await;
    assert_read(&log, 1).await;

    run(&url, "ALTER ROLE ann PASSWORD 'second'").await;
    let mut witness = PgConnection::connect(&url).await.unwrap();
    test_support::postgres::terminate_others(&mut witness).await;
    let refused = open_at(&as_ann).await.unwrap_err().to_string();
    assert!(
        refused.contains("password authentication failed"),
        "{refused}"
    );
    write("second");
    append(&mut log, 2).await;
    assert_read(&log, 2).await;
}

#[tokio::test]
#[ignore = "needs Postgres"]
async fn migrations_of_another_program_are_told_apart_from_a_newer_version() {
    let url = EmptyDatabase::new().await.0;
    run(
        &url,
        "CREATE TABLE _sqlx_migrations (version BIGINT PRIMARY KEY, description TEXT NOT NULL,
            installed_on TIMESTAMPTZ NOT NULL DEFAULT now(), success BOOLEAN NOT NULL,
            checksum BYTEA NOT NULL, execution_time BIGINT NOT NULL);
        INSERT INTO _sqlx_migrations VALUES (20240101, 'users', now(), true, 'abc', 1)",
    )
    .await;
    let database = Database::from_str(&url).unwrap();
    let refused = open_at(&url).await.unwrap_err();
    let to_read = connect_to_read(&database).await.unwrap_err();
    for refused in [refused, to_read] {
        let is_foreign = matches!(refused, Error::Database(OpenError::Foreign(_)));
        assert!(is_foreign, "{refused}");
    }
    // A schema of its own keeps the programs apart.
    run(&url, "CREATE SCHEMA orders").await;
    let own = with(&url, "options=-csearch_path%3Dorders");
    let mut log = open_at(&own).await.unwrap();
    append(&mut log, 1).await;
    assert_read(&log, 1).await;
    let mut witness = PgConnection::connect(&url).await.unwrap();
    let tables: Vec<String> = sqlx::query_scalar(
        "SELECT schemaname || '.' || tablename FROM pg_tables
        WHERE schemaname IN ('orders', 'public') ORDER BY 1",
    )
    .fetch_all(&mut witness)
    .await
    .unwrap();
    let expected = [
        "_sqlx_migrations",
        "append_lock",
        "events",
        "log",
        "requests",
    ];
    let mut expected: Vec<_> = expected.map(|table| format!("orders.{table}")).into();
    expected.push("public._sqlx_migrations".to_owned());
    assert_eq!(tables, expected);
}

#[tokio::test]
#[ignore = "needs Postgres"]
async fn time_limits_hold_whatever_the_url_asks_for() {
    let url = EmptyDatabase::new().await.0;
    let asked = "options=-cstatement_timeout%3D0%20-cwork_mem%3D77kB&application_name=mine";
    let database = Database::from_str(&with(&url, asked)).unwrap();
    for purpose in [Purpose::Append, Purpose::Read] {
        let mut connection = database.connect(purpose).await.unwrap();
        let settings: (String, String, String, String) = sqlx::query_as(
            "SELECT current_setting('statement_timeout'),
                current_setting('idle_in_transaction_session_timeout'),
                current_setting('work_mem'), current_setting('application_name')",
        )
        .fetch_one(&mut connection)
        .await
        .unwrap();
        let expected = ["5s", "1s", "77kB", "mine"].map(str::to_owned);
        assert_eq!(<[String; 4]>::from(settings), expected);
    }
}

#[tokio::test]
#[ignore = "needs Postgres"]
async fn settings_that_risk_commits_are_named() {
    for (configuration, expected) in [
        ("", vec!["fsync"]),
        (
            "fsync = on\nfull_page_writes = off",
            vec!["full_page_writes"],
        ),
        ("fsync = on", vec![]),
    ] {
        let cluster = Cluster::start(configuration);
        let database = Database::from_str(&cluster.database().await).unwrap();
        let mut connection = database.connect(Purpose::Maintain).await.unwrap();
        let named = database.unsafe_settings(&mut connection).await.unwrap();
        assert_eq!(named, expected);
    }
}
