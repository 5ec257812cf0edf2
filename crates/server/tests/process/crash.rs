//! Tests of the log after the process was killed at any moment.

use contract::orders::v1::*;
use e2e::Process;
use test_support::{
    order, postgres,
    request::{follow, max_wait},
};
use tokio::task::JoinSet;

use crate::binary::{orderlog, start};

/// Creates orders from many clients and kills the process meanwhile. Returns all requests, and the
/// positions of the acknowledged ones.
async fn create_until_killed(
    process: Process,
    round: usize,
) -> (Vec<CreateOrderRequest>, Vec<(String, u64)>) {
    let mut calls = JoinSet::new();
    let creates: Vec<_> = (0..400)
        .map(|index| order::create(&format!("o-{round}-{index}"), "ann"))
        .collect();
    for create in creates.clone() {
        let mut clients = process.clients().await;
        calls.spawn(async move {
            let id = create.order_id.clone();
            let reply = clients.create_order(create).await.ok()?;
            Some((id, reply.position))
        });
    }
    let mut acknowledged = Vec::new();
    while acknowledged.len() < 100 {
        acknowledged.extend(calls.join_next().await.unwrap().unwrap());
    }
    process.kill();
    while let Some(reply) = calls.join_next().await {
        acknowledged.extend(reply.unwrap());
    }
    (creates, acknowledged)
}

/// Kills the process in three rounds, and checks the log after each.
async fn check_acknowledged(start: impl Fn() -> Process) {
    for round in 0..3 {
        let (creates, acknowledged) = create_until_killed(start(), round).await;
        let process = start();
        let mut clients = process.clients().await;
        let events = clients.log().await;
        for (id, position) in acknowledged {
            assert_eq!(events[position as usize - 1].aggregate_id, id);
        }
        // The clients do not know the outcome of the other commands, so they retry them.
        for create in creates {
            clients.create_order(create).await.unwrap();
        }
        let events = clients.log().await;
        assert_eq!(events.len(), (round + 1) * 400, "each command once");
        process.kill();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn g1_g2_g3_g5_each_command_takes_effect_once_when_the_process_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    check_acknowledged(|| start(folder.path())).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Postgres"]
async fn g1_g2_g3_g5_each_command_takes_effect_once_when_the_process_is_killed_with_postgres() {
    let database = postgres::database().await;
    let start = || {
        let mut serve = orderlog();
        serve.args(["serve", "--listen", "127.0.0.1:0", "--roles", "command"]);
        serve.env("ORDERLOG_DATABASE_URL", &database);
        serve.into()
    };
    check_acknowledged(start).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn g7_documents_statistics_and_index_agree_with_the_log_after_kills() {
    let folder = tempfile::tempdir().unwrap();
    for round in 0..3 {
        create_until_killed(start(folder.path()), round).await;
    }
    let process = start(folder.path());
    let mut clients = process.clients().await;
    let events = clients.log().await;
    let head = events.len() as u64;
    let statistics = GetStatisticsRequest {
        min_position: head,
        max_wait: max_wait(),
        ..GetStatisticsRequest::default()
    };
    let statistics = clients.queries.get_statistics(statistics).await.unwrap();
    let statistics = statistics.into_inner();
    assert_eq!(statistics.total_orders, head, "each event creates an order");
    assert_eq!(
        statistics.amounts[0].total_amount,
        order::euros(250_000 * head as i64)
    );
    for event in events {
        let order = clients.order(&event.aggregate_id, 0).await;
        assert_eq!(order.position, event.position);
    }
    let found = clients.search("o", head).await.unwrap();
    assert_eq!(found.total_size, head);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminated_process_closes_its_files_and_exits_with_0() {
    let folder = tempfile::tempdir().unwrap();
    let process = start(folder.path());
    let mut clients = process.clients().await;
    clients.create("o").await;
    let _stream = clients.subscribe(follow(0)).await.unwrap();
    assert_eq!(process.shut_down().await, Some(0));
    for file in ["events.db", "read.db"] {
        let wal = folder.path().join(format!("{file}-wal"));
        let left = std::fs::metadata(wal).map_or(0, |wal| wal.len());
        assert_eq!(left, 0, "{file} was closed");
    }
}
