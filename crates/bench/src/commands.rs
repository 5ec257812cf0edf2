//! Compares `CreateOrder` with an empty call, at 64 and 256 in flight and one at a time.

use std::{
    fs::File,
    io::{Seek as _, Write as _},
    time::{Duration, Instant},
};

use contract::orders::v1::command_service_client::CommandServiceClient;
use tonic::transport::Endpoint;
use tonic_prost::ProstCodec;

use crate::{
    figures::{median, milliseconds, tell_latency, tell_rates},
    load::{self, Call},
    program::Program,
};

const ROUNDS: usize = 3;
const LONE_CALLS: u64 = 2000;

pub(crate) async fn run(seconds: u64) {
    let program = Program::start();
    let turn = Duration::from_secs(seconds);
    for in_flight in [64, 256] {
        println!("{in_flight} in flight");
        compare("h2load", [Call::Empty, Call::Create], async |call| {
            load::h2load(&program.address(), call, in_flight, turn).await
        })
        .await;
        compare(
            "own load",
            [Call::Empty, Call::Create, Call::CreateWithRequestId],
            async |call| Some(load::run(&program.address(), call, in_flight, turn, None).await),
        )
        .await;
    }
    lone(&program).await;
}

/// Measures the calls in turns, and prints each rate and its ratio to the rate of the first call.
async fn compare<const N: usize>(
    generator: &str,
    calls: [Call; N],
    measure: impl AsyncFn(Call) -> Option<f64>,
) {
    let mut rates = [const { Vec::new() }; N];
    for _ in 0..ROUNDS {
        for (rates, call) in rates.iter_mut().zip(calls) {
            let Some(rate) = measure(call).await else {
                println!("  {generator}: not installed");
                return;
            };
            rates.push(rate);
        }
    }
    for (rates_of_call, call) in rates.iter().zip(calls) {
        tell_rates(&format!("  {generator}: {call:?}"), rates_of_call);
        let ratio = median(rates_of_call) / median(&rates[0]);
        println!("    against the empty call: {ratio:.2}");
    }
}

/// Measures calls one at a time, next to a write to disk as a commit makes it.
async fn lone(program: &Program) {
    let channel = Endpoint::from_shared(program.process().url().to_owned())
        .unwrap()
        .connect()
        .await
        .unwrap();
    let mut commands = CommandServiceClient::new(channel.clone());
    let mut health = tonic::client::Grpc::new(channel);
    let mut file = File::create(program.folder().join("synced")).unwrap();
    file.set_len(1 << 20).unwrap();
    let (mut empty, mut create, mut sync) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..LONE_CALLS {
        let started = Instant::now();
        health.ready().await.unwrap();
        let path = http::uri::PathAndQuery::from_static("/grpc.health.v1.Health/Check");
        let codec = ProstCodec::<(), ()>::default();
        let _: tonic::Response<()> = health
            .unary(tonic::Request::new(()), path, codec)
            .await
            .unwrap();
        empty.push(milliseconds(started.elapsed()));

        let started = Instant::now();
        commands.create_order(load::create(number)).await.unwrap();
        create.push(milliseconds(started.elapsed()));

        let started = Instant::now();
        file.rewind().unwrap();
        file.write_all(&[number as u8; 4096]).unwrap();
        file.sync_data().unwrap();
        sync.push(milliseconds(started.elapsed()));
    }
    println!("one at a time");
    tell_latency("  empty call", &empty);
    tell_latency("  CreateOrder", &create);
    tell_latency("  one write of 4 KiB and fdatasync", &sync);
    println!(
        "  CreateOrder against an empty call and a write: {:.2}",
        median(&create) / (median(&empty) + median(&sync))
    );
}
