//! Tests that subscribers who do not read cost bounded memory.

use contract::orders::v1::*;
use e2e::Process;
use test_support::{eventually, order};
use tokio::task::JoinSet;

use crate::binary::start;

/// Creates orders of 100 lines each, over 8 connections.
async fn create(process: &Process, orders: usize) {
    let mut calls = JoinSet::new();
    for writer in 0..8 {
        let mut commands = process.clients().await.commands;
        calls.spawn(async move {
            let mut create = order::create("", "ann");
            let line = create.items[0].clone();
            create.items = vec![line; 100];
            for index in 0..orders / 8 {
                create.request_id = format!("{writer}-{orders}-{index}");
                commands.create_order(create.clone()).await.unwrap();
            }
        });
    }
    calls.join_all().await;
}

/// Waits until documents and index contain all orders.
async fn caught_up(process: &Process) {
    let mut clients = process.clients().await;
    let head = clients.head().await;
    eventually("the index has all orders", async || {
        let found = clients.queries.search_orders(SearchOrdersRequest {
            query: "ann".into(),
            page_size: 1,
            min_position: head,
            ..SearchOrdersRequest::default()
        });
        found.await.ok()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn g11_memory_does_not_grow_with_what_subscribers_do_not_read() {
    const SUBSCRIBERS: usize = 40;
    /// Memory of one subscriber in MB: a page as read, one page in the channel and one in transit.
    const EACH: f64 = 2.0;
    let folder = tempfile::tempdir().unwrap();
    let process = start(folder.path());
    create(&process, 8000).await;
    let log = std::fs::metadata(folder.path().join("events.db")).unwrap();
    let log = log.len() as f64 / 1e6;
    // The projections must finish first, so that their memory does not count.
    caught_up(&process).await;
    let before = process.memory("VmRSS");
    let mut stuck = Vec::new();
    for _ in 0..SUBSCRIBERS {
        let follow = SubscribeRequest {
            follow: true,
            ..SubscribeRequest::default()
        };
        let mut clients = process.clients().await;
        stuck.push(clients.events.subscribe(follow).await.unwrap().into_inner());
    }
    // The server would buffer the events for the subscribers during this time, if it buffered
    // without bound.
    create(&process, 1600).await;
    caught_up(&process).await;
    let grown = process.memory("VmRSS") - before;
    let bound = SUBSCRIBERS as f64 * EACH + 64.0;
    assert!(
        SUBSCRIBERS as f64 * log > 3.0 * bound,
        "{log} MB are too little to tell"
    );
    assert!(
        grown < bound,
        "{grown} MB for {SUBSCRIBERS} who do not read {log} MB"
    );
    for stream in &mut stuck {
        let response = stream.message().await.unwrap().unwrap();
        assert_eq!(
            response.events[0].position, 1,
            "and nothing is lost for them"
        );
    }
}
