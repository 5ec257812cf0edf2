//! Tests of the lock that keeps copies away, and of the connection that listens.

use test_support::{
    postgres::{Cluster, terminate_others},
    wait_until,
};

use super::{connections::wait_for_listener, *};
use crate::contract_suite::{SCHEMA, batch, event};

/// Returns the processes that hold the lock on the log.
async fn lock_holders(connection: &mut PgConnection) -> Vec<i32> {
    let holders = sqlx::query_scalar(
        "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted AND objid = $1
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
    );
    let lock = i32::try_from(LOG_LOCK).unwrap();
    holders.bind(lock).fetch_all(connection).await.unwrap()
}

#[tokio::test]
#[ignore = "needs Postgres"]
async fn idle_node_locks_the_log_anew_after_its_connections_were_cut() {
    let fixture = EmptyDatabase::new().await;
    let database = Database::from_str(&fixture.0).unwrap();
    let mut log = fixture.open(SCHEMA).await;
    let mut witness = PgConnection::connect(&fixture.0).await.unwrap();
    wait_until("appender and listener hold the lock", async || {
        lock_holders(&mut witness).await.len() == 2
    })
    .await;
    let before = lock_holders(&mut witness).await;
    terminate_others(&mut witness).await;
    wait_until("a new connection holds the lock", async || {
        let holders = lock_holders(&mut witness).await;
        holders.iter().any(|pid| !before.contains(pid))
    })
    .await;
    assert!(connect_exclusively(&database).await.unwrap().is_none());
    log.appender
        .append(&batch([event("a", 1, b"x")]))
        .await
        .unwrap();
}

#[tokio::test]
#[ignore = "needs Postgres"]
async fn node_appends_nothing_to_an_unfinished_copy_after_a_reconnect() {
    let fixture = EmptyDatabase::new().await;
    let mut log = fixture.open(SCHEMA).await;
    let mut witness = PgConnection::connect(&fixture.0).await.unwrap();
    sqlx::raw_sql("UPDATE log SET whole = false")
        .execute(&mut witness)
        .await
        .unwrap();
    terminate_others(&mut witness).await;
    let one = batch([event("a", 1, b"x")]);
    // The first append may find the connection cut.
    let refused = log.appender.append(&one).await;
    let refused = match refused {
        Err(Error::Store(_)) => log.appender.append(&one).await,
        refused => refused,
    };
    assert!(matches!(refused, Err(Error::NotWhole)), "{refused:?}");
    fixture
        .execute("UPDATE log SET whole = true")
        .await
        .unwrap();
    assert_eq!(log.appender.append(&one).await.unwrap(), Point::START);
}

#[tokio::test]
#[ignore = "needs Postgres"]
async fn node_listens_although_connecting_takes_longer_than_a_poll() {
    let cluster = Cluster::start("post_auth_delay = 1");
    let fixture = EmptyDatabase(cluster.database().await);
    let mut log = fixture.open(SCHEMA).await;
    // The node polls meanwhile, as it always does.
    let polls = async {
        loop {
            log.notifications.next().await;
        }
    };
    tokio::select! {
        () = wait_for_listener(&fixture.0) => {}
        () = polls => {}
    }
}
