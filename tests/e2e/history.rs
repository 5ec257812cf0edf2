//! Tests of a log that goes back and on differently (guarantee G12), as clients see them.

use std::{fs, path::Path};

use contract::orders::v1::{GetOrderResponse, SubscribeRequest, WatchOrdersRequest};
use e2e::{Clients, Server, positions};
use sqlx::{Connection as _, PgConnection};
use test_support::{
    assert_error, assert_invalid_fields, assert_refused, eventually, order,
    postgres::{self, Replicated, Replication},
    request::{self, follow},
    wait_until,
};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

/// Sets the log of a database back to a position and cuts all connections, as a failover to an
/// asynchronous standby does.
pub(crate) async fn go_back(database: &str, position: i64) {
    let mut connection = PgConnection::connect(database).await.unwrap();
    let mut transaction = connection.begin().await.unwrap();
    for statement in [
        "ALTER TABLE events DISABLE TRIGGER ALL",
        "ALTER TABLE requests DISABLE TRIGGER ALL",
    ] {
        sqlx::query(statement)
            .execute(&mut *transaction)
            .await
            .unwrap();
    }
    for statement in [
        "DELETE FROM events WHERE position > $1",
        "DELETE FROM requests WHERE position > $1",
    ] {
        let statement = sqlx::query(statement).bind(position);
        statement.execute(&mut *transaction).await.unwrap();
    }
    for statement in [
        "ALTER TABLE events ENABLE TRIGGER ALL",
        "ALTER TABLE requests ENABLE TRIGGER ALL",
    ] {
        sqlx::query(statement)
            .execute(&mut *transaction)
            .await
            .unwrap();
    }
    transaction.commit().await.unwrap();
    postgres::terminate_others(&mut connection).await;
}

/// Repeats a call while the server is unavailable.
async fn available<T>(mut call: impl AsyncFnMut() -> Result<T, Status>) -> Result<T, Status> {
    eventually("an answer", async || match call().await {
        Err(status) if status.code() == Code::Unavailable => None,
        answer => Some(answer),
    })
    .await
}

async fn get(
    clients: &mut Clients,
    id: &str,
    min_position: u64,
) -> Result<GetOrderResponse, Status> {
    available(async || clients.get_order(request::order(id, min_position)).await).await
}

fn resume(token: &str) -> SubscribeRequest {
    SubscribeRequest {
        resume_token: token.to_owned(),
        ..SubscribeRequest::default()
    }
}

/// Returns the resume token of each position of the log, beginning with that of position 0.
async fn tokens(clients: &mut Clients) -> Vec<String> {
    let head = clients.head().await;
    let request = SubscribeRequest {
        max_batch_size: 1,
        ..SubscribeRequest::default()
    };
    let mut stream = clients.subscribe(request).await.unwrap();
    let mut tokens = vec![String::new(); head as usize + 1];
    for _ in 0..head {
        let response = stream.response().await;
        tokens[response.position as usize] = response.resume_token;
    }
    tokens
}

/// Asserts that the answers are those of a log with the orders `kept-0` to `kept-4` and `other-0` to
/// `other-{others - 1}`, and without `lost-0` to `lost-4`.
async fn assert_converged(clients: &mut Clients, others: usize) {
    let head = 5 + others as u64;
    let found = get(clients, &format!("other-{}", others - 1), head).await;
    assert_eq!(found.unwrap().order.unwrap().position, head);
    for lost in 0..5 {
        let found = get(clients, &format!("lost-{lost}"), head).await;
        assert_refused(found, Code::NotFound, "ORDER_NOT_FOUND");
    }
    assert_eq!(clients.total_orders(head).await, head);
    let found = available(async || clients.search("kept", head).await).await;
    assert_eq!(found.unwrap().total_size, 5);
    let found = available(async || clients.search("lost", head).await)
        .await
        .unwrap();
    assert_eq!(found.total_size, 0, "{found:?}");
    clients
        .assert_verified(&["log", "documents", "search"])
        .await;
}

#[tokio::test]
#[ignore = "needs Postgres"]
async fn g12_node_notices_that_the_log_went_back_and_goes_on_with_it() {
    let database = postgres::database().await;
    let node = Server::start_on(&database).await;
    let queries = Server::start_for_queries(&[&node.url()]).await;
    let mut clients = node.clients().await;
    clients.create_many("kept", 5).await;
    let lost = clients.create_many("lost", 5).await;
    let mut remote = queries.clients().await;
    for clients in [&mut clients, &mut remote] {
        assert_eq!(clients.search("lost", lost).await.unwrap().total_size, 5);
    }
    let tokens = tokens(&mut clients).await;
    let mut open = clients.subscribe(follow(0)).await.unwrap();
    open.up_to(lost).await;

    go_back(&database, 5).await;
    let ended = open.error().await;
    assert_error(&ended, Code::FailedPrecondition, "LOG_DIVERGED");
    let metadata = ended.get_details_error_info().unwrap().metadata;
    assert_eq!(metadata["position"], "10");
    assert_eq!(metadata["shared_position"], "5");
    let create = order::create("other-0", "ann");
    let created = available(async || clients.create_order(create.clone()).await).await;
    assert_eq!(created.unwrap().position, 6);
    // No query answers from the lost events, at position 10, once the command is acknowledged.
    for clients in [&mut clients, &mut remote] {
        assert_converged(clients, 1).await;
    }
    let log = clients.log().await;
    assert_eq!(positions(&log), [1, 2, 3, 4, 5, 6]);
    assert_eq!(log[5].aggregate_id, "other-0");
    for token in &tokens[6..] {
        let refused = clients.subscribe(resume(token)).await;
        assert_refused(refused, Code::FailedPrecondition, "LOG_DIVERGED");
    }
    let rest = clients.events(resume(&tokens[5])).await;
    assert_eq!(positions(&rest), [6]);
    // New events reach a new subscriber at once.
    let mut open = clients.subscribe(follow(6)).await.unwrap();
    clients.create("other-1").await;
    open.up_to(7).await;
}

#[tokio::test]
#[ignore = "needs Postgres"]
async fn g12_node_notices_a_log_that_went_back_and_on_past_its_old_head() {
    let database = postgres::database().await;
    let mut node = Server::start_on(&database).await;
    let other = Server::start_for_commands(Some(&database)).await;
    let mut clients = node.clients().await;
    clients.create_many("kept", 5).await;
    let lost = clients.create_many("lost", 5).await;
    clients.search("lost", lost).await.unwrap();
    node.stop().await;

    go_back(&database, 5).await;
    let mut elsewhere = other.clients().await;
    let create = order::create("other-0", "ann");
    let created = available(async || elsewhere.create_order(create.clone()).await).await;
    assert_eq!(created.unwrap().position, 6);
    for index in 1..8 {
        elsewhere.create(&format!("other-{index}")).await;
    }
    node.start_again().await;
    assert_converged(&mut node.clients().await, 8).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Postgres"]
async fn g12_all_nodes_converge_after_a_failover_that_lost_commits() {
    let servers = Replicated::start(Replication::Asynchronous).await;
    let database = servers.database().await;
    let node = Server::start_on(&database.both).await;
    let other = Server::start_for_commands(Some(&database.both)).await;
    let queries = Server::start_for_queries(&[&other.url(), &node.url()]).await;
    let mut clients = [node.clients().await, other.clients().await];
    clients[0].create_many("kept", 5).await;
    let mut standby = PgConnection::connect(&database.standby).await.unwrap();
    wait_until("the standby has the kept orders", async || {
        let head = sqlx::query_scalar("SELECT max(position) FROM events");
        head.fetch_one(&mut standby)
            .await
            .is_ok_and(|head: i64| head == 5)
    })
    .await;
    servers.pause_replication().await;
    let lost = clients[1].create_many("lost", 5).await;
    let mut streams = Vec::new();
    for clients in &mut clients {
        let mut stream = clients.subscribe(follow(0)).await.unwrap();
        stream.up_to(lost).await;
        streams.push(stream);
    }
    let mut remote = queries.clients().await;
    remote.search("lost", lost).await.unwrap();
    clients[0].search("lost", lost).await.unwrap();

    servers.kill_primary();
    servers.promote().await;
    for stream in streams {
        let ended = stream.error().await;
        assert_error(&ended, Code::FailedPrecondition, "LOG_DIVERGED");
    }
    let create = order::create("other-0", "ann");
    let created = available(async || clients[1].create_order(create.clone()).await).await;
    assert_eq!(created.unwrap().position, 6);
    let mut stream = clients[0].subscribe(follow(5)).await.unwrap();
    assert_eq!(stream.up_to(6).await[0].aggregate_id, "other-0");
    assert_converged(&mut clients[0], 1).await;
    assert_converged(&mut remote, 1).await;
}

/// Copies the log of a stopped node to another one.
pub(crate) fn copy_log(from: &Path, to: &Path) {
    for suffix in ["", "-wal", "-shm"] {
        let file = format!("events.db{suffix}");
        let _ = fs::remove_file(to.join(&file));
        if from.join(&file).exists() {
            fs::copy(from.join(&file), to.join(&file)).unwrap();
        }
    }
}

#[tokio::test]
async fn g12_documents_and_index_start_over_after_an_older_log_file_came_back() {
    for others in [1, 8] {
        let mut node = Server::start().await;
        node.clients().await.create_many("kept", 5).await;
        node.stop().await;
        let mut elsewhere = Server::start_for_commands(None).await;
        elsewhere.stop().await;
        copy_log(node.folder(), elsewhere.folder());
        node.start_again().await;
        let mut clients = node.clients().await;
        let lost = clients.create_many("lost", 5).await;
        clients.search("lost", lost).await.unwrap();
        node.stop().await;
        elsewhere.start_again().await;
        elsewhere.clients().await.create_many("other", others).await;
        elsewhere.stop().await;
        copy_log(elsewhere.folder(), node.folder());
        node.start_again().await;
        assert_converged(&mut node.clients().await, others).await;
        // The index of the restart is the one that started over.
        node.start_again().await;
        assert_converged(&mut node.clients().await, others).await;
    }
}

#[tokio::test]
async fn g12_resume_token_is_of_one_log_and_stands_alone() {
    let (node, other) = tokio::join!(Server::start(), Server::start());
    let mut clients = node.clients().await;
    clients.create_many("o", 3).await;
    let tokens = tokens(&mut clients).await;
    for (position, token) in tokens.iter().enumerate().skip(1) {
        let rest = clients.events(resume(token)).await;
        let expected: Vec<_> = (position as u64 + 1..=3).collect();
        assert_eq!(positions(&rest), expected);
    }
    let empty = clients.subscribe(follow(3)).await.unwrap().response().await;
    assert_eq!(empty.resume_token, tokens[3], "of a heartbeat too");
    let refused = other.clients().await.subscribe(resume(&tokens[1])).await;
    assert_refused(refused, Code::FailedPrecondition, "LOG_MISMATCH");
    let ambiguous = SubscribeRequest {
        after_position: 1,
        log_id: empty.log_id,
        ..resume(&tokens[1])
    };
    let refused = clients.subscribe(ambiguous).await;
    assert_invalid_fields(refused, &["after_position", "log_id"]);
    let refused = clients.subscribe(resume("no token")).await;
    assert_invalid_fields(refused, &["resume_token"]);
}

#[tokio::test]
#[ignore = "needs Postgres"]
async fn g12_watcher_of_orders_is_told_that_the_log_went_back() {
    let database = postgres::database().await;
    let node = Server::start_on(&database).await;
    let mut clients = node.clients().await;
    clients.create_many("kept", 5).await;
    let lost = clients.create_many("lost", 5).await;
    clients.order("lost-0", lost).await;
    let watched = clients
        .watch_orders(WatchOrdersRequest::default())
        .await
        .unwrap();
    go_back(&database, 5).await;
    let ended = e2e::end_of(watched).await;
    assert_error(&ended, Code::Unavailable, "READ_MODEL_DIVERGED");
    wait_until("the documents are right", async || {
        clients.get_order(request::order("kept-0", 0)).await.is_ok()
    })
    .await;
}
