//! Measures memory and start time with a large log.

use std::time::{Duration, Instant};

use contract::orders::v1::SubscribeRequest;

use crate::{
    fill,
    load::{self, Call},
    program::Program,
};

const SUBSCRIBERS: usize = 10;
const IN_FLIGHT: usize = 256;

/// A new process still releases memory on its own for some seconds.
const SETTLE: Duration = Duration::from_secs(5);

pub(crate) async fn run(events: u64, seconds: u64) {
    let mut program = Program::start();
    fill::orders(&program.process().clients().await.commands, 0, events).await;
    fill::projected(program.process()).await;
    println!("with {events} events in the log");
    println!(
        "  after filling: {:.0} MB",
        program.process().memory("VmRSS")
    );
    let started = Instant::now();
    program.start_again().await;
    let seconds_to_start = started.elapsed().as_secs_f64();
    println!("  ended and serving again after {seconds_to_start:.2} s");
    tokio::time::sleep(SETTLE).await;
    println!("  idle: {:.0} MB", program.process().memory("VmRSS"));

    let url = program.process().url().to_owned();
    let subscribers = std::thread::spawn(move || follow(&url, seconds));
    let duration = Duration::from_secs(seconds);
    let rate = load::run(&program.address(), Call::Create, IN_FLIGHT, duration, None).await;
    let delivered = subscribers.join().unwrap();
    println!("at {rate:.0} commands a second with {SUBSCRIBERS} subscribers");
    println!("  delivered: {delivered} events");
    println!(
        "  memory at most: {:.0} MB",
        program.process().memory("VmHWM")
    );
}

fn follow(url: &str, seconds: u64) -> usize {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut clients = e2e::Clients::connect(url).await.unwrap();
        let after_position = clients.head().await;
        let ends = tokio::time::Instant::now() + Duration::from_secs(seconds);
        let subscribers = (0..SUBSCRIBERS).map(|_| {
            let mut events = clients.events.clone();
            async move {
                let request = SubscribeRequest {
                    after_position,
                    follow: true,
                    ..SubscribeRequest::default()
                };
                let mut stream = events.subscribe(request).await.unwrap().into_inner();
                let mut delivered = 0;
                while let Ok(response) = tokio::time::timeout_at(ends, stream.message()).await {
                    delivered += response.unwrap().unwrap().events.len();
                }
                delivered
            }
        });
        let delivered = futures_util::future::join_all(subscribers).await;
        delivered.into_iter().sum()
    })
}
