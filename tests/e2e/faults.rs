//! Tests of faults between clients, nodes and Postgres, as clients see them.

use std::collections::BTreeMap;

use contract::orders::v1::*;
use e2e::{Clients, Server};
use sqlx::{Connection as _, PgConnection};
use test_support::{
    Proxy, eventually, order,
    postgres::{self, Cluster},
    reason,
};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus,
    health_client::HealthClient,
};
use tonic_types::StatusExt as _;

/// Checks that the error reports an unknown outcome and a time to retry.
fn check_unavailable(status: &Status) {
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    assert_eq!(reason(status), "STORE_UNAVAILABLE");
    assert!(status.get_details_retry_info().is_some());
}

/// Returns every event of the log in order, and retries while the database is unavailable.
async fn log(clients: &mut Clients) -> Vec<RecordedEvent> {
    let mut stream = eventually("the log can be read", async || {
        let stream = clients.events.subscribe(SubscribeRequest::default()).await;
        let stream = stream.inspect_err(check_unavailable);
        Some(stream.ok()?.into_inner())
    })
    .await;
    let mut events = Vec::new();
    while let Some(response) = stream.message().await.unwrap() {
        events.extend(response.events);
    }
    for (index, event) in events.iter().enumerate() {
        assert_eq!(event.position, index as u64 + 1, "dense");
    }
    events
}

/// Retries a command until it is answered, as a client does.
async fn retried(clients: &mut Clients, create: &CreateOrderRequest) -> CreateOrderResponse {
    loop {
        match clients.commands.create_order(create.clone()).await {
            Ok(reply) => return reply.into_inner(),
            Err(status) => check_unavailable(&status),
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

/// Waits until an append waits for the advisory lock.
async fn held(connection: &mut PgConnection) {
    eventually("the append waits", async || {
        let waiting: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted
            AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
        )
        .fetch_one(&mut *connection)
        .await
        .unwrap();
        (waiting > 0).then_some(())
    })
    .await;
}

/// Kills a connection inside a transaction, at the point where the trigger `moment` blocks it.
/// Checks that a retry appends one event.
async fn killed_at(moment: &str) {
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
    let (mut commands, first) = (clients.commands.clone(), create.clone());
    let call = tokio::spawn(async move { commands.create_order(first).await });
    held(&mut killer).await;
    sqlx::raw_sql(
        "SELECT pg_terminate_backend(pid) FROM pg_locks
        WHERE locktype = 'advisory' AND NOT granted
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
    )
    .execute(&mut killer)
    .await
    .unwrap();
    check_unavailable(&call.await.unwrap().unwrap_err());
    holder.close().await.unwrap();
    let reply = retried(&mut clients, &create).await;
    let events = log(&mut clients).await;
    assert_eq!(events.len(), 1, "once");
    assert_eq!((reply.position, &*reply.order_id), (1, "o"));
}

#[tokio::test]
#[ignore = "needs Postgres"]
async fn g1_g5_a_connection_that_is_killed_before_the_commit_leaves_nothing_behind() {
    killed_at("TRIGGER wait BEFORE INSERT ON events").await;
}

#[tokio::test]
#[ignore = "needs Postgres"]
async fn g1_g5_a_connection_that_is_killed_during_the_commit_leaves_nothing_half_done() {
    killed_at("CONSTRAINT TRIGGER wait AFTER INSERT ON events DEFERRABLE INITIALLY DEFERRED").await;
}

#[tokio::test]
#[ignore = "needs Postgres"]
async fn g1_g5_a_commit_whose_answer_is_lost_is_answered_when_the_command_is_sent_again() {
    let database = postgres::database().await;
    let (node, network, mut witness) = node_behind(&database).await;
    let mut clients = node.clients().await;
    retried(&mut clients, &order::create("first", "ann")).await;
    network.mute();
    let create = order::create("o", "ann");
    let (mut commands, first) = (clients.commands.clone(), create.clone());
    let call = tokio::spawn(async move { commands.create_order(first).await });
    let position: i64 = eventually("it is committed", async || {
        sqlx::query_scalar("SELECT position FROM events WHERE aggregate_id = 'o'")
            .fetch_optional(&mut witness)
            .await
            .unwrap()
    })
    .await;
    network.cut();
    check_unavailable(&call.await.unwrap().unwrap_err());
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
            let mut told = BTreeMap::new();
            while !stop.is_cancelled() {
                let create = order::create("", &format!("customer-{writer}"));
                let reply = retried(&mut clients, &create).await;
                told.insert(create.request_id, reply.position);
            }
            told
        });
    }
    writers
}

/// Checks a node under load that loses its database twice and recovers.
async fn outage(node: &Server, lose: impl Fn(), get_back: impl Fn()) {
    let mut clients = node.clients().await;
    let mut health = HealthClient::new(clients.channel.clone());
    let service = "orders.v1.CommandService".to_owned();
    let watch = health.watch(HealthCheckRequest { service }).await;
    let mut watch = watch.unwrap().into_inner();
    let mut becomes = async |wanted: ServingStatus| {
        let mut told: HealthCheckResponse = watch.message().await.unwrap().unwrap();
        while told.status() != wanted {
            told = watch.message().await.unwrap().unwrap();
        }
    };
    becomes(ServingStatus::Serving).await;
    let stop = CancellationToken::new();
    let mut writers = start_writers(&clients, &stop);
    for round in 1..=2 {
        let before = clients.head().await;
        eventually("orders are created", async || {
            (clients.head().await >= before + 50).then_some(())
        })
        .await;
        lose();
        becomes(ServingStatus::NotServing).await;
        let create = order::create(&format!("o-{round}"), "ann");
        let refused = clients.commands.create_order(create.clone()).await;
        check_unavailable(&refused.unwrap_err());
        let get = GetOrderRequest {
            order_id: "unknown".into(),
            ..GetOrderRequest::default()
        };
        let answered = clients.queries.get_order(get).await.unwrap_err();
        assert_eq!(answered.code(), Code::NotFound, "queries go on");
        get_back();
        becomes(ServingStatus::Serving).await;
        retried(&mut clients, &create).await;
    }
    stop.cancel();
    let mut told = BTreeMap::new();
    while let Some(writer) = writers.join_next().await {
        told.extend(writer.unwrap());
    }
    let events = log(&mut clients).await;
    assert_eq!(events.len(), told.len() + 2, "each once");
    for (request_id, position) in told {
        assert_eq!(events[position as usize - 1].request_id, request_id);
    }
    let statistics = GetStatisticsRequest {
        min_position: events.len() as u64,
        max_wait: Some(prost_types::Duration {
            seconds: 30,
            nanos: 0,
        }),
        ..GetStatisticsRequest::default()
    };
    let statistics = clients.queries.get_statistics(statistics).await.unwrap();
    let total = statistics.into_inner().total_orders;
    assert_eq!(total, events.len() as u64, "the documents too");
}

#[tokio::test]
#[ignore = "needs Postgres"]
async fn g1_g3_g5_a_postgres_that_is_restarted_under_load_loses_and_doubles_nothing() {
    let cluster = Cluster::start("");
    let node = Server::start_on(&cluster.database().await).await;
    outage(&node, || cluster.stop(), || cluster.start_again()).await;
}

#[tokio::test]
#[ignore = "needs Postgres"]
async fn g1_g3_g5_a_network_that_is_cut_under_load_loses_and_doubles_nothing() {
    let database = postgres::database().await;
    let (node, network, _) = node_behind(&database).await;
    outage(&node, || network.cut(), || network.mend()).await;
}

#[tokio::test]
#[ignore = "needs Postgres"]
async fn g1_g3_g5_a_network_that_goes_dark_under_load_loses_and_doubles_nothing() {
    let database = postgres::database().await;
    let (node, network, _) = node_behind(&database).await;
    outage(&node, || network.darken(), || network.mend()).await;
}

#[tokio::test]
#[ignore = "needs Postgres"]
async fn g6_g8_a_query_node_leaves_a_command_node_that_cannot_reach_the_log_any_more() {
    let database = postgres::database().await;
    let (cut_off, network, _) = node_behind(&database).await;
    let other = Server::start_for_commands(Some(&database)).await;
    let reads = Server::start_for_queries(&[&cut_off.url(), &other.url()]).await;
    let (mut writing, mut reading) = (other.clients().await, reads.clients().await);
    for (id, lost) in [("before", false), ("after", true)] {
        if lost {
            network.cut();
        }
        let position = retried(&mut writing, &order::create(id, "ann"))
            .await
            .position;
        let get = GetOrderRequest {
            order_id: id.into(),
            min_position: position,
            max_wait: Some(prost_types::Duration {
                seconds: 30,
                nanos: 0,
            }),
            ..GetOrderRequest::default()
        };
        reading.queries.get_order(get).await.unwrap();
    }
}

#[tokio::test]
#[ignore = "needs Postgres"]
async fn a_query_node_does_not_take_what_a_cut_off_node_knows_for_the_whole_log() {
    let database = postgres::database().await;
    let (cut_off, network, _) = node_behind(&database).await;
    let other = Server::start_for_commands(Some(&database)).await;
    let mut writing = cut_off.clients().await;
    retried(&mut writing, &order::create("before", "ann")).await;
    network.cut();
    retried(&mut other.clients().await, &order::create("after", "ann")).await;
    let reads = Server::start_for_queries(&[&cut_off.url()]).await;
    let mut reading = reads.clients().await;
    eventually("it says that it does not know the log", async || {
        let status = reading.projections.get_status(GetStatusRequest {}).await;
        let documents = status.unwrap().into_inner().projections.remove(0);
        (!documents.error.is_empty()).then_some(())
    })
    .await;
    let query = HealthCheckRequest {
        service: "orders.v1.QueryService".into(),
    };
    let mut health = HealthClient::new(reading.channel.clone());
    let status = health.check(query.clone()).await.unwrap().into_inner();
    assert_eq!(status.status(), ServingStatus::NotServing);
    network.mend();
    eventually("it is ready", async || {
        let status = health.check(query.clone()).await.unwrap().into_inner();
        (status.status() == ServingStatus::Serving).then_some(())
    })
    .await;
    let statistics = reading
        .queries
        .get_statistics(GetStatisticsRequest::default());
    assert_eq!(statistics.await.unwrap().into_inner().total_orders, 2);
}

#[tokio::test]
#[ignore = "needs Postgres"]
async fn g1_a_postgres_that_restarts_while_nobody_writes_costs_no_command() {
    let cluster = Cluster::start("");
    let node = Server::start_on(&cluster.database().await).await;
    let mut clients = node.clients().await;
    retried(&mut clients, &order::create("before", "ann")).await;
    let mut health = HealthClient::new(clients.channel.clone());
    let service = "orders.v1.CommandService".to_owned();
    let watch = health.watch(HealthCheckRequest { service }).await;
    let mut watch = watch.unwrap().into_inner();
    cluster.stop();
    while watch.message().await.unwrap().unwrap().status() != ServingStatus::NotServing {}
    cluster.start_again();
    while watch.message().await.unwrap().unwrap().status() != ServingStatus::Serving {}
    let create = clients.commands.create_order(order::create("after", "ann"));
    create.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_cannot_be_read_is_no_outage_for_others() {
    let mut server = Server::start().await;
    let mut clients = server.clients().await;
    for index in 0..300 {
        let create = order::create(&format!("o-{index}"), &format!("customer-{index}"));
        clients.commands.create_order(create).await.unwrap();
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
        let cancel = CancelOrderRequest {
            order_id: "o-150".to_owned(),
            reason: "broken".to_owned(),
            ..CancelOrderRequest::default()
        };
        let mut commands = clients.commands.clone();
        let broken = tokio::spawn(async move { commands.cancel_order(cancel).await });
        let create = order::create(&format!("new-{index}"), "ann");
        clients.commands.create_order(create).await.unwrap();
        assert_eq!(reason(&broken.await.unwrap().unwrap_err()), "INTERNAL");
    }
}
