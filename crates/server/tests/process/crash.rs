//! Tests of the log after the process was killed at any moment.

use crate::binary::{orderlog, start};
use contract::orders::v1::*;
use e2e::{Clients, Process};
use test_support::{order, postgres};
use tokio::task::JoinSet;

/// Returns every event of the log in order.
async fn log(clients: &mut Clients) -> Vec<RecordedEvent> {
    let stream = clients
        .events
        .subscribe(SubscribeRequest::default())
        .await
        .unwrap();
    let mut stream = stream.into_inner();
    let mut events = Vec::new();
    while let Some(response) = stream.message().await.unwrap() {
        events.extend(response.events);
    }
    events
}

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
        let mut commands = process.clients().await.commands;
        calls.spawn(async move {
            let id = create.order_id.clone();
            let reply = commands.create_order(create).await.ok()?.into_inner();
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
        let events = log(&mut clients).await;
        for (index, event) in events.iter().enumerate() {
            assert_eq!(event.position, index as u64 + 1, "dense");
        }
        for (id, position) in acknowledged {
            assert_eq!(events[position as usize - 1].aggregate_id, id);
        }
        // The clients do not know the outcome of the other commands, so they retry them.
        for create in creates {
            clients.commands.create_order(create).await.unwrap();
        }
        assert_eq!(
            log(&mut clients).await.len(),
            (round + 1) * 400,
            "each once"
        );
        process.kill();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn g1_g2_g3_g5_nothing_acknowledged_is_lost_and_nothing_happens_twice() {
    let folder = tempfile::tempdir().unwrap();
    check_acknowledged(|| start(folder.path())).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Postgres"]
async fn g1_g2_g3_g5_nothing_acknowledged_is_lost_and_nothing_happens_twice_in_postgres() {
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
async fn g7_documents_statistics_and_index_agree_with_the_log_whenever_it_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    for round in 0..3 {
        create_until_killed(start(folder.path()), round).await;
    }
    let process = start(folder.path());
    let mut clients = process.clients().await;
    let events = log(&mut clients).await;
    let head = events.len() as u64;
    let statistics = GetStatisticsRequest {
        min_position: head,
        ..Default::default()
    };
    let statistics = clients
        .queries
        .get_statistics(statistics)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        statistics.total_orders, head,
        "every event is an order created"
    );
    assert_eq!(
        statistics.amounts[0].total_amount,
        order::euros(250_000 * head as i64)
    );
    for event in events {
        let id = event.aggregate_id;
        let get = GetOrderRequest {
            order_id: id.clone(),
            ..GetOrderRequest::default()
        };
        let order = clients
            .queries
            .get_order(get)
            .await
            .unwrap()
            .into_inner()
            .order
            .unwrap();
        assert_eq!(order.position, event.position);
    }
    let search = SearchOrdersRequest {
        query: "o".into(),
        min_position: head,
        ..SearchOrdersRequest::default()
    };
    let found = clients
        .queries
        .search_orders(search)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(found.total_size, head);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_is_told_to_end_does_so_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let process = start(folder.path());
    let mut clients = process.clients().await;
    clients
        .commands
        .create_order(order::create("o", "ann"))
        .await
        .unwrap();
    let follow = SubscribeRequest {
        follow: true,
        ..SubscribeRequest::default()
    };
    let _stream = clients.events.subscribe(follow).await.unwrap();
    let ended = tokio::task::spawn_blocking(|| process.terminate());
    assert_eq!(ended.await.unwrap(), Some(0));
    for file in ["events.db", "read.db"] {
        let wal = folder.path().join(format!("{file}-wal"));
        let left = std::fs::metadata(wal).map_or(0, |wal| wal.len());
        assert_eq!(left, 0, "{file} was closed");
    }
}
