//! Tests of SIGTERM under load.

use std::{
    collections::BTreeSet,
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use contract::orders::v1::{execute_commands_response::Result as Answer, *};
use e2e::{Clients, Process};
use test_support::{
    assert_error, assert_refused, order, reason,
    request::{self, events_after, follow},
    wait_until,
};
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{Duration, Instant},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest,
};

use crate::binary::{serve, start};

/// Creates orders until the server rejects one. Returns the acknowledged ids and the error.
async fn create(
    mut clients: Clients,
    name: String,
    done: Arc<AtomicUsize>,
) -> (Vec<String>, Status) {
    let mut acknowledged = Vec::new();
    for index in 0.. {
        let id = format!("{name}-{index}");
        match clients.create_order(order::create(&id, "ann")).await {
            Ok(_) => acknowledged.push(id),
            Err(refused) => return (acknowledged, refused),
        }
        done.fetch_add(1, Ordering::Relaxed);
    }
    unreachable!()
}

/// Sends commands that create orders until the server ends the stream.
async fn send_commands(sender: mpsc::Sender<ExecuteCommandsRequest>) {
    for index in 0.. {
        let create = order::create(&format!("stream-{index}"), "ann");
        let command = Some(execute_commands_request::Command::CreateOrder(create));
        let sent = sender.send(ExecuteCommandsRequest { command }).await;
        if sent.is_err() {
            return;
        }
    }
}

/// Creates orders like [`create`], but over one stream with many commands in flight.
async fn execute(mut clients: Clients, done: Arc<AtomicUsize>) -> (Vec<String>, Status) {
    let (sender, commands) = mpsc::channel(64);
    tokio::spawn(send_commands(sender));
    let commands = ReceiverStream::new(commands);
    let answers = clients.commands.execute_commands(commands).await;
    let mut answers = answers.unwrap().into_inner();
    let mut acknowledged = Vec::new();
    loop {
        match answers.message().await {
            Ok(Some(answer)) => match answer.result {
                Some(Answer::CreateOrder(created)) => acknowledged.push(created.order_id),
                other => panic!("{other:?}"),
            },
            Ok(None) => panic!("the stream ends as if all commands had been taken"),
            Err(refused) => return (acknowledged, refused),
        }
        done.fetch_add(1, Ordering::Relaxed);
    }
}

/// Follows the log until the stream ends. Returns the last position and the error.
async fn follow_log(mut clients: Clients) -> (u64, Status) {
    let mut stream = clients.subscribe(follow(0)).await.unwrap();
    let mut position = 0;
    loop {
        match stream.message().await {
            Ok(Some(response)) => {
                let mut expected = position + 1..;
                for event in &response.events {
                    assert_eq!(Some(event.position), expected.next());
                }
                position = response.position;
            }
            Ok(None) => panic!("the stream ends as if the log did"),
            Err(status) => return (position, status),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn g1_a_shutdown_under_load_loses_no_acknowledged_command() {
    let folder = tempfile::tempdir().unwrap();
    let process = start(folder.path());
    let done = Arc::new(AtomicUsize::new(0));
    let mut writers = JoinSet::new();
    for index in 0..20 {
        // The two writers of each pair share a connection.
        let clients = process.clients().await;
        for part in ["a", "b"] {
            let name = format!("{part}-{index}");
            writers.spawn(create(clients.clone(), name, Arc::clone(&done)));
        }
    }
    writers.spawn(execute(process.clients().await, Arc::clone(&done)));
    let follower = tokio::spawn(follow_log(process.clients().await));
    wait_until("2000 orders are created", async || {
        done.load(Ordering::Relaxed) > 2000
    })
    .await;

    assert_eq!(process.shut_down().await, Some(0));
    let (mut acknowledged, mut informed) = (BTreeSet::new(), 0);
    while let Some(wrote) = writers.join_next().await {
        let (ids, refused) = wrote.unwrap();
        assert_eq!(refused.code(), Code::Unavailable, "{refused:?}");
        informed += usize::from(reason(&refused) == "SHUTTING_DOWN");
        acknowledged.extend(ids);
    }
    assert!(informed > 20, "{informed} writers got the reason");
    let (position, status) = follower.await.unwrap();
    assert_error(&status, Code::Unavailable, "SHUTTING_DOWN");

    let process = start(folder.path());
    let mut clients = process.clients().await;
    let log = clients.log().await;
    let stored = log.iter().map(|event| event.aggregate_id.clone()).collect();
    let missing: Vec<_> = acknowledged.difference(&stored).collect();
    assert!(missing.is_empty(), "{missing:?}");
    let rest = clients.events(events_after(position)).await;
    assert_eq!(rest, log[position as usize..]);
}

/// Starts a query that waits for a position after the head, for this time. Returns it once the
/// server has received it.
async fn query_in_flight(
    clients: &Clients,
    seconds: i64,
) -> Pin<Box<dyn Future<Output = Result<GetOrderResponse, Status>>>> {
    let (mut waiting, mut other) = (clients.clone(), clients.clone());
    let request = GetOrderRequest {
        max_wait: Some(prost_types::Duration { seconds, nanos: 0 }),
        ..request::order("o", other.head().await + 1)
    };
    let mut query = Box::pin(async move { waiting.get_order(request).await });
    // The second call uses the same connection, so its answer proves that the server has received
    // the first.
    tokio::select! {
        biased;
        answer = &mut query => panic!("{answer:?}"),
        _ = other.head() => {}
    }
    query
}

/// Asserts that a shutdown did not last for the drain timeout of 20 s.
fn assert_not_drained(began: Instant) {
    let elapsed = began.elapsed();
    assert!(elapsed < Duration::from_secs(15), "{elapsed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_accepted_call_is_answered_during_the_shutdown() {
    let folder = tempfile::tempdir().unwrap();
    let process = start(folder.path());
    let query = query_in_flight(&process.clients().await, 3).await;
    let (answer, ended) = tokio::join!(query, process.shut_down());
    assert_eq!(ended, Some(0));
    assert_refused(answer, Code::DeadlineExceeded, "READ_MODEL_BEHIND");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_reflection_stream_does_not_delay_the_shutdown() {
    let folder = tempfile::tempdir().unwrap();
    let process = start(folder.path());
    let clients = process.clients().await;
    let (sender, requests) = mpsc::channel(1);
    let mut reflection = ServerReflectionClient::new(clients.channel.clone());
    let list = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    sender.send(list).await.unwrap();
    let answers = reflection
        .server_reflection_info(ReceiverStream::new(requests))
        .await;
    let mut answers = answers.unwrap().into_inner();
    answers.message().await.unwrap().unwrap();
    let began = Instant::now();
    assert_eq!(process.shut_down().await, Some(0));
    assert_not_drained(began);
    let ended = answers.message().await;
    assert_refused(ended, Code::Unavailable, "SHUTTING_DOWN");
    drop(sender);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_the_process_without_waiting_for_calls() {
    let folder = tempfile::tempdir().unwrap();
    let process = start(folder.path());
    let mut clients = process.clients().await;
    let query = query_in_flight(&clients, 30).await;
    let began = Instant::now();
    process.signal();
    // Two signals in quick succession can arrive as one, so the test waits for the shutdown to
    // begin.
    wait_until("the shutdown begins", async || {
        clients.get_head(GetHeadRequest {}).await.is_err()
    })
    .await;
    assert_eq!(process.shut_down().await, Some(1));
    assert_not_drained(began);
    query.await.unwrap_err();
}

/// Calls over new connections until the listener closes. Returns the number of rejections with a
/// reason and without one.
async fn connect_repeatedly(url: String, answered: Arc<AtomicUsize>) -> (usize, usize) {
    let (mut informed, mut reset) = (0, 0);
    while let Ok(mut clients) = Clients::connect(&url).await {
        match clients.get_head(GetHeadRequest {}).await {
            Ok(_) => drop(answered.fetch_add(1, Ordering::Relaxed)),
            Err(refused) if reason(&refused) == "SHUTTING_DOWN" => informed += 1,
            Err(_) => reset += 1,
        }
    }
    (informed, reset)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_on_a_new_connection_during_the_shutdown_gets_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let process = start(folder.path());
    let answered = Arc::new(AtomicUsize::new(0));
    let mut callers = JoinSet::new();
    for _ in 0..12 {
        let url = process.url().to_owned();
        callers.spawn(connect_repeatedly(url, Arc::clone(&answered)));
    }
    wait_until("100 calls are answered", async || {
        answered.load(Ordering::Relaxed) > 100
    })
    .await;
    assert_eq!(process.shut_down().await, Some(0));
    let callers = callers.join_all().await;
    let informed = callers.iter().any(|(informed, _)| *informed > 0);
    assert!(informed, "{callers:?}");
    // The operating system resets connections made after the last accept and before the listener
    // closes.
    let reset: usize = callers.iter().map(|(_, reset)| reset).sum();
    assert!(reset <= 2, "{callers:?}");
}

/// Returns the HTTP status of a probe.
async fn probe(process: &Process, path: &str) -> u16 {
    let url = format!("http://{}{path}", process.metrics());
    reqwest::get(url).await.unwrap().status().as_u16()
}

#[tokio::test(flavor = "multi_thread")]
async fn after_sigterm_calls_are_served_for_the_delay_while_health_says_not_serving() {
    let folder = tempfile::tempdir().unwrap();
    let mut serve = serve(folder.path());
    serve.args(["--drain-delay", "3"]);
    let process = Process::from(serve);
    let clients = process.clients().await;
    let mut health = HealthClient::new(clients.channel.clone());
    let mut status = async |service: &str| {
        let service = service.to_owned();
        let checked = health.check(HealthCheckRequest { service }).await;
        checked.unwrap().into_inner().status()
    };
    wait_until("the node serves", async || {
        status("").await == ServingStatus::Serving
    })
    .await;
    assert_eq!(status("orderlog.live").await, ServingStatus::Serving);
    assert_eq!(probe(&process, "/readyz").await, 200);
    assert_eq!(probe(&process, "/livez").await, 200);

    process.signal();
    wait_until("health says so", async || {
        status("").await == ServingStatus::NotServing
    })
    .await;
    assert_eq!(status("orderlog.live").await, ServingStatus::Serving);
    assert_eq!(probe(&process, "/readyz").await, 503);
    assert_eq!(probe(&process, "/livez").await, 200);
    // A new connection is served as well.
    let mut others = process.clients().await;
    others
        .create_order(order::create("o-1", "ann"))
        .await
        .unwrap();
    // The second signal cuts off what is left.
    assert_eq!(tokio::task::block_in_place(|| process.terminate()), Some(1));
}
