//! Tests of the limits on the work at the same time.

use e2e::Server;
use test_support::{assert_error, order, reason, request::follow, wait_until};
use tokio::{net::TcpListener, task::JoinSet};
use tonic::Code;

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_calls_on_one_connection_are_each_answered_or_refused() {
    let server = Server::start().await;
    let clients = server.clients().await;
    let mut calls = JoinSet::new();
    for index in 0..10_000 {
        let mut clients = clients.clone();
        calls.spawn(async move {
            let create = order::create(&format!("o-{index}"), "ann");
            clients.create_order(create).await
        });
    }
    let mut answered = 0;
    while let Some(call) = calls.join_next().await {
        match call.unwrap() {
            Ok(_) => answered += 1,
            Err(refused) => assert_error(&refused, Code::ResourceExhausted, "OVERLOADED"),
        }
    }
    assert_eq!(server.clients().await.head().await, answered);
    assert!(answered >= 1000, "{answered}");
}

#[tokio::test(flavor = "multi_thread")]
async fn g11_subscribers_past_the_limit_are_refused_and_the_others_get_every_event() {
    let server = Server::start().await;
    let mut streams = Vec::new();
    let mut refused = None;
    for _ in 0..11 {
        let mut clients = server.clients().await;
        for _ in 0..950 {
            match clients.subscribe(follow(0)).await {
                Ok(stream) => streams.push(stream),
                Err(status) => refused = Some(status),
            }
        }
    }
    // The projector of the node is one of the 10,000 subscribers that the limit allows.
    assert_eq!(streams.len(), 10_000 - 1);
    assert_error(&refused.unwrap(), Code::ResourceExhausted, "OVERLOADED");
    let position = server.clients().await.create("o").await;
    for stream in &mut streams {
        stream.up_to(position).await;
    }
    drop(streams);
    wait_until("ended subscriptions free their places", async || {
        server.clients().await.subscribe(follow(0)).await.is_ok()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn searches_past_the_limit_are_refused_and_delay_no_other_query() {
    // The search engine accepts connections and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok(connection) = silent.accept().await {
            held.push(connection);
        }
    });
    let server = Server::start_with_meilisearch(&url, "key").await;
    let mut clients = server.clients().await;
    let position = clients.create("o").await;
    let mut searches = JoinSet::new();
    for _ in 0..400 {
        let mut clients = clients.clone();
        searches.spawn(async move { reason(&clients.search("tea", 0).await.unwrap_err()) });
    }
    assert_eq!(clients.order("o", position).await.customer_id, "ann");
    let reasons = searches.join_all().await;
    let count = |reason: &str| reasons.iter().filter(|it| *it == reason).count();
    assert!(count("OVERLOADED") > 0, "{reasons:?}");
    assert!(count("SEARCH_UNAVAILABLE") >= 256, "{reasons:?}");
    assert_eq!(count("OVERLOADED") + count("SEARCH_UNAVAILABLE"), 400);
}
