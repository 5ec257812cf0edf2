//! Compares filling and searching a Meilisearch through orderlog with direct calls to Meilisearch.

use std::time::{Duration, Instant};

use contract::orders::v1::SearchOrdersRequest;
use e2e::Clients;
use serde_json::{Value, json};
use test_support::meilisearch::Meilisearch;

use crate::{
    figures::{median, tell_latency},
    fill,
    program::Program,
};

/// Number of searches through orderlog, and of direct ones.
const SEARCHES: usize = 200;

/// Each pair holds the documents of one task and the number of tasks in flight, for direct calls to
/// Meilisearch.
const TASKS: [(usize, usize); 2] = [(10_000, 4), (50_000, 1)];

/// The number of orders in the burst, and how often each of them changes.
const BURST: (u64, u64) = (1000, 100);

pub(crate) async fn run(orders: u64) {
    let mut meilisearch = Meilisearch::start();
    let mut program = Program::start();
    let mut clients = program.process().clients().await;
    names(&mut clients).await;
    fill::orders(&clients.commands, 0, orders).await;
    fill::projected(program.process()).await;
    drop(clients);
    println!("{orders} orders into an empty Meilisearch");

    let started = program
        .start_with(&meilisearch.url(), &meilisearch.key())
        .await;
    fill::projected(program.process()).await;
    let filled = started.elapsed();
    println!("  by the indexer: {:.0} a second", rate(orders, filled));
    let http = Http::new(&meilisearch);
    let documents = http.documents(orders).await;
    let mut best = Duration::MAX;
    for (size, under_way) in TASKS {
        let posted = http.post_all(&documents, size, under_way).await;
        println!(
            "  posted straight, {size} a task, {under_way} under way: {:.0} a second",
            rate(orders, posted)
        );
        best = best.min(posted);
    }
    println!("  ratio: {:.2}", best.as_secs_f64() / filled.as_secs_f64());
    http.delete("direct").await;

    let mut clients = program.process().clients().await;
    let (mut ours, mut straight) = (Vec::new(), Vec::new());
    for index in 0..SEARCHES {
        let query = format!("customer {} trading", index % 100);
        let started = Instant::now();
        let request = SearchOrdersRequest {
            query: query.clone(),
            ..SearchOrdersRequest::default()
        };
        let found = clients.queries.search_orders(request).await.unwrap();
        assert!(!found.into_inner().orders.is_empty());
        ours.push(started.elapsed().as_secs_f64() * 1000.0);
        let started = Instant::now();
        http.search(&query).await;
        straight.push(started.elapsed().as_secs_f64() * 1000.0);
    }
    tell_latency("a search", &ours);
    tell_latency("the same straight to Meilisearch", &straight);
    println!("  ratio: {:.2}", median(&ours) / median(&straight));

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

fn rate(orders: u64, took: Duration) -> f64 {
    orders as f64 / took.as_secs_f64()
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

/// A client that calls Meilisearch directly.
struct Http {
    client: reqwest::Client,
    url: String,
    key: String,
}

impl Http {
    fn new(meilisearch: &Meilisearch) -> Self {
        Self {
            client: reqwest::Client::new(),
            url: meilisearch.url(),
            key: meilisearch.key(),
        }
    }

    async fn call(&self, method: reqwest::Method, path: &str, body: Option<&Value>) -> Value {
        let url = format!("{}{path}", self.url);
        let mut request = self.client.request(method, url).bearer_auth(&self.key);
        if let Some(body) = body {
            request = request
                .header("content-type", "application/json")
                .body(body.to_string());
        }
        let answer = request.send().await.unwrap().bytes().await.unwrap();
        serde_json::from_slice(&answer).unwrap()
    }

    async fn done(&self, task: &Value) {
        let path = format!("/tasks/{}", task["taskUid"]);
        loop {
            let task = self.call(reqwest::Method::GET, &path, None).await;
            match task["status"].as_str() {
                Some("succeeded") => return,
                Some("enqueued" | "processing") => {}
                _ => panic!("{task}"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Returns the documents that the indexer built from the orders.
    async fn documents(&self, orders: u64) -> Vec<Value> {
        let body = json!({"filter": "row >= 0", "limit": orders});
        let path = "/indexes/orders/documents/fetch";
        let mut found = self.call(reqwest::Method::POST, path, Some(&body)).await;
        match found["results"].take() {
            Value::Array(documents) => documents,
            other => panic!("{other}"),
        }
    }

    async fn delete(&self, index: &str) {
        let path = format!("/indexes/{index}");
        let task = self.call(reqwest::Method::DELETE, &path, None).await;
        self.done(&task).await;
    }

    /// Writes the documents into an empty index with the same settings, and returns the duration.
    async fn post_all(&self, documents: &[Value], size: usize, under_way: usize) -> Duration {
        let (get, post, patch) = (
            reqwest::Method::GET,
            reqwest::Method::POST,
            reqwest::Method::PATCH,
        );
        let settings = self.call(get, "/indexes/orders/settings", None).await;
        let made = json!({"uid": "direct", "primaryKey": "id"});
        let _ = self.call(post.clone(), "/indexes", Some(&made)).await;
        self.delete("direct").await;
        let task = self.call(post.clone(), "/indexes", Some(&made)).await;
        self.done(&task).await;
        let path = "/indexes/direct/settings";
        let task = self.call(patch, path, Some(&settings)).await;
        self.done(&task).await;
        let started = Instant::now();
        let mut tasks = std::collections::VecDeque::new();
        for chunk in documents.chunks(size) {
            if tasks.len() == under_way {
                self.done(&tasks.pop_front().unwrap()).await;
            }
            let body = Value::Array(chunk.to_vec());
            let path = "/indexes/direct/documents";
            tasks.push_back(self.call(post.clone(), path, Some(&body)).await);
        }
        for task in tasks {
            self.done(&task).await;
        }
        started.elapsed()
    }

    async fn search(&self, query: &str) {
        let body = json!({
            "q": query, "limit": 51, "matchingStrategy": "all", "attributesToRetrieve": ["id"],
        });
        let path = "/indexes/orders/search";
        let found = self.call(reqwest::Method::POST, path, Some(&body)).await;
        assert!(
            found["hits"]
                .as_array()
                .is_some_and(|hits| !hits.is_empty()),
            "{found}"
        );
    }
}
