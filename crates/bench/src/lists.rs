//! Measures lists, counts, facets and statistics at many orders, and how fast documents follow.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use contract::{
    google::r#type::Money,
    orders::v1::{
        CancelOrderRequest, CreateOrderItem, CreateOrderRequest, DeliverOrderRequest,
        ExecuteCommandsRequest, GetCustomerStatisticsRequest, GetOrderRequest, OrderStatus,
        SearchOrdersRequest, ShipOrderRequest, execute_commands_request::Command,
        query_service_client::QueryServiceClient,
    },
};
use e2e::Clients;
use tokio_util::sync::CancellationToken;
use tonic::Code;
use uuid::Uuid;
use wire::Connection;

use crate::{
    figures::{milliseconds, tell_latency},
    fill,
    program::Program,
    random::random,
    rebuild::{rebuild, tell_memory},
};

const CUSTOMERS: u64 = 20_000;

/// The customer with a tenth of all orders.
pub(crate) const LARGEST: &str = "customer-0";
const PRODUCTS: u64 = 5_000;
const REPETITIONS: usize = 40;

/// A later page comes after this many pages of 500 orders.
const PAGES_BEFORE: usize = 100;

/// Clients that loop lists beside GetOrder.
const LOOPING_CLIENTS: usize = 64;
const BESIDE: Duration = Duration::from_secs(10);

pub(crate) async fn run(orders: u64, keep: Option<&Path>) {
    let mut program = keep.map_or_else(Program::start, Program::start_in);
    let mut clients = program.process().clients().await;
    if clients.head().await == 0 {
        let began = Instant::now();
        execute(&clients, commands(orders)).await;
        let written = began.elapsed().as_secs_f64();
        fill::projected(program.process()).await;
        let behind = began.elapsed().as_secs_f64() - written;
        println!("{orders} orders written in {written:.1} s; all projections {behind:.1} s later");
        program.start_again().await;
    }
    tell_sizes(&program);
    let mut queries = program.process().clients().await.queries;
    for (label, request) in lists() {
        let (first, total) = list(&mut queries, &request).await;
        tell_latency(&format!("{label}: {total} orders"), &first);
        if let Some(later) = later_page(&mut queries, &request).await {
            let (later, _) = list(&mut queries, &later).await;
            tell_latency("  a later page", &later);
        }
    }
    statistics(&mut queries).await;
    tell_memory(&program, "after that");
    let alone = points(&program, Duration::from_secs(3)).await;
    tell_latency("GetOrder alone", &alone);
    beside_loops(&program).await;
    let taken = rebuild(&program, "documents").await;
    println!(
        "documents rebuilt in {taken:.1} s: {:.0} orders a second",
        orders as f64 / taken
    );
    tell_memory(&program, "after that");
}

/// Measures one list. Returns its times, in milliseconds, and the number of matches.
async fn list(
    queries: &mut QueryServiceClient<Connection>,
    request: &SearchOrdersRequest,
) -> (Vec<f64>, u64) {
    let mut taken = Vec::new();
    let mut total = 0;
    for _ in 0..REPETITIONS {
        let began = Instant::now();
        let found = queries.search_orders(request.clone()).await.unwrap();
        taken.push(milliseconds(began.elapsed()));
        total = found.into_inner().total_size;
    }
    (taken, total)
}

/// Returns the request of a page of usual size after [`PAGES_BEFORE`] of the largest size; `None` if
/// there are fewer.
async fn later_page(
    queries: &mut QueryServiceClient<Connection>,
    request: &SearchOrdersRequest,
) -> Option<SearchOrdersRequest> {
    let mut page = SearchOrdersRequest {
        page_size: 500,
        ..request.clone()
    };
    for _ in 0..PAGES_BEFORE {
        let found = queries.search_orders(page.clone()).await.unwrap();
        page.page_token = found.into_inner().next_page_token;
        if page.page_token.is_empty() {
            return None;
        }
    }
    page.page_size = request.page_size;
    Some(page)
}

/// Prints the bytes of the log, the live documents with their lists, and the live search index.
fn tell_sizes(program: &Program) {
    let data = program.folder().join("data");
    let live = |link: &str| std::fs::canonicalize(data.join(link)).unwrap();
    let documents = live("read.db");
    let name = documents.file_stem().unwrap().to_string_lossy();
    let lists = data.join(name.replace("read", "lists"));
    let sizes = [data.join("events.db"), documents, lists, live("search")].map(|path| {
        let name = path.file_name().unwrap().to_string_lossy();
        format!("{name} {:.0} MB", size(&path) as f64 / 1e6)
    });
    println!("{}", sizes.join(", "));
}

fn size(path: &Path) -> u64 {
    let metadata = std::fs::metadata(path).unwrap();
    if metadata.is_file() {
        return metadata.len();
    }
    let entries = std::fs::read_dir(path).unwrap();
    entries.map(|entry| size(&entry.unwrap().path())).sum()
}

/// Creates orders, of which the largest customer has a tenth, and ships, delivers or cancels most of
/// them a little later.
pub(crate) fn commands(orders: u64) -> impl Iterator<Item = Command> + Send {
    (0..orders + 1000).flat_map(move |number| {
        let later = number
            .checked_sub(1000)
            .map(|older| (older, random(older, 8)));
        let created = (number < orders).then(|| create(number));
        let order_id = later.map(|(older, _)| order_id(older)).unwrap_or_default();
        let shipped = Command::ShipOrder(ShipOrderRequest {
            order_id: order_id.clone(),
            shipping_address: "1 Main St".into(),
            tracking_number: "T1".into(),
            ..ShipOrderRequest::default()
        });
        let delivered = Command::DeliverOrder(DeliverOrderRequest {
            order_id: order_id.clone(),
            ..DeliverOrderRequest::default()
        });
        let cancelled = Command::CancelOrder(CancelOrderRequest {
            order_id,
            reason: "no".into(),
            ..CancelOrderRequest::default()
        });
        let changes = match later {
            Some((_, 0)) => vec![cancelled],
            Some((_, 1..=5)) => vec![shipped, delivered],
            Some((_, 6)) => vec![shipped],
            _ => vec![],
        };
        created.into_iter().chain(changes)
    })
}

fn order_id(number: u64) -> String {
    format!("order-{number}")
}

fn create(number: u64) -> Command {
    let customer = match random(number, 10) {
        0 => 0,
        _ => random(number + 7, CUSTOMERS),
    };
    let items = (0..1 + random(number + 11, 4)).map(|item| CreateOrderItem {
        product_id: format!("product-{}", random(number * 5 + item, PRODUCTS)),
        quantity: 1,
        unit_price: Some(Money {
            currency_code: "EUR".into(),
            units: random(number + item, 500).cast_signed() + 1,
            nanos: 0,
        }),
    });
    Command::CreateOrder(CreateOrderRequest {
        order_id: order_id(number),
        customer_id: format!("customer-{customer}"),
        items: items.collect(),
        ..CreateOrderRequest::default()
    })
}

pub(crate) async fn execute(
    clients: &Clients,
    commands: impl Iterator<Item = Command> + Send + 'static,
) {
    let requests = commands.map(|mut command| {
        let id = Uuid::now_v7().to_string();
        match &mut command {
            Command::CreateOrder(request) => request.request_id = id,
            Command::ShipOrder(request) => request.request_id = id,
            Command::DeliverOrder(request) => request.request_id = id,
            Command::CancelOrder(request) => request.request_id = id,
            _ => {}
        }
        ExecuteCommandsRequest {
            command: Some(command),
        }
    });
    let requests = tokio_stream::iter(requests);
    let answers = clients.commands.clone().execute_commands(requests).await;
    let mut answers = answers.unwrap().into_inner();
    while answers.message().await.unwrap().is_some() {}
}

/// The lists that scan much, and some that should not.
fn lists() -> Vec<(&'static str, SearchOrdersRequest)> {
    use OrderStatus::{Cancelled, Created, Delivered, Shipped};
    let by = |order_by: &str, statuses: &[OrderStatus]| SearchOrdersRequest {
        order_by: order_by.into(),
        statuses: statuses.iter().map(|status| (*status).into()).collect(),
        ..SearchOrdersRequest::default()
    };
    let facets = |fields: &[&str], request: SearchOrdersRequest| SearchOrdersRequest {
        facets: fields.iter().map(|field| (*field).to_owned()).collect(),
        ..request
    };
    let euros = |units| {
        Some(Money {
            currency_code: "EUR".into(),
            units,
            nanos: 0,
        })
    };
    let newest = "created_at desc";
    let of = |customer: &str| SearchOrdersRequest {
        customer_ids: vec![customer.to_owned()],
        ..by(newest, &[])
    };
    let all = ["status", "customer_id", "product_id"];
    vec![
        ("everything, newest first", by(newest, &[])),
        (
            "two rare statuses ascending",
            by("created_at", &[Created, Cancelled]),
        ),
        (
            "two common statuses ascending",
            by("created_at", &[Shipped, Delivered]),
        ),
        (
            "one status by updated_at",
            by("updated_at desc", &[Delivered]),
        ),
        ("a customer", of("customer-77")),
        ("the largest customer", of(LARGEST)),
        (
            "the largest customer with product facets",
            facets(&["product_id"], of(LARGEST)),
        ),
        (
            "a product",
            SearchOrdersRequest {
                product_ids: vec!["product-9".into()],
                ..by(newest, &[])
            },
        ),
        (
            "one status with a range of totals",
            SearchOrdersRequest {
                min_total: euros(100),
                max_total: euros(200),
                ..by(newest, &[Delivered])
            },
        ),
        ("everything by total", by("total_amount desc", &[])),
        (
            "everything by total with all facets",
            facets(&all, by("total_amount desc", &[])),
        ),
        (
            "one status with all facets",
            facets(&all, by(newest, &[Delivered])),
        ),
    ]
}

async fn statistics(queries: &mut QueryServiceClient<Connection>) {
    for customer in [LARGEST, "customer-77"] {
        let mut taken = Vec::new();
        for _ in 0..REPETITIONS {
            let request = GetCustomerStatisticsRequest {
                customer_id: customer.into(),
                ..GetCustomerStatisticsRequest::default()
            };
            let began = Instant::now();
            queries.get_customer_statistics(request).await.unwrap();
            taken.push(milliseconds(began.elapsed()));
        }
        tell_latency(&format!("statistics of {customer}"), &taken);
    }
}

/// Measures GetOrder, one at a time, on a thread of its own, so that the work of other clients in this
/// process does not count.
async fn points(program: &Program, duration: Duration) -> Vec<f64> {
    let url = program.process().url().to_owned();
    let thread = tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let mut clients = Clients::connect(&url).await.unwrap();
            point_reads(&mut clients.queries, duration).await
        })
    });
    thread.await.unwrap()
}

async fn point_reads(queries: &mut QueryServiceClient<Connection>, duration: Duration) -> Vec<f64> {
    let ends = Instant::now() + duration;
    let mut taken = Vec::new();
    while Instant::now() < ends {
        let request = GetOrderRequest {
            order_id: order_id(random(taken.len() as u64, 1000)),
            ..GetOrderRequest::default()
        };
        let began = Instant::now();
        queries.get_order(request).await.unwrap();
        taken.push(milliseconds(began.elapsed()));
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    taken
}

/// Measures GetOrder beside clients that loop the lists without a pause.
async fn beside_loops(program: &Program) {
    let stop = CancellationToken::new();
    let mut loops = tokio::task::JoinSet::new();
    for index in 0..LOOPING_CLIENTS {
        let mut queries = program.process().clients().await.queries;
        let stop = stop.clone();
        loops.spawn(async move {
            let (mut answered, mut overloaded, mut others) = (0, 0, 0);
            for (_, request) in lists().into_iter().cycle().skip(index) {
                if stop.is_cancelled() {
                    break;
                }
                match queries.search_orders(request).await {
                    Ok(_) => answered += 1,
                    Err(error) if error.code() == Code::ResourceExhausted => overloaded += 1,
                    Err(_) => others += 1,
                }
                tokio::task::yield_now().await;
            }
            [answered, overloaded, others]
        });
    }
    let beside = points(program, BESIDE).await;
    stop.cancel();
    let counts = loops.join_all().await.into_iter();
    let [answered, overloaded, others] = counts.fold([0, 0, 0], |sum, one: [u64; 3]| {
        [sum[0] + one[0], sum[1] + one[1], sum[2] + one[2]]
    });
    tell_latency(
        &format!("GetOrder beside {LOOPING_CLIENTS} clients that loop the lists"),
        &beside,
    );
    println!("  lists: {answered} answered, {overloaded} OVERLOADED, {others} failed otherwise");
}
