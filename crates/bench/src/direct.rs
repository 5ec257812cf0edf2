//! A client that calls Meilisearch directly.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use reqwest::Method;
use serde_json::{Value, json};
use test_support::meilisearch::Meilisearch;

/// A client that calls Meilisearch directly.
pub(crate) struct Http {
    client: reqwest::Client,
    url: String,
    key: String,
}

/// The times of filling an index.
pub(crate) struct Filling {
    /// The time from the beginning to the end.
    pub(crate) whole: Duration,
    /// The time in which Meilisearch worked on documents.
    pub(crate) busy: Duration,
}

impl Http {
    pub(crate) fn new(meilisearch: &Meilisearch) -> Self {
        Self {
            client: reqwest::Client::new(),
            url: meilisearch.url(),
            key: meilisearch.key(),
        }
    }

    async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Value {
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
            let task = self.call(Method::GET, &path, None).await;
            match task["status"].as_str() {
                Some("succeeded") => return,
                Some("enqueued" | "processing") => {}
                _ => panic!("{task}"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Returns the documents that the indexer built from the orders.
    pub(crate) async fn documents(&self, index: &str, orders: u64) -> Vec<Value> {
        let body = json!({"filter": "row >= 0", "limit": orders});
        let path = format!("/indexes/{index}/documents/fetch");
        let mut found = self.call(Method::POST, &path, Some(&body)).await;
        match found["results"].take() {
            Value::Array(documents) => documents,
            other => panic!("{other}"),
        }
    }

    /// Deletes an index.
    pub(crate) async fn delete(&self, index: &str) {
        let path = format!("/indexes/{index}");
        let task = self.call(Method::DELETE, &path, None).await;
        self.done(&task).await;
    }

    /// Writes the documents of `index` into an empty index with the same settings and primary key, and
    /// deletes that one.
    pub(crate) async fn post_all(
        &self,
        index: &str,
        documents: &[Value],
        size: usize,
        in_flight: usize,
    ) -> Filling {
        let direct = format!("{index}-{size}");
        let path = format!("/indexes/{index}");
        let described = self.call(Method::GET, &path, None).await;
        let made = json!({"uid": direct, "primaryKey": described["primaryKey"]});
        let task = self.call(Method::POST, "/indexes", Some(&made)).await;
        self.done(&task).await;
        let path = format!("/indexes/{index}/settings");
        let settings = self.call(Method::GET, &path, None).await;
        let path = format!("/indexes/{direct}/settings");
        let task = self.call(Method::PATCH, &path, Some(&settings)).await;
        self.done(&task).await;
        let started = Instant::now();
        let mut tasks = VecDeque::new();
        for chunk in documents.chunks(size) {
            if tasks.len() == in_flight {
                self.done(&tasks.pop_front().unwrap()).await;
            }
            let body = Value::Array(chunk.to_vec());
            let path = format!("/indexes/{direct}/documents");
            tasks.push_back(self.call(Method::POST, &path, Some(&body)).await);
        }
        for task in tasks {
            self.done(&task).await;
        }
        let whole = started.elapsed();
        let busy = self.busy(&direct).await;
        self.delete(&direct).await;
        Filling { whole, busy }
    }

    /// Returns the time in which Meilisearch has worked on documents of an index.
    pub(crate) async fn busy(&self, index: &str) -> Duration {
        let kind = "documentAdditionOrUpdate";
        let path = format!("/batches?indexUids={index}&types={kind}&limit=1000");
        let batches = self.call(Method::GET, &path, None).await;
        let seconds = |batch: &Value| {
            // A batch that has not ended, such as that of a checkpoint, has no duration yet.
            let duration = batch["duration"].as_str()?;
            let seconds = duration.trim_start_matches("PT").trim_end_matches('S');
            Some(seconds.parse::<f64>().unwrap())
        };
        let batches = batches["results"].as_array().unwrap();
        Duration::from_secs_f64(batches.iter().filter_map(seconds).sum())
    }

    /// Searches as orderlog does by default, for these fields of the hits.
    pub(crate) async fn search(&self, index: &str, query: &str, fields: &[&str]) {
        let body = json!({
            "q": query, "limit": 51, "matchingStrategy": "all", "attributesToRetrieve": fields,
        });
        let path = format!("/indexes/{index}/search");
        let found = self.call(Method::POST, &path, Some(&body)).await;
        let hits = found["hits"].as_array();
        assert!(hits.is_some_and(|hits| !hits.is_empty()), "{found}");
    }
}
