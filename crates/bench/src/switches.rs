//! Measures how fresh answers are while a customer with very many orders gets a new name, and while
//! documents and index are rebuilt.

use std::{
    sync::Arc,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use contract::orders::v1::{
    GetOrderRequest, RegisterCustomerRequest, SearchOrdersRequest, ShipOrderRequest,
};
use e2e::{Clients, Process};

use crate::{
    figures::{milliseconds, tell_latency},
    fill, lists, load,
    program::Program,
    rebuild::rebuild,
};

/// The probe waits 20 ms between two orders.
const PAUSE: Duration = Duration::from_millis(20);

const MAX_WAIT: Option<prost_types::Duration> = Some(prost_types::Duration {
    seconds: 30,
    nanos: 0,
});

pub(crate) async fn run(orders: u64) {
    let program = Program::start();
    let process = program.process();
    let mut clients = process.clients().await;
    lists::execute(&clients, lists::commands(orders)).await;
    fill::projected(process).await;
    println!("with {orders} orders there");

    let probe = Probe::start(process);
    tokio::time::sleep(Duration::from_secs(10)).await;
    probe.tell("idle");

    let probe = Probe::start(process);
    let began = Instant::now();
    let renamed = RegisterCustomerRequest {
        customer_id: lists::LARGEST.to_owned(),
        name: "Largest Renamed".to_owned(),
        ..RegisterCustomerRequest::default()
    };
    let renamed = clients.commands.register_customer(renamed).await.unwrap();
    let found = SearchOrdersRequest {
        query: "renamed".to_owned(),
        min_position: renamed.into_inner().position,
        max_wait: MAX_WAIT,
        ..SearchOrdersRequest::default()
    };
    let found = clients.queries.search_orders(found).await;
    let total = found.map(|found| found.into_inner().total_size);
    let taken = began.elapsed().as_secs_f64();
    println!("a new name is found on {total:?} orders after {taken:.1} s");
    probe.tell("beside that");

    for projection in ["documents", "search"] {
        let probe = Probe::start(process);
        let taken = rebuild(&program, projection).await;
        println!("{projection} rebuilt in {taken:.1} s");
        probe.tell("beside that");
    }
}

/// Creates orders, and measures how long after its reply each can be read and found by its text. It
/// has its own thread, so that the work of others does not count.
struct Probe {
    ends: Arc<AtomicBool>,
    running: thread::JoinHandle<[Vec<f64>; 2]>,
}

impl Probe {
    fn start(process: &Process) -> Self {
        let ends = Arc::new(AtomicBool::new(false));
        let (url, until) = (process.url().to_owned(), Arc::clone(&ends));
        let running = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(probe(&url, &until))
        });
        Self { ends, running }
    }

    /// Ends the probe and prints what it has measured.
    fn tell(self, when: &str) {
        self.ends.store(true, Ordering::Relaxed);
        let [read, found] = self.running.join().unwrap();
        tell_latency(&format!("  {when}, a document is behind its reply"), &read);
        tell_latency(&format!("  {when}, a change is found by its text"), &found);
    }
}

async fn probe(url: &str, ends: &AtomicBool) -> [Vec<f64>; 2] {
    let mut clients = Clients::connect(url).await.unwrap();
    let (mut read, mut found) = (Vec::new(), Vec::new());
    while !ends.load(Ordering::Relaxed) {
        let number = read.len();
        let created = clients.commands.create_order(load::create(1)).await;
        let order_id = created.unwrap().into_inner().order_id;
        let ship = ShipOrderRequest {
            order_id: order_id.clone(),
            shipping_address: format!("{number} Harbour Street"),
            tracking_number: format!("PROBE{number}"),
            ..ShipOrderRequest::default()
        };
        let shipped = clients.commands.ship_order(ship).await.unwrap();
        let position = shipped.into_inner().position;
        let replied = Instant::now();
        let get = GetOrderRequest {
            order_id,
            min_position: position,
            max_wait: MAX_WAIT,
            ..GetOrderRequest::default()
        };
        clients.queries.get_order(get).await.unwrap();
        read.push(milliseconds(replied.elapsed()));
        let search = SearchOrdersRequest {
            query: format!("probe{number}"),
            min_position: position,
            max_wait: MAX_WAIT,
            ..SearchOrdersRequest::default()
        };
        let hits = clients.queries.search_orders(search).await.unwrap();
        found.push(milliseconds(replied.elapsed()));
        assert!(!hits.into_inner().orders.is_empty());
        tokio::time::sleep(PAUSE).await;
    }
    [read, found]
}
