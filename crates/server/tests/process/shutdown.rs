//! Tests of SIGTERM under load.

use std::{
    collections::BTreeSet,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use contract::orders::v1::{execute_commands_response::Result as Told, *};
use e2e::Clients;
use test_support::{DEADLINE, eventually, order, reason};
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{Duration, Instant, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest,
};

use crate::binary::start;

/// Creates orders until the server rejects one. Returns the acknowledged ids and the error.
async fn create(
    mut clients: Clients,
    name: String,
    done: Arc<AtomicUsize>,
) -> (Vec<String>, Status) {
    let mut acknowledged = Vec::new();
    for index in 0.. {
        let id = format!("{name}-{index}");
        match clients
            .commands
            .create_order(order::create(&id, "ann"))
            .await
        {
            Ok(_) => acknowledged.push(id),
            Err(refused) => return (acknowledged, refused),
        }
        done.fetch_add(1, Ordering::Relaxed);
    }
    unreachable!()
}

/// Creates orders like [`create`], but over one stream with many commands in flight.
async fn execute(mut clients: Clients, done: Arc<AtomicUsize>) -> (Vec<String>, Status) {
    let (sender, commands) = mpsc::channel(64);
    tokio::spawn(async move {
        for index in 0.. {
            let create = order::create(&format!("stream-{index}"), "ann");
            let command = Some(execute_commands_request::Command::CreateOrder(create));
            if sender
                .send(ExecuteCommandsRequest { command })
                .await
                .is_err()
            {
                return;
            }
        }
    });
    let answers = clients
        .commands
        .execute_commands(ReceiverStream::new(commands))
        .await;
    let mut answers = answers.unwrap().into_inner();
    let mut acknowledged = Vec::new();
    loop {
        match answers.message().await {
            Ok(Some(answer)) => match answer.result {
                Some(Told::CreateOrder(created)) => acknowledged.push(created.order_id),
                other => panic!("{other:?}"),
            },
            Ok(None) => panic!("the stream ends as if all commands had been taken"),
            Err(refused) => return (acknowledged, refused),
        }
        done.fetch_add(1, Ordering::Relaxed);
    }
}

/// Follows the log until the stream ends. Returns the last position and the error.
async fn follow(mut clients: Clients) -> (u64, Status) {
    let follow = SubscribeRequest {
        follow: true,
        ..SubscribeRequest::default()
    };
    let mut stream = clients.events.subscribe(follow).await.unwrap().into_inner();
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
async fn g1_shutting_down_under_load_loses_nothing_that_was_acknowledged() {
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
    let follower = tokio::spawn(follow(process.clients().await));
    eventually("there is load", async || {
        (done.load(Ordering::Relaxed) > 2000).then_some(())
    })
    .await;

    let ended = tokio::task::spawn_blocking(|| process.terminate());
    let ended = timeout(DEADLINE, ended).await.expect("it does not end");
    assert_eq!(ended.unwrap(), Some(0));
    let (mut acknowledged, mut told) = (BTreeSet::new(), 0);
    while let Some(wrote) = writers.join_next().await {
        let (ids, refused) = wrote.unwrap();
        assert_eq!(refused.code(), Code::Unavailable, "{refused:?}");
        told += usize::from(reason(&refused) == "SHUTTING_DOWN");
        acknowledged.extend(ids);
    }
    assert!(told > 20, "{told} were told why");
    let (position, status) = follower.await.unwrap();
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    assert_eq!(reason(&status), "SHUTTING_DOWN");

    let process = start(folder.path());
    let mut clients = process.clients().await;
    let rest = SubscribeRequest {
        after_position: position,
        ..SubscribeRequest::default()
    };
    let all = SubscribeRequest::default();
    let (mut there, mut next) = (BTreeSet::new(), position);
    let mut stream = clients.events.subscribe(all).await.unwrap().into_inner();
    while let Some(response) = stream.message().await.unwrap() {
        there.extend(response.events.into_iter().map(|event| event.aggregate_id));
    }
    let missing: Vec<_> = acknowledged.difference(&there).collect();
    assert!(missing.is_empty(), "{missing:?}");
    let mut stream = clients.events.subscribe(rest).await.unwrap().into_inner();
    while let Some(response) = stream.message().await.unwrap() {
        for event in response.events {
            next += 1;
            assert_eq!(event.position, next);
        }
    }
    assert_eq!(next, clients.head().await);
}

/// Builds a query that waits for a position after the head.
fn waiting(head: u64, seconds: i64) -> GetOrderRequest {
    GetOrderRequest {
        order_id: "o".to_owned(),
        min_position: head + 1,
        max_wait: Some(prost_types::Duration { seconds, nanos: 0 }),
        ..GetOrderRequest::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_was_accepted_gets_its_answer() {
    let folder = tempfile::tempdir().unwrap();
    let process = start(folder.path());
    let mut clients = process.clients().await;
    let waits = waiting(clients.head().await, 3);
    let mut queries = clients.queries.clone();
    let mut answer = pin!(queries.get_order(waits));
    // The second call uses the same connection, so its answer proves that the server has received
    // the first.
    tokio::select! {
        biased;
        answer = &mut answer => panic!("{answer:?}"),
        _ = clients.head() => {}
    }
    let ended = tokio::task::spawn_blocking(|| process.terminate());
    let (answer, ended) = tokio::join!(answer, ended);
    assert_eq!(ended.unwrap(), Some(0));
    let answer = answer.unwrap_err();
    assert_eq!(reason(&answer), "READ_MODEL_BEHIND", "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tool_that_keeps_its_reflection_stream_open_holds_nothing_up() {
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
    let ended = tokio::task::spawn_blocking(|| process.terminate()).await;
    assert_eq!(ended.unwrap(), Some(0));
    // The drain timeout is 20 s.
    assert!(
        began.elapsed() < Duration::from_secs(15),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(
        reason(&answers.message().await.unwrap_err()),
        "SHUTTING_DOWN"
    );
    drop(sender);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_tells_it_to_end_twice_does_not_wait_for_calls_in_flight() {
    let folder = tempfile::tempdir().unwrap();
    let process = start(folder.path());
    let mut clients = process.clients().await;
    let waits = waiting(clients.head().await, 30);
    let mut queries = clients.queries.clone();
    let mut answer = pin!(queries.get_order(waits));
    tokio::select! {
        biased;
        answer = &mut answer => panic!("{answer:?}"),
        _ = clients.head() => {}
    }
    let began = Instant::now();
    process.signal();
    // Two signals in quick succession can arrive as one, so the test waits for the shutdown to
    // begin.
    eventually("it shuts down", async || {
        let refused = clients.events.get_head(GetHeadRequest {}).await;
        refused.err().map(|_| ())
    })
    .await;
    let ended = tokio::task::spawn_blocking(|| process.terminate());
    assert_eq!(ended.await.unwrap(), Some(1));
    // The drain timeout is 20 s.
    assert!(
        began.elapsed() < Duration::from_secs(15),
        "{:?}",
        began.elapsed()
    );
    assert!(answer.await.is_err());
}

/// Calls over new connections until the listener closes. Returns the number of rejections with a
/// reason and without one.
async fn connect_again_and_again(url: String, answered: Arc<AtomicUsize>) -> (usize, usize) {
    let (mut told, mut reset) = (0, 0);
    while let Ok(mut clients) = Clients::connect(&url).await {
        match clients.events.get_head(GetHeadRequest {}).await {
            Ok(_) => drop(answered.fetch_add(1, Ordering::Relaxed)),
            Err(refused) if reason(&refused) == "SHUTTING_DOWN" => told += 1,
            Err(_) => reset += 1,
        }
    }
    (told, reset)
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_connects_while_it_shuts_down_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let process = start(folder.path());
    let answered = Arc::new(AtomicUsize::new(0));
    let mut callers = JoinSet::new();
    for _ in 0..12 {
        let url = process.url().to_owned();
        callers.spawn(connect_again_and_again(url, Arc::clone(&answered)));
    }
    eventually("all are at it", async || {
        (answered.load(Ordering::Relaxed) > 100).then_some(())
    })
    .await;
    let ended = tokio::task::spawn_blocking(|| process.terminate());
    assert_eq!(ended.await.unwrap(), Some(0));
    let callers = callers.join_all().await;
    assert!(callers.iter().any(|(told, _)| *told > 0), "{callers:?}");
    // The operating system resets connections made after the last accept and before the listener
    // closes.
    let reset: usize = callers.iter().map(|(_, reset)| reset).sum();
    assert!(reset <= 2, "{callers:?}");
}
