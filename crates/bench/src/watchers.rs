//! Measures what watches of single orders cost the server while other orders change.

use contract::orders::v1::{WatchOrdersRequest, WatchOrdersResponse};
use e2e::Process;
use tonic::Streaming;

use crate::{figures::median, fill, lists, program::Program};

const ROUNDS: u64 = 3;
const CHANGES: u64 = 100_000;

/// Watches on one connection: HTTP/2 servers commonly allow 100 streams.
const ON_A_CONNECTION: usize = 100;

pub(crate) async fn run(watchers: usize) {
    let program = Program::start();
    let process = program.process();
    let clients = process.clients().await;
    lists::execute(&clients, lists::commands(watchers as u64)).await;
    fill::projected(process).await;
    let mut costs: [Vec<f64>; 3] = Default::default();
    for round in 0..ROUNDS {
        for (turn, count) in [0, 1, watchers].into_iter().enumerate() {
            let streams = watch(process, count).await;
            let first = (round * 3 + turn as u64) * CHANGES;
            let before = process.processor_seconds();
            fill::orders(&clients.commands, first, first + CHANGES).await;
            fill::projected(process).await;
            let taken = process.processor_seconds() - before;
            costs[turn].push(taken / CHANGES as f64 * 1e6);
            drop(streams);
        }
    }
    let [none, one, many] = costs.map(|each| median(&each));
    println!("processor time for a new order, with its documents, lists and text:");
    println!("  {none:.1} µs alone, {one:.1} with one watch, {many:.1} with {watchers}");
    println!("  ratio of {watchers} to one: {:.2}", many / one);
}

/// Opens watches of one order each.
async fn watch(process: &Process, count: usize) -> Vec<Streaming<WatchOrdersResponse>> {
    let mut streams = Vec::with_capacity(count);
    let mut clients = process.clients().await;
    for index in 0..count {
        if index % ON_A_CONNECTION == 0 {
            clients = process.clients().await;
        }
        let request = WatchOrdersRequest {
            order_ids: vec![format!("order-{index}")],
            changes_only: true,
            ..WatchOrdersRequest::default()
        };
        let opened = clients.queries.watch_orders(request).await.unwrap();
        let mut stream = opened.into_inner();
        stream.message().await.unwrap();
        streams.push(stream);
    }
    streams
}
