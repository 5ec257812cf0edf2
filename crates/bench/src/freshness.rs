//! Measures how far documents and search lag behind the replies to commands.

use std::time::{Duration, Instant};

use contract::orders::v1::{GetOrderRequest, SearchOrdersRequest, ShipOrderRequest};
use e2e::{Clients, Process};

use crate::{
    figures::{milliseconds, tell_latency},
    fill,
    load::{self, Call},
    program::Program,
};

const IN_FLIGHT: usize = 256;
const SEARCHES: u64 = 50;

/// The probe waits 20 ms between two orders.
const PAUSE: Duration = Duration::from_millis(20);

pub(crate) async fn run(orders: u64, seconds: u64) {
    let brief = Duration::from_secs(10);
    let full = {
        let program = Program::start();
        load::run(&program.address(), Call::Create, IN_FLIGHT, brief, None).await
    };
    let program = Program::start();
    let mut clients = program.process().clients().await;
    fill::orders(&clients.commands, 0, orders).await;
    fill::projected(program.process()).await;
    println!("with {orders} orders there");
    found(&mut clients).await;

    let duration = Duration::from_secs(seconds);
    let address = program.address();
    for share in [8.0, 4.0, 2.0] {
        let url = program.process().url().to_owned();
        let rate = Some(full / share);
        let load = load::run(&address, Call::Create, IN_FLIGHT, duration, rate);
        let probes = std::thread::spawn(move || probe(&url, duration));
        let rate = load.await;
        println!("at {rate:.0} commands a second, 1/{share} of {full:.0}");
        let [replied, behind] = probes.join().unwrap();
        tell_latency("  a command has its reply", &replied);
        tell_latency("  a document is behind its reply", &behind);
        fill::projected(program.process()).await;
    }

    let full = load::run(&address, Call::Create, IN_FLIGHT, brief, None).await;
    let caught_up = caught_up(program.process()).await;
    println!("after 10 s at {full:.0} commands a second, the full rate");
    println!("  documents have caught up after {caught_up:.1} s more");
}

/// Measures how long a command takes, and how long after its reply the order can be read, in
/// milliseconds. The caller runs this on its own thread, so that the work of the load generator does
/// not count.
fn probe(url: &str, duration: Duration) -> [Vec<f64>; 2] {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut clients = Clients::connect(url).await.unwrap();
        let ends = Instant::now() + duration;
        let (mut taken, mut behind) = (Vec::new(), Vec::new());
        while Instant::now() < ends {
            let began = Instant::now();
            let reply = clients.commands.create_order(load::create(1)).await;
            let reply = reply.unwrap().into_inner();
            taken.push(milliseconds(began.elapsed()));
            let replied = Instant::now();
            let get = GetOrderRequest {
                order_id: reply.order_id,
                min_position: reply.position,
                max_wait: Some(prost_types::Duration {
                    seconds: 30,
                    nanos: 0,
                }),
                ..GetOrderRequest::default()
            };
            // A query that reaches its maximum wait counts with that time.
            let _ = clients.queries.get_order(get).await;
            behind.push(milliseconds(replied.elapsed()));
            tokio::time::sleep(PAUSE).await;
        }
        [taken, behind]
    })
}

/// Measures how long after its reply a change can be found by its text, on an idle machine.
async fn found(clients: &mut Clients) {
    let mut behind = Vec::new();
    for number in 0..SEARCHES {
        let created = clients.commands.create_order(load::create(number)).await;
        let ship = ShipOrderRequest {
            order_id: created.unwrap().into_inner().order_id,
            shipping_address: format!("{number} Harbour Street"),
            tracking_number: format!("TRACK{number}"),
            ..ShipOrderRequest::default()
        };
        let position = clients.commands.ship_order(ship).await.unwrap();
        let replied = Instant::now();
        let search = SearchOrdersRequest {
            query: format!("track{number}"),
            min_position: position.into_inner().position,
            ..SearchOrdersRequest::default()
        };
        let found = clients.queries.search_orders(search).await.unwrap();
        behind.push(milliseconds(replied.elapsed()));
        assert!(!found.into_inner().orders.is_empty());
        tokio::time::sleep(PAUSE * 10).await;
    }
    tell_latency("idle, a change is found by its text", &behind);
}

async fn caught_up(process: &Process) -> f64 {
    let mut clients = process.clients().await;
    let head = clients.head().await;
    let started = Instant::now();
    while clients
        .queries
        .get_statistics(contract::orders::v1::GetStatisticsRequest {
            min_position: head,
            ..Default::default()
        })
        .await
        .is_err()
    {}
    started.elapsed().as_secs_f64()
}
