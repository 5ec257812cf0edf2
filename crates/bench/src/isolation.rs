//! Measures the cost of demanding clients to a lone command and a lone query (guarantee G13).

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use contract::orders::v1::{
    EventFilter, ExecuteCommandsRequest, GetOrderRequest, SearchOrdersRequest, SubscribeRequest,
    execute_commands_request::Command,
};
use e2e::Clients;
use futures_util::future::join_all;
use test_support::order;
use tokio::{runtime::Builder, time::interval};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};
use uuid::Uuid;

use crate::{
    figures::{milliseconds, quantile, tell_latency},
    fill, load,
    program::Program,
};

/// Orders of 1000 lines in the log.
const LARGE_ORDERS: usize = 300;

/// Names that the hot customer had before.
const RENAMES: usize = 20_000;

/// The interval between two lone calls. The server is not busy with them.
const INTERVAL: Duration = Duration::from_millis(5);

const ROUNDS: usize = 3;

/// Streams on one connection.
const ON_A_CONNECTION: usize = 100;

/// The kinds of demanding clients.
#[derive(Debug, Clone, Copy)]
enum Offender {
    /// 1000 subscribers whose filter matches nothing.
    Filtered,
    /// 100 subscribers to large orders that do not read.
    Stuck,
    /// Ten ExecuteCommands streams whose replies are not read.
    UnreadReplies,
    /// 64 clients that list orders with facets.
    Lists,
    /// Six clients that read the whole log, again and again.
    Replays,
    /// Four clients that rename one customer, again and again.
    HotAggregate,
}

pub(crate) async fn run(orders: u64, seconds: u64) {
    let program = Program::start();
    let mut clients = program.process().clients().await;
    fill::orders(&clients.commands, 0, orders).await;
    for index in 0..LARGE_ORDERS {
        let large = order::large(&format!("large-{index}"));
        clients.commands.create_order(large).await.unwrap();
    }
    rename(&clients, RENAMES).await;
    fill::projected(program.process()).await;
    let (url, turn) = (program.process().url(), Duration::from_secs(seconds));
    let known = clients.commands.create_order(load::create(0)).await;
    let known = known.unwrap().into_inner().order_id;
    let kinds = [
        Offender::Filtered,
        Offender::Stuck,
        Offender::UnreadReplies,
        Offender::Lists,
        Offender::Replays,
        Offender::HotAggregate,
    ];
    let mut alone = Latencies::default();
    let mut beside = kinds.map(|kind| (kind, Latencies::default(), 0.0_f64, Refused::default()));
    for _ in 0..ROUNDS {
        alone.measure(url, &known, turn).await;
        for (kind, latencies, memory, refused) in &mut beside {
            let offence = Offence::start(*kind, url, refused.clone());
            latencies.measure(url, &known, turn).await;
            *memory = memory.max(program.process().memory("VmRSS"));
            offence.stop();
        }
    }
    alone.tell("alone");
    for (kind, latencies, memory, refused) in &beside {
        latencies.tell(&format!("beside {kind:?}"));
        let ratio = |of: fn(&Latencies) -> &Vec<f64>| {
            quantile(of(latencies), 0.99) / quantile(of(&alone), 0.99)
        };
        println!(
            "  p99 ratios: CreateOrder {:.2}, GetOrder {:.2}; memory {memory:.0} MB; refused: {:?}",
            ratio(|it| &it.commands),
            ratio(|it| &it.queries),
            refused.0.lock().unwrap_or_else(PoisonError::into_inner),
        );
    }
    println!(
        "memory at most: {:.0} MB",
        program.process().memory("VmHWM")
    );
}

/// The latencies of lone calls, in milliseconds.
#[derive(Debug, Default)]
struct Latencies {
    commands: Vec<f64>,
    queries: Vec<f64>,
}

impl Latencies {
    /// Sends a command and then a query, each on a connection of its own, in intervals.
    async fn measure(&mut self, url: &str, known: &str, turn: Duration) {
        let mut commands = Clients::connect(url).await.unwrap().commands;
        let mut queries = Clients::connect(url).await.unwrap().queries;
        let ends = Instant::now() + turn;
        let mut due = interval(INTERVAL);
        while Instant::now() < ends {
            due.tick().await;
            let began = Instant::now();
            commands.create_order(load::create(7)).await.unwrap();
            self.commands.push(milliseconds(began.elapsed()));
            due.tick().await;
            let request = GetOrderRequest {
                order_id: known.to_owned(),
                ..GetOrderRequest::default()
            };
            let began = Instant::now();
            queries.get_order(request).await.unwrap();
            self.queries.push(milliseconds(began.elapsed()));
        }
    }

    fn tell(&self, label: &str) {
        tell_latency(&format!("CreateOrder {label}"), &self.commands);
        tell_latency(&format!("GetOrder {label}"), &self.queries);
    }
}

/// How often the calls of an offender were refused, by code.
#[derive(Debug, Clone, Default)]
struct Refused(Arc<Mutex<BTreeMap<String, u64>>>);

impl Refused {
    /// Counts a refusal. An overloaded server is left alone for a moment, as `RetryInfo` asks.
    async fn count(&self, status: &Status) {
        {
            let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            *counts.entry(format!("{:?}", status.code())).or_default() += 1;
        }
        if status.code() == Code::ResourceExhausted {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// Demanding clients on a thread of their own.
struct Offence {
    stop: CancellationToken,
    thread: thread::JoinHandle<()>,
}

impl Offence {
    fn start(kind: Offender, url: &str, refused: Refused) -> Self {
        let stop = CancellationToken::new();
        let (until, url) = (stop.clone(), url.to_owned());
        let thread = thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            let offence = offend(kind, &url, &refused);
            runtime.block_on(until.run_until_cancelled(offence));
        });
        Self { stop, thread }
    }

    fn stop(self) {
        self.stop.cancel();
        self.thread.join().unwrap();
    }
}

async fn offend(kind: Offender, url: &str, refused: &Refused) {
    match kind {
        Offender::Filtered => {
            let filter = EventFilter {
                event_types: vec!["OrderCancelled".to_owned()],
                ..EventFilter::default()
            };
            hold_streams(url, 1000, Some(filter), true, refused).await;
        }
        Offender::Stuck => hold_streams(url, 100, None, false, refused).await,
        Offender::UnreadReplies => {
            let streams = (0..10).map(|_| unread_replies(url, refused));
            join_all(streams).await;
        }
        Offender::Lists => {
            join_all((0..64).map(|_| lists(url, refused))).await;
        }
        Offender::Replays => {
            join_all((0..6).map(|_| replays(url, refused))).await;
        }
        Offender::HotAggregate => {
            let clients = Clients::connect(url).await.unwrap();
            loop {
                rename(&clients, 1000).await;
            }
        }
    }
}

/// Opens streams and keeps them. With `from_head`, they begin at the head and read one response;
/// without, they begin at the large orders and read nothing.
async fn hold_streams(
    url: &str,
    count: usize,
    filter: Option<EventFilter>,
    from_head: bool,
    refused: &Refused,
) {
    let mut held = Vec::new();
    let mut clients = Clients::connect(url).await.unwrap();
    let head = clients.head().await;
    for index in 0..count {
        if index % ON_A_CONNECTION == 0 {
            clients = Clients::connect(url).await.unwrap();
        }
        let request = SubscribeRequest {
            after_position: if from_head { head } else { 0 },
            filter: match &filter {
                Some(filter) => Some(filter.clone()),
                None => Some(EventFilter {
                    customer_ids: vec!["ann".to_owned()],
                    ..EventFilter::default()
                }),
            },
            follow: true,
            ..SubscribeRequest::default()
        };
        match clients.events.subscribe(request).await {
            Ok(stream) => held.push(stream.into_inner()),
            Err(status) => refused.count(&status).await,
        }
    }
    std::future::pending::<()>().await;
}

/// Sends commands for as long as the server takes them, and reads no reply.
async fn unread_replies(url: &str, refused: &Refused) {
    let mut commands = Clients::connect(url).await.unwrap().commands;
    let requests = (0..).map(|number| ExecuteCommandsRequest {
        command: Some(Command::CreateOrder(load::create(number))),
    });
    match commands
        .execute_commands(tokio_stream::iter(requests))
        .await
    {
        Ok(_unread) => std::future::pending().await,
        Err(status) => refused.count(&status).await,
    }
}

async fn lists(url: &str, refused: &Refused) {
    let mut queries = Clients::connect(url).await.unwrap().queries;
    loop {
        let request = SearchOrdersRequest {
            facets: vec!["status".to_owned(), "customer_id".to_owned()],
            ..SearchOrdersRequest::default()
        };
        if let Err(status) = queries.search_orders(request).await {
            refused.count(&status).await;
        }
    }
}

async fn replays(url: &str, refused: &Refused) {
    let mut events = Clients::connect(url).await.unwrap().events;
    loop {
        let mut stream = match events.subscribe(SubscribeRequest::default()).await {
            Ok(stream) => stream.into_inner(),
            Err(status) => {
                refused.count(&status).await;
                continue;
            }
        };
        while let Ok(Some(_)) = stream.message().await {}
    }
}

/// Renames one customer `count` times, four at a time.
async fn rename(clients: &Clients, count: usize) {
    let renames = (0..4).map(|_| async {
        let mut commands = clients.commands.clone();
        for _ in 0..count / 4 {
            let name = Uuid::now_v7().to_string();
            let request = order::customer("hot", &name);
            commands.register_customer(request).await.unwrap();
        }
    });
    join_all(renames).await;
}
