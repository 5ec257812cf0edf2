//! Measures the cost to commands of idle subscribers and of one that never reads.

use std::time::Duration;

use contract::orders::v1::{EventFilter, SubscribeRequest, SubscribeResponse};
use e2e::Process;
use tonic::Streaming;

use crate::{
    figures::{median, tell_rates},
    load::{self, Call},
    program::Program,
};

const ROUNDS: usize = 3;
const IN_FLIGHT: usize = 256;

/// Subscribers on one connection: HTTP/2 servers commonly allow 100 streams.
const ON_A_CONNECTION: usize = 100;

pub(crate) async fn run(idle: usize, seconds: u64) {
    let program = Program::start();
    let turn = Duration::from_secs(seconds);
    let rate =
        || async { load::run(&program.address(), Call::Create, IN_FLIGHT, turn, None).await };
    let (mut alone, mut with_idle, mut with_stuck) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        alone.push(rate().await);
        let sleepers = subscribe(program.process(), idle, "someone").await;
        with_idle.push(rate().await);
        drop(sleepers);
        let stuck = subscribe(program.process(), 1, "").await;
        with_stuck.push(rate().await);
        drop(stuck);
    }
    tell_rates("CreateOrder", &alone);
    tell_rates(&format!("with {idle} idle subscribers"), &with_idle);
    tell_rates("with one that never reads", &with_stuck);
    println!(
        "ratios: {:.2}, {:.2}",
        median(&with_idle) / median(&alone),
        median(&with_stuck) / median(&alone)
    );
    println!(
        "memory at most: {:.0} MB",
        program.process().memory("VmHWM")
    );
}

/// Opens `count` streams that follow one customer, or all events if `customer` is empty. Each reads
/// only its first response.
async fn subscribe(
    process: &Process,
    count: usize,
    customer: &str,
) -> Vec<Streaming<SubscribeResponse>> {
    let mut streams = Vec::with_capacity(count);
    let mut clients = process.clients().await;
    let head = clients.head().await;
    for index in 0..count {
        if index % ON_A_CONNECTION == 0 {
            clients = process.clients().await;
        }
        let customers = Some(customer.to_owned()).filter(|customer| !customer.is_empty());
        let request = SubscribeRequest {
            after_position: head,
            follow: true,
            filter: Some(EventFilter {
                customer_ids: customers.into_iter().collect(),
                ..EventFilter::default()
            }),
            ..SubscribeRequest::default()
        };
        let mut stream = clients
            .events
            .subscribe(request)
            .await
            .unwrap()
            .into_inner();
        stream.message().await.unwrap();
        streams.push(stream);
    }
    streams
}
