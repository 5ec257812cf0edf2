//! Tests of several nodes on one Postgres, as clients see them.

use std::collections::BTreeSet;

use contract::orders::v1::{recorded_event::Payload, *};
use e2e::{Clients, Server, positions};
use event_log::{Aggregate, Batch, NewEvent};
use prost::Message as _;
use sqlx::{Connection as _, PgConnection, postgres::PgListener};
use test_support::{
    DEADLINE, assert_error, assert_refused, order,
    postgres::{self, Replicated, Replication},
    request::{events_after, follow},
    wait_until,
};
use tokio::{task::JoinSet, time::timeout};
use tonic::Code;

use crate::database::open_log;

/// Starts two nodes and returns them with the URL of their database.
async fn nodes() -> ([Server; 2], String) {
    let database = postgres::database().await;
    // The nodes start together, so that both try to create the tables.
    let nodes = tokio::join!(Server::start_on(&database), Server::start_on(&database));
    let nodes: [Server; 2] = nodes.into();
    for node in &nodes {
        assert_eq!(node.clients().await.head().await, 0);
    }
    (nodes, database)
}

#[tokio::test]
#[ignore = "needs Postgres"]
async fn g3_g6_subscribers_of_each_node_get_the_events_of_all_nodes_once_and_in_order() {
    let (nodes, _) = nodes().await;
    let mut streams = Vec::new();
    let mut calls = JoinSet::new();
    for (index, node) in nodes.iter().enumerate() {
        let mut clients = node.clients().await;
        streams.push(clients.subscribe(follow(0)).await.unwrap());
        for number in 0..100 {
            let mut clients = clients.clone();
            let create = order::create(&format!("o-{index}-{number}"), "ann");
            calls.spawn(async move { clients.create_order(create).await.unwrap() });
        }
    }
    let replies = calls.join_all().await;
    let replied: BTreeSet<_> = replies.iter().map(|reply| reply.position).collect();
    assert_eq!(replied, (1..=200).collect());
    let mut logs = Vec::new();
    for stream in &mut streams {
        logs.push(stream.up_to(200).await);
    }
    assert_eq!(positions(&logs[0]), (1..=200).collect::<Vec<_>>());
    assert_eq!(logs[0], logs[1]);
    for reply in replies {
        let event = &logs[0][reply.position as usize - 1];
        assert_eq!(event.aggregate_id, reply.order_id);
    }
}

/// Follows the log over connections that end after a few responses, and changes the node each time.
/// Returns the positions of all events.
async fn follow_with_reconnects(urls: Vec<String>, first: usize, up_to: u64) -> Vec<u64> {
    let mut given: Vec<u64> = Vec::new();
    let mut connections = first;
    while given.last() < Some(&up_to) {
        let url = &urls[connections % urls.len()];
        let mut clients = Clients::connect(url).await.unwrap();
        let after = given.last().copied().unwrap_or(0);
        let mut stream = clients.subscribe(follow(after)).await.unwrap();
        for _ in 0..=connections % 3 {
            given.extend(positions(&stream.response().await.events));
            if given.last() == Some(&up_to) {
                break;
            }
        }
        connections += 1;
    }
    given
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Postgres"]
async fn g3_g6_subscribers_that_reconnect_to_four_nodes_get_each_event_once() {
    const WRITERS: usize = 32;
    const EACH: usize = 25;
    let database = postgres::database().await;
    let mut nodes = Vec::new();
    for _ in 0..4 {
        nodes.push(Server::start_on(&database).await);
    }
    let urls: Vec<_> = nodes.iter().map(Server::url).collect();
    let all = (WRITERS * EACH) as u64;
    let mut subscribers = JoinSet::new();
    for index in 0..8 {
        subscribers.spawn(follow_with_reconnects(urls.clone(), index, all));
    }
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let url = urls[writer % urls.len()].clone();
        writers.spawn(async move {
            let mut clients = Clients::connect(&url).await.unwrap();
            for _ in 0..EACH {
                let create = order::create("", &format!("customer-{writer}"));
                clients.create_order(create).await.unwrap();
            }
        });
    }
    writers.join_all().await;
    for given in subscribers.join_all().await {
        assert_eq!(given, (1..=all).collect::<Vec<_>>());
    }
}

/// Makes the insert of the order `held` wait inside its transaction, until `holder` releases its
/// advisory lock 7.
async fn hold_append(holder: &mut PgConnection) {
    sqlx::raw_sql(
        "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF NEW.aggregate_id = 'held' THEN PERFORM pg_advisory_xact_lock(7); END IF;
            RETURN NEW;
        END $$;
        CREATE TRIGGER wait BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION wait();
        SELECT pg_advisory_lock(7)",
    )
    .execute(holder)
    .await
    .unwrap();
}

#[tokio::test]
#[ignore = "needs Postgres"]
async fn g3_no_event_is_visible_while_an_earlier_append_is_still_open() {
    let (nodes, database) = nodes().await;
    let mut holder = PgConnection::connect(&database).await.unwrap();
    hold_append(&mut holder).await;
    let [mut first, mut second] = [nodes[0].clients().await, nodes[1].clients().await];
    let streams = [
        first.subscribe(follow(0)).await.unwrap(),
        second.subscribe(follow(0)).await.unwrap(),
    ];
    let held = tokio::spawn(async move { first.create("held").await });
    postgres::wait_for_advisory_lock(&mut holder).await;
    let mut writing = second.clone();
    let other = tokio::spawn(async move { writing.create("other").await });
    wait_until("the other append waits for the log", async || {
        let waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
            AND wait_event_type = 'Lock' AND wait_event <> 'advisory'";
        let waiting: i64 = sqlx::query_scalar(waiting)
            .fetch_one(&mut holder)
            .await
            .unwrap();
        waiting > 0
    })
    .await;
    assert_eq!(second.head().await, 0);
    sqlx::raw_sql("SELECT pg_advisory_unlock(7)")
        .execute(&mut holder)
        .await
        .unwrap();
    assert_eq!((held.await.unwrap(), other.await.unwrap()), (1, 2));
    for mut stream in streams {
        let events = stream.up_to(2).await.into_iter();
        let ids: Vec<_> = events.map(|event| event.aggregate_id).collect();
        assert_eq!(ids, ["held", "other"]);
    }
}

#[tokio::test]
#[ignore = "needs Postgres"]
async fn g4_g5_nodes_decide_on_the_events_of_other_nodes() {
    let (nodes, _) = nodes().await;
    let mut creates = JoinSet::new();
    let mut repeats = JoinSet::new();
    let repeated = order::create("", "ann");
    for node in &nodes {
        let clients = node.clients().await;
        for _ in 0..20 {
            let (mut creating, create) = (clients.clone(), order::create("o", "ann"));
            creates.spawn(async move { creating.create_order(create).await });
            let (mut repeating, repeated) = (clients.clone(), repeated.clone());
            repeats.spawn(async move { repeating.create_order(repeated).await.unwrap() });
        }
    }
    let created = creates.join_all().await;
    let refused: Vec<_> = created.into_iter().filter(Result::is_err).collect();
    assert_eq!(refused.len(), 39, "one node creates the order");
    for refused in refused {
        assert_refused(refused, Code::AlreadyExists, "ORDER_ALREADY_EXISTS");
    }
    let replies = repeats.join_all().await;
    assert!(replies.iter().all(|reply| *reply == replies[0]));
    let [mut first, mut second] = [nodes[0].clients().await, nodes[1].clients().await];
    assert_eq!(first.head().await, 2);
    let cancel = CancelOrderRequest {
        expected_version: Some(1),
        ..order::cancel("o")
    };
    second.cancel_order(cancel.clone()).await.unwrap();
    let late = first.cancel_order(cancel).await;
    assert_refused(late, Code::Aborted, "VERSION_MISMATCH");
}

#[tokio::test]
#[ignore = "needs Postgres"]
async fn g8_a_position_of_one_node_holds_on_another() {
    let (nodes, _) = nodes().await;
    let [mut first, mut second] = [nodes[0].clients().await, nodes[1].clients().await];
    for number in 0..20 {
        let id = format!("o-{number}");
        let position = first.create(&id).await;
        let mut stream = second.subscribe(follow(position)).await.unwrap();
        second.order(&id, position).await;
        let next = second.create("").await;
        assert_eq!(positions(&stream.up_to(next).await), [next]);
    }
}

/// Retries a command until it is answered. Returns its request id and the reply.
async fn retried(
    mut clients: Clients,
    create: CreateOrderRequest,
) -> (String, CreateOrderResponse) {
    loop {
        match clients.create_order(create.clone()).await {
            Ok(reply) => return (create.request_id, reply),
            Err(status) => assert_error(&status, Code::Unavailable, "STORE_UNAVAILABLE"),
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
#[ignore = "needs Postgres"]
async fn g1_g5_retried_commands_take_effect_once_while_connections_are_killed() {
    let (nodes, database) = nodes().await;
    let clients = nodes[0].clients().await;
    let mut calls = JoinSet::new();
    for _ in 0..200 {
        calls.spawn(retried(clients.clone(), order::create("", "ann")));
    }
    let mut killer = PgConnection::connect(&database).await.unwrap();
    let mut replies = Vec::new();
    while let Some(reply) = calls.join_next().await {
        replies.push(reply.unwrap());
        if replies.len() % 20 == 0 && replies.len() < 200 {
            postgres::terminate_others(&mut killer).await;
        }
    }
    let mut second = nodes[1].clients().await;
    let mut stream = None;
    // Each of the node's connections that was killed fails one call.
    wait_until("the other node has recovered too", async || {
        let subscribed = second.subscribe(follow(0)).await;
        let subscribed =
            subscribed.inspect_err(|status| assert_eq!(status.code(), Code::Unavailable));
        stream = subscribed.ok();
        stream.is_some()
    })
    .await;
    let events = stream.unwrap().up_to(200).await;
    assert_eq!(positions(&events), (1..=200).collect::<Vec<_>>());
    for (request_id, reply) in replies {
        let event = &events[reply.position as usize - 1];
        assert_eq!(event.request_id, request_id);
        assert_eq!(event.aggregate_id, reply.order_id);
    }
}

#[tokio::test]
#[ignore = "needs Postgres"]
async fn g1_g5_g6_nothing_acknowledged_is_lost_at_a_failover_to_a_synchronous_standby() {
    let servers = Replicated::start(Replication::Synchronous).await;
    let database = servers.database().await.both;
    let node = Server::start_on(&database).await;
    let other = Server::start_on(&database).await;
    let mut stream = other.clients().await.subscribe(follow(0)).await.unwrap();
    let clients = node.clients().await;
    let mut calls = JoinSet::new();
    for _ in 0..20 {
        calls.spawn(retried(clients.clone(), order::create("", "ann")));
    }
    let mut replies = calls.join_all().await;
    servers.kill_primary();
    let mut calls = JoinSet::new();
    for _ in 0..20 {
        calls.spawn(retried(clients.clone(), order::create("", "ann")));
    }
    servers.promote().await;
    let answered = timeout(DEADLINE, calls.join_all()).await;
    replies.extend(answered.expect("commands are answered after the failover"));
    let events = stream.up_to(40).await;
    assert_eq!(positions(&events), (1..=40).collect::<Vec<_>>());
    for (request_id, reply) in replies {
        let event = &events[reply.position as usize - 1];
        assert_eq!(event.request_id, request_id);
    }
}

/// Returns the event that renames the product `tea`.
fn renamed(version: u64) -> NewEvent {
    let record = RecordedEvent {
        aggregate_type: AggregateType::Product.into(),
        aggregate_id: "tea".into(),
        version,
        payload: Some(Payload::ProductRenamed(ProductRenamed::default())),
        ..RecordedEvent::default()
    };
    NewEvent {
        aggregate: Aggregate {
            kind: AggregateType::Product.into(),
            id: "tea".into(),
        },
        version: version.into(),
        event_type: "ProductRenamed".into(),
        schema_version: 1,
        record: record.encode_to_vec(),
    }
}

#[tokio::test]
#[ignore = "needs Postgres"]
async fn g6_a_subscription_that_does_not_follow_ends_at_the_head_of_the_database() {
    let (nodes, database) = nodes().await;
    let mut log = open_log(&database).await.unwrap();
    let mut clients = nodes[0].clients().await;
    for version in 1..=20 {
        let batch = Batch {
            events: vec![renamed(version)],
            requests: Vec::new(),
        };
        // No notification announces this append, and the next poll of the nodes is up to 250 ms
        // away.
        let before = log.appender.append(&batch).await.unwrap();
        let position = (before.position + 1).get();
        let events = clients.events(events_after(position - 1)).await;
        assert_eq!(positions(&events), [position]);
    }
}

#[tokio::test]
#[ignore = "needs Postgres"]
async fn a_node_notifies_the_others_of_an_append() {
    let (nodes, database) = nodes().await;
    let mut listener = PgListener::connect(&database).await.unwrap();
    listener.listen("orderlog").await.unwrap();
    nodes[0].clients().await.create("").await;
    timeout(DEADLINE, listener.recv()).await.unwrap().unwrap();
}
