//! Tests of faults between clients, nodes and Postgres, as clients see them.

use std::collections::BTreeMap;

use contract::orders::v1::*;
use e2e::{Clients, Server};
use sqlx::{Connection as _, PgConnection};
use test_support::{
    Proxy, assert_error, assert_refused, eventually, order,
    postgres::{self, Cluster},
    request, wait_until,
};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_types::StatusExt as _;

use crate::health::{Watch, health, wait_until_serving};

/// Asserts that the outcome of a call is unknown and that the error has a time to retry.
fn assert_unavailable(status: &Status) {
    assert_error(status, Code::Unavailable, "STORE_UNAVAILABLE");
    assert!(status.get_details_retry_info().is_some());
}

/// Returns the whole log, and retries while the database is unavailable.
async fn log(clients: &mut Clients) -> Vec<RecordedEvent> {
    wait_until("the log can be read", async || {
        let subscribed = clients.subscribe(request::events_after(0)).await;
        subscribed.inspect_err(assert_unavailable).is_ok()
    })
    .await;
    clients.log().await
}

/// Retries a command until it is answered, as a client does.
async fn retried(clients: &mut Clients, create: &CreateOrderRequest) -> CreateOrderResponse {
    loop {
        match clients.create_order(create.clone()).await {
            Ok(reply) => return reply,
            Err(status) => assert_unavailable(&status),
        }
        tokio::task::yield_now().await;
    }
}

/// Starts a node that reaches its database through a proxy. The returned connection bypasses the
/// proxy.
async fn node_behind(database: &str) -> (Server, Proxy, PgConnection) {
    let network = Proxy::to(&postgres::at(database, "").0).await;
    let node = Server::start_on(&postgres::at(database, network.address()).1).await;
    (
        node,
        network,
        PgConnection::connect(database).await.unwrap(),
    )
}

/// Kills a connection inside a transaction, at the point where the trigger `moment` blocks it.
/// Checks that a retry appends one event.
async fn check_killed_at(moment: &str) {
    let database = postgres::database().await;
    let node = Server::start_on(&database).await;
    let mut clients = node.clients().await;
    assert_eq!(clients.head().await, 0);
    let mut killer = PgConnection::connect(&database).await.unwrap();
    let mut holder = PgConnection::connect(&database).await.unwrap();
    sqlx::raw_sql(
        "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN PERFORM pg_advisory_xact_lock(7); RETURN NEW; END $$",
    )
    .execute(&mut killer)
    .await
    .unwrap();
    let trigger = format!("CREATE {moment} FOR EACH ROW EXECUTE FUNCTION wait()");
    sqlx::raw_sql(sqlx::AssertSqlSafe(trigger))
        .execute(&mut killer)
        .await
        .unwrap();
    sqlx::raw_sql("SELECT pg_advisory_lock(7)")
        .execute(&mut holder)
        .await
        .unwrap();
    let create = order::create("o", "ann");
    let (mut first, command) = (clients.clone(), create.clone());
    let call = tokio::spawn(async move { first.create_order(command).await });
    postgres::wait_for_advisory_lock(&mut killer).await;
    sqlx::raw_sql(
        "SELECT pg_terminate_backend(pid) FROM pg_locks
        WHERE locktype = 'advisory' AND NOT granted
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
    )
    .execute(&mut killer)
    .await
    .unwrap();
    assert_unavailable(&call.await.unwrap().unwrap_err());
    holder.close().await.unwrap();
    let reply = retried(&mut clients, &create).await;
    let events = log(&mut clients).await;
    assert_eq!(events.len(), 1, "once");
    assert_eq!((reply.position, &*reply.order_id), (1, "o"));
}

#[tokio::test]
#[ignore = "needs Postgres"]
async fn g1_g5_a_command_whose_connection_is_killed_before_the_commit_takes_effect_once_retried() {
    check_killed_at("TRIGGER wait BEFORE INSERT ON events").await;
}

#[tokio::test]
#[ignore = "needs Postgres"]
async fn g1_g5_a_command_whose_connection_is_killed_during_the_commit_takes_effect_once_retried() {
    check_killed_at("CONSTRAINT TRIGGER wait AFTER INSERT ON events DEFERRABLE INITIALLY DEFERRED")
        .await;
}

#[tokio::test]
#[ignore = "needs Postgres"]
async fn g1_g5_a_retry_returns_the_position_of_a_commit_whose_answer_was_lost() {
    let database = postgres::database().await;
    let (node, network, mut witness) = node_behind(&database).await;
    let mut clients = node.clients().await;
    retried(&mut clients, &order::create("first", "ann")).await;
    network.mute();
    let create = order::create("o", "ann");
    let (mut first, command) = (clients.clone(), create.clone());
    let call = tokio::spawn(async move { first.create_order(command).await });
    let position: i64 = eventually("the command is committed", async || {
        sqlx::query_scalar("SELECT position FROM events WHERE aggregate_id = 'o'")
            .fetch_optional(&mut witness)
            .await
            .unwrap()
    })
    .await;
    network.cut();
    assert_unavailable(&call.await.unwrap().unwrap_err());
    network.mend();
    let reply = retried(&mut clients, &create).await;
    assert_eq!(reply.position, position.cast_unsigned());
    assert_eq!(log(&mut clients).await.len(), 2, "once");
}

/// Starts 8 writers that create orders, each retried until it is answered. Each writer returns the
/// positions of its replies by request id.
fn start_writers(clients: &Clients, stop: &CancellationToken) -> JoinSet<BTreeMap<String, u64>> {
    let mut writers = JoinSet::new();
    for writer in 0..8 {
        let (mut clients, stop) = (clients.clone(), stop.clone());
        writers.spawn(async move {
            let mut positions = BTreeMap::new();
            while !stop.is_cancelled() {
                let create = order::create("", &format!("customer-{writer}"));
                let reply = retried(&mut clients, &create).await;
                positions.insert(create.request_id, reply.position);
            }
            positions
        });
    }
    writers
}

/// Checks a node under load that loses its database twice and recovers.
async fn check_outages(node: &Server, lose: impl Fn(), get_back: impl Fn()) {
    let mut clients = node.clients().await;
    let mut watch = Watch::start(&clients, "orders.v1.CommandService").await;
    watch.wait_for(ServingStatus::Serving).await;
    // Queries need the database until the documents have been compared with the log.
    clients.total_orders(0).await;
    let stop = CancellationToken::new();
    let mut writers = start_writers(&clients, &stop);
    for round in 1..=2 {
        let before = clients.head().await;
        wait_until("50 orders are created", async || {
            clients.head().await >= before + 50
        })
        .await;
        lose();
        watch.wait_for(ServingStatus::NotServing).await;
        let create = order::create(&format!("o-{round}"), "ann");
        let refused = clients.create_order(create.clone()).await;
        assert_unavailable(&refused.unwrap_err());
        // Queries need no database.
        let unknown = clients.get_order(request::order("unknown", 0)).await;
        assert_refused(unknown, Code::NotFound, "ORDER_NOT_FOUND");
        get_back();
        watch.wait_for(ServingStatus::Serving).await;
        retried(&mut clients, &create).await;
    }
    stop.cancel();
    let mut acknowledged = BTreeMap::new();
    while let Some(writer) = writers.join_next().await {
        acknowledged.extend(writer.unwrap());
    }
    let events = log(&mut clients).await;
    assert_eq!(events.len(), acknowledged.len() + 2, "each command once");
    for (request_id, position) in acknowledged {
        assert_eq!(events[position as usize - 1].request_id, request_id);
    }
    let head = events.len() as u64;
    assert_eq!(clients.total_orders(head).await, head);
}

#[tokio::test]
#[ignore = "needs Postgres"]
async fn g1_g3_g5_each_command_takes_effect_once_while_postgres_restarts() {
    let cluster = Cluster::start("");
    let node = Server::start_on(&cluster.database().await).await;
    check_outages(&node, || cluster.stop(), || cluster.start_again()).await;
}

#[tokio::test]
#[ignore = "needs Postgres"]
async fn g1_g3_g5_each_command_takes_effect_once_while_the_network_is_cut() {
    let database = postgres::database().await;
    let (node, network, _) = node_behind(&database).await;
    check_outages(&node, || network.cut(), || network.mend()).await;
}

#[tokio::test]
#[ignore = "needs Postgres"]
async fn g1_g3_g5_each_command_takes_effect_once_while_the_network_is_silent() {
    let database = postgres::database().await;
    let (node, network, _) = node_behind(&database).await;
    check_outages(&node, || network.darken(), || network.mend()).await;
}

#[tokio::test]
#[ignore = "needs Postgres"]
async fn g6_g8_a_query_node_leaves_a_command_node_that_cannot_reach_the_log() {
    let database = postgres::database().await;
    let (cut_off, network, _) = node_behind(&database).await;
    let other = Server::start_for_commands(Some(&database)).await;
    let reads = Server::start_for_queries(&[&cut_off.url(), &other.url()]).await;
    let (mut writing, mut reading) = (other.clients().await, reads.clients().await);
    for (id, lost) in [("before", false), ("after", true)] {
        if lost {
            network.cut();
        }
        let created = retried(&mut writing, &order::create(id, "ann")).await;
        reading.order(id, created.position).await;
    }
}

#[tokio::test]
#[ignore = "needs Postgres"]
async fn a_query_node_that_follows_a_cut_off_node_is_not_serving() {
    let database = postgres::database().await;
    let (cut_off, network, _) = node_behind(&database).await;
    let other = Server::start_for_commands(Some(&database)).await;
    let mut writing = cut_off.clients().await;
    retried(&mut writing, &order::create("before", "ann")).await;
    network.cut();
    retried(&mut other.clients().await, &order::create("after", "ann")).await;
    let reads = Server::start_for_queries(&[&cut_off.url()]).await;
    let mut reading = reads.clients().await;
    wait_until("the documents have an error", async || {
        !reading.projection("documents").await.error.is_empty()
    })
    .await;
    let service = "orders.v1.QueryService";
    let status = health(&reading, service).await;
    assert_eq!(status, Some(ServingStatus::NotServing));
    network.mend();
    wait_until_serving(&reading, service).await;
    assert_eq!(reading.total_orders(0).await, 2);
}

#[tokio::test]
#[ignore = "needs Postgres"]
async fn g1_a_restart_of_an_idle_postgres_fails_no_later_command() {
    let cluster = Cluster::start("");
    let node = Server::start_on(&cluster.database().await).await;
    let mut clients = node.clients().await;
    retried(&mut clients, &order::create("before", "ann")).await;
    let mut watch = Watch::start(&clients, "orders.v1.CommandService").await;
    cluster.stop();
    watch.wait_for(ServingStatus::NotServing).await;
    cluster.start_again();
    watch.wait_for(ServingStatus::Serving).await;
    clients.create("after").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_corrupted_page_of_the_log_fails_only_the_commands_of_its_order() {
    let mut server = Server::start().await;
    let mut clients = server.clients().await;
    for index in 0..300 {
        let create = order::create(&format!("o-{index}"), &format!("customer-{index}"));
        clients.create_order(create).await.unwrap();
    }
    drop(clients);
    server.stop().await;
    // The bytes locate the page with the event of one order.
    let log = server.folder().join("events.db");
    let mut bytes = std::fs::read(&log).unwrap();
    let needle = b"customer-150";
    let found = bytes
        .windows(needle.len())
        .position(|window| window == needle);
    let page = found.unwrap() / 4096 * 4096;
    bytes[page..page + 4096].fill(0xff);
    std::fs::write(&log, bytes).unwrap();
    server.start_again().await;
    let mut clients = server.clients().await;
    for index in 0..20 {
        let mut other = clients.clone();
        let cancelled =
            tokio::spawn(async move { other.cancel_order(order::cancel("o-150")).await });
        clients.create(&format!("new-{index}")).await;
        assert_refused(cancelled.await.unwrap(), Code::Internal, "INTERNAL");
    }
}
