//! Tests that subscribers and watchers who do not read cost bounded memory.

use contract::orders::v1::{SearchOrdersRequest, WatchOrdersRequest};
use e2e::Process;
use test_support::{
    order,
    request::{follow, search},
    wait_until,
};
use tokio::task::JoinSet;

use crate::binary::start;

/// Creates orders of 100 lines each, over 8 connections.
async fn create(process: &Process, orders: usize) {
    let mut calls = JoinSet::new();
    for writer in 0..8 {
        let mut clients = process.clients().await;
        calls.spawn(async move {
            let mut create = order::create("", "ann");
            let line = create.items[0].clone();
            create.items = vec![line; 100];
            for index in 0..orders / 8 {
                create.request_id = format!("{writer}-{orders}-{index}");
                clients.create_order(create.clone()).await.unwrap();
            }
        });
    }
    calls.join_all().await;
}

/// Waits until documents and index contain all orders.
async fn wait_for_projections(process: &Process) {
    let mut clients = process.clients().await;
    let one = SearchOrdersRequest {
        page_size: 1,
        ..search("ann", clients.head().await)
    };
    wait_until("the index has all orders", async || {
        clients.search_orders(one.clone()).await.is_ok()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn g11_subscribers_that_do_not_read_cost_bounded_memory() {
    const SUBSCRIBERS: usize = 40;
    /// Memory of one subscriber in MB: a page as read, one page in the channel and one in transit.
    const EACH: f64 = 2.0;
    let folder = tempfile::tempdir().unwrap();
    let process = start(folder.path());
    create(&process, 8000).await;
    let log = std::fs::metadata(folder.path().join("events.db")).unwrap();
    let log = log.len() as f64 / 1e6;
    // The projections must finish first, so that their memory does not count.
    wait_for_projections(&process).await;
    let before = process.memory("VmRSS");
    let mut stuck = Vec::new();
    for _ in 0..SUBSCRIBERS {
        let mut clients = process.clients().await;
        stuck.push(clients.subscribe(follow(0)).await.unwrap());
    }
    // The server would buffer the events for the subscribers during this time, if it buffered
    // without bound.
    create(&process, 1600).await;
    wait_for_projections(&process).await;
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
        let response = stream.response().await;
        assert_eq!(response.events[0].position, 1, "no event is lost");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn g11_watchers_that_do_not_read_large_orders_cost_bounded_memory() {
    const WATCHERS: usize = 40;
    /// Memory of one watcher in MB: one encoded response, in a buffer of up to twice its size, and its
    /// connection. Without the limit in bytes it is some 24 MB.
    const EACH: f64 = 3.0;
    /// Memory in MB with which the threads make responses, whatever the number of watchers.
    const MAKING: f64 = 160.0;
    let folder = tempfile::tempdir().unwrap();
    let process = start(folder.path());
    let mut clients = process.clients().await;
    for index in 0..200 {
        let large = order::large(&format!("o-{index}"));
        clients.create_order(large).await.unwrap();
    }
    // The projections must finish first, so that their memory does not count.
    wait_for_projections(&process).await;
    let before = process.memory("VmRSS");
    let mut stuck = Vec::new();
    for _ in 0..WATCHERS {
        let mut clients = process.clients().await;
        let all = WatchOrdersRequest::default();
        stuck.push(clients.watch_orders(all).await.unwrap());
    }
    // Each order changes once more, while nobody reads.
    let ann = order::customer("ann", "Ann");
    clients.register_customer(ann).await.unwrap();
    wait_for_projections(&process).await;
    let grown = process.memory("VmRSS") - before;
    let bound = WATCHERS as f64 * EACH + MAKING;
    assert!(grown < bound, "{grown} MB for {WATCHERS} who do not read");
    let mut last = stuck.pop().unwrap();
    let mut orders = 0;
    while let Some(response) = last.message().await.unwrap() {
        orders += response.orders.len();
        if response.caught_up {
            break;
        }
    }
    assert_eq!(orders, 200, "no order is lost");
}
