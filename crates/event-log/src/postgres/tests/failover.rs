//! Tests of a node on two servers with streaming replication.

use test_support::{
    Proxy,
    postgres::{Replicated, Replication, at},
    wait_until,
};

use super::{
    connections::{append, assert_read, open_at, wait_for_listener},
    *,
};

/// Waits until a server has this number of events.
async fn wait_for_events(url: &str, count: i64) {
    let mut witness = PgConnection::connect(url).await.unwrap();
    wait_until(format!("the server has {count} events"), async || {
        let events = sqlx::query_scalar("SELECT count(*) FROM events");
        // The server may lack the table still.
        let events: i64 = events.fetch_one(&mut witness).await.unwrap_or(0);
        events == count
    })
    .await;
}

#[tokio::test]
#[ignore = "needs Postgres"]
async fn g1_g3_node_goes_on_where_it_was_after_a_failover() {
    let servers = Replicated::start(Replication::Synchronous).await;
    let urls = servers.database().await;
    let mut log = open_at(&urls.both).await.unwrap();
    for version in 1..=3 {
        append(&mut log, version).await;
    }
    assert_read(&log, 3).await;
    wait_for_listener(&urls.primary).await;

    servers.kill_primary();
    let refused = open_at(&urls.both).await.unwrap_err().to_string();
    assert!(refused.contains("no server takes writes"), "{refused}");
    assert!(refused.contains("is read-only"), "{refused}");
    let dead = servers.primary.folder().display().to_string();
    assert!(refused.contains(&dead), "{refused}");

    servers.promote().await;
    append(&mut log, 4).await;
    assert_read(&log, 4).await;
    wait_for_listener(&urls.standby).await;
    let mut reopened = open_at(&urls.both).await.unwrap();
    append(&mut reopened, 5).await;
    assert_read(&log, 5).await;
}

#[tokio::test]
#[ignore = "needs Postgres"]
async fn node_leaves_a_primary_that_vanished_without_closing_its_connections() {
    let servers = Replicated::start(Replication::Asynchronous).await;
    let urls = servers.database().await;
    let (socket, _) = at(&urls.primary, "");
    let network = Proxy::to(&socket).await;
    let standby = servers.standby.folder().display().to_string();
    let (_, url) = at(&urls.primary, network.address());
    let (host, port) = network.address().split_once(':').unwrap();
    let both = format!("{url}&host={host},{standby}&port={port},5432");
    let mut log = open_at(&both).await.unwrap();
    append(&mut log, 1).await;
    assert_read(&log, 1).await;
    wait_for_events(&urls.standby, 1).await;

    network.darken();
    servers.promote().await;
    append(&mut log, 2).await;
    assert_read(&log, 2).await;
}

#[tokio::test]
#[ignore = "needs Postgres"]
async fn export_reads_from_a_standby_if_it_is_the_only_server_or_any_will_do() {
    let servers = Replicated::start(Replication::Asynchronous).await;
    let urls = servers.database().await;
    open_at(&urls.both).await.unwrap();
    servers.kill_primary();
    let read = async |url: &str| {
        let database = Database::from_str(url).unwrap();
        connect_to_read(&database).await.map(drop)
    };
    wait_until("the standby has the tables", async || {
        read(&urls.standby).await.is_ok()
    })
    .await;
    let any = format!("{}&target_session_attrs=any", urls.both);
    read(&any).await.unwrap();
    let refused = read(&urls.both).await.unwrap_err();
    let is_refused = matches!(&refused, Error::Database(OpenError::NoServer(_)));
    assert!(is_refused, "{refused}");
}

#[tokio::test]
#[ignore = "needs Postgres"]
async fn asynchronous_standby_loses_the_commits_that_it_lacks() {
    let servers = Replicated::start(Replication::Asynchronous).await;
    let urls = servers.database().await;
    let mut log = open_at(&urls.both).await.unwrap();
    append(&mut log, 1).await;
    wait_for_events(&urls.standby, 1).await;
    servers.pause_replication().await;
    append(&mut log, 2).await;
    servers.resume_replication().await;
    wait_for_events(&urls.standby, 2).await;
    servers.pause_replication().await;
    append(&mut log, 3).await;
    servers.kill_primary();
    servers.promote().await;
    let mut log = open_at(&urls.both).await.unwrap();
    assert_eq!(log.appender.head().await.unwrap().get(), 2);
}
