//! Tests of the requirements of a node on its Postgres database.

use e2e::Server;
use event_log::{Location, Log, Schema};
use sqlx::{Connection as _, PgConnection};
use test_support::postgres::{self, Cluster};
use tokio::runtime::Handle;

/// Opens the log in a database without a node.
pub(crate) async fn open_log(database: &str) -> Result<Log, event_log::Error> {
    let location = Location::Database(database.parse().unwrap());
    let schema = Schema {
        current: 1,
        upcast: |_, _, _| None,
    };
    event_log::open(&location, schema, &Handle::current()).await
}

#[tokio::test]
#[ignore = "needs Postgres"]
async fn a_database_of_a_newer_version_is_refused() {
    let database = postgres::database().await;
    open_log(&database).await.unwrap();
    let mut connection = PgConnection::connect(&database).await.unwrap();
    sqlx::raw_sql(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
        VALUES (9999, 'of tomorrow', true, '', 0)",
    )
    .execute(&mut connection)
    .await
    .unwrap();
    let refused = open_log(&database).await.unwrap_err();
    assert!(
        refused
            .to_string()
            .ends_with("was written by a newer version of orderlog")
    );
}

#[tokio::test]
#[ignore = "needs Postgres"]
async fn a_node_reaches_its_database_over_tls_if_the_url_requires_it() {
    let (cluster, port) = Cluster::start_with_tls();
    let by_socket = cluster.database().await;
    let (server, _) = by_socket.split_once('?').unwrap();
    let name = server.rsplit_once('/').unwrap().1;
    let url = format!("postgres://postgres:secret@localhost:{port}/{name}");
    let trusted = cluster.folder().join("server.crt");
    let verified = format!("sslmode=verify-full&sslrootcert={}", trusted.display());
    let mut witness = PgConnection::connect(&by_socket).await.unwrap();
    for parameters in ["sslmode=require", &verified] {
        let mut node = Server::start_on(&format!("{url}?{parameters}")).await;
        let mut clients = node.clients().await;
        clients.create("").await;
        clients.head().await;
        let (all, encrypted): (i64, i64) = sqlx::query_as(
            "SELECT count(*), count(*) FILTER (WHERE ssl) FROM pg_stat_activity
            JOIN pg_stat_ssl USING (pid) WHERE application_name = 'orderlog'",
        )
        .fetch_one(&mut witness)
        .await
        .unwrap();
        assert!(all >= 2, "the writer's and the readers'");
        assert_eq!(all, encrypted);
        node.stop().await;
    }
    let untrusted = open_log(&format!("{url}?sslmode=verify-full"))
        .await
        .unwrap_err();
    let message = untrusted.to_string();
    assert!(message.contains("ertificate"), "{message}");
    assert!(
        !format!("{message} {untrusted:?}").contains("secret"),
        "{message}"
    );
}

#[tokio::test]
#[ignore = "needs Postgres"]
async fn g1_a_commit_is_synchronous_although_the_database_defaults_to_asynchronous_commits() {
    let database = postgres::database().await;
    let mut witness = PgConnection::connect(&database).await.unwrap();
    // A session takes this default unless it sets the value itself.
    sqlx::raw_sql(
        "DO $$ BEGIN EXECUTE format(
            'ALTER DATABASE %I SET synchronous_commit = off', current_database()); END $$;
        CREATE TABLE seen (setting TEXT)",
    )
    .execute(&mut witness)
    .await
    .unwrap();
    let node = Server::start_on(&database).await;
    let mut clients = node.clients().await;
    assert_eq!(clients.head().await, 0);
    sqlx::raw_sql(
        "CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            INSERT INTO seen VALUES (current_setting('synchronous_commit')); RETURN NULL;
        END $$;
        CREATE TRIGGER see AFTER INSERT ON events FOR EACH STATEMENT EXECUTE FUNCTION see()",
    )
    .execute(&mut witness)
    .await
    .unwrap();
    clients.create("").await;
    let seen: Vec<String> = sqlx::query_scalar("SELECT setting FROM seen")
        .fetch_all(&mut witness)
        .await
        .unwrap();
    assert_eq!(seen, ["on"]);
}

#[tokio::test]
#[ignore = "needs Postgres"]
async fn a_database_with_tables_of_another_program_is_refused_and_not_changed() {
    let database = postgres::database().await;
    let mut connection = PgConnection::connect(&database).await.unwrap();
    sqlx::raw_sql("CREATE TABLE events (whose TEXT)")
        .execute(&mut connection)
        .await
        .unwrap();
    let refused = open_log(&database).await.unwrap_err();
    let message = refused.to_string();
    assert!(message.contains("tables of other programs"), "{message}");
    let tables: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'public'",
    )
    .fetch_one(&mut connection)
    .await
    .unwrap();
    assert_eq!(tables, 1);
}
