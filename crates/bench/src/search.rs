//! Compares filling and searching a Meilisearch through orderlog with direct calls to Meilisearch.

use std::time::{Duration, Instant};

use contract::orders::v1::SearchOrdersRequest;
use e2e::Clients;
use test_support::meilisearch::Meilisearch;

use crate::{
    direct::{Filling, Http},
    figures::{median, milliseconds, tell_latency},
    fill,
    program::Program,
};

/// Number of searches of each kind.
const SEARCHES: usize = 300;

/// Each pair holds the documents of one task and the number of tasks in flight, for direct calls to
/// Meilisearch.
const TASKS: [(usize, usize); 3] = [(10_000, 4), (25_000, 3), (50_000, 1)];

/// The number of orders in the burst, and how often each of them changes.
const BURST: (u64, u64) = (1000, 100);

pub(crate) async fn run(orders: u64, turns: usize) {
    let mut meilisearch = Meilisearch::start();
    let mut program = Program::start();
    let mut clients = program.process().clients().await;
    names(&mut clients).await;
    fill::orders(&clients.commands, 0, orders).await;
    fill::projected(program.process()).await;
    drop(clients);
    let http = Http::new(&meilisearch);
    println!("{orders} orders into an empty Meilisearch");
    let mut ratios = Vec::new();
    for turn in 1..=turns {
        let index = index(turn);
        let filled = filled(&mut program, &meilisearch, &http, &index).await;
        tell(orders, "by the indexer", &filled);
        let documents = http.documents(&index, orders).await;
        let mut best = Duration::MAX;
        for (size, in_flight) in TASKS {
            let posted = http.post_all(&index, &documents, size, in_flight).await;
            let label = format!("directly, {size} a task, {in_flight} in flight");
            tell(orders, &label, &posted);
            best = best.min(posted.whole);
        }
        let ratio = best.as_secs_f64() / filled.whole.as_secs_f64();
        println!("  ratio: {ratio:.2}");
        ratios.push(ratio);
        if turn < turns {
            http.delete(&index).await;
        }
    }
    println!("filling, median of the ratios: {:.2}", median(&ratios));

    let mut clients = program.process().clients().await;
    searches(&mut clients, &http, &index(turns)).await;

    let (changing, times) = BURST;
    let events = burst(&mut clients, changing, times).await;
    let started = Instant::now();
    fill::projected(program.process()).await;
    println!(
        "after {events} changes to {changing} orders the index has settled in {:.1} s",
        started.elapsed().as_secs_f64()
    );
    meilisearch.kill();
}

fn index(turn: usize) -> String {
    format!("orders-{turn}")
}

/// Restarts the program with an index that does not exist yet, and waits until it is filled.
async fn filled(
    program: &mut Program,
    meilisearch: &Meilisearch,
    http: &Http,
    index: &str,
) -> Filling {
    let (url, key) = (meilisearch.url(), meilisearch.key());
    let started = program.start_with(&url, &key, index).await;
    fill::projected(program.process()).await;
    Filling {
        whole: started.elapsed(),
        busy: http.busy(index).await,
    }
}

fn tell(orders: u64, label: &str, filling: &Filling) {
    let (whole, busy) = (filling.whole.as_secs_f64(), filling.busy.as_secs_f64());
    let rate = orders as f64 / whole;
    println!(
        "  {label}: {rate:.0} a second ({whole:.1} s, of which the server worked {busy:.1} s)"
    );
}

/// Compares searches through orderlog with direct ones, in turns.
async fn searches(clients: &mut Clients, http: &Http, index: &str) {
    let (mut ours, mut ids, mut documents) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..SEARCHES {
        let query = format!("customer {} trading", number % 100);
        let request = SearchOrdersRequest {
            query: query.clone(),
            ..SearchOrdersRequest::default()
        };
        let started = Instant::now();
        let found = clients.queries.search_orders(request).await.unwrap();
        ours.push(milliseconds(started.elapsed()));
        assert!(!found.into_inner().orders.is_empty());
        for (fields, times) in [("row", &mut ids), ("*", &mut documents)] {
            let started = Instant::now();
            http.search(index, &query, &[fields]).await;
            times.push(milliseconds(started.elapsed()));
        }
    }
    tell_latency("a search", &ours);
    tell_latency("the same directly, which returns only rows", &ids);
    tell_latency("the same directly, which returns documents", &documents);
    let ratio = |direct: &[f64]| median(&ours) / median(direct);
    println!("  ratios: {:.2} and {:.2}", ratio(&ids), ratio(&documents));
}

async fn names(clients: &mut Clients) {
    for number in 0..1000 {
        let product = test_support::order::product(
            &format!("product-{number}"),
            &format!("Product {number} of the house"),
        );
        clients.commands.register_product(product).await.unwrap();
    }
    for number in 0..10_000 {
        let customer = test_support::order::customer(
            &format!("customer-{number}"),
            &format!("Customer {number} Trading"),
        );
        clients.commands.register_customer(customer).await.unwrap();
    }
}

/// Renames customers with one order each, `times` times. Each name changes that order. Returns the
/// number of renames.
async fn burst(clients: &mut Clients, changing: u64, times: u64) -> u64 {
    for number in 0..changing {
        let create =
            test_support::order::create(&format!("o-{number}"), &format!("burst-{number}"));
        clients.commands.create_order(create).await.unwrap();
    }
    for time in 0..times {
        for number in 0..changing {
            let name = format!("Customer {number} Trading {time}");
            let customer = test_support::order::customer(&format!("burst-{number}"), &name);
            clients.commands.register_customer(customer).await.unwrap();
        }
    }
    changing * times
}
