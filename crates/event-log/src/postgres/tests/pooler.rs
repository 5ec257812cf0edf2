//! Tests of a node behind PgBouncer.

use test_support::postgres::{Cluster, Pooler, terminate_others};

use super::{
    connections::{append, assert_read, open_at, wait_for_listener},
    *,
};

#[tokio::test]
#[ignore = "needs Postgres and PgBouncer"]
async fn node_works_through_a_pooler_with_its_time_limits() {
    let cluster = Cluster::start("");
    let direct = cluster.database().await;
    let _pooler = Pooler::start(&cluster).await;
    let url = Pooler::url(&direct);
    let mut log = open_at(&url).await.unwrap();
    append(&mut log, 1).await;
    assert_read(&log, 1).await;
    wait_for_listener(&direct).await;
    let database = Database::from_str(&url).unwrap();
    for purpose in [Purpose::Append, Purpose::Read] {
        let mut connection = database.connect(purpose).await.unwrap();
        let limit: String = sqlx::query_scalar("SHOW statement_timeout")
            .fetch_one(&mut connection)
            .await
            .unwrap();
        assert_eq!(limit, "5s", "{purpose:?}");
    }
    let mut witness = PgConnection::connect(&direct).await.unwrap();
    terminate_others(&mut witness).await;
    append(&mut log, 2).await;
    assert_read(&log, 2).await;
}
