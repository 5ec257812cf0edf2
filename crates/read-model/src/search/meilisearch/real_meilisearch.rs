//! Runs the suite of every engine against a real Meilisearch, and tests of indexes that several logs
//! or applications want.

use futures_util::future::join_all;
use meilisearch_sdk::request::{HttpClient as _, Method};
use serde_json::{Value, json};
use test_support::{eventually, meilisearch::shared};
use uuid::Uuid;

use super::{MeilisearchIndex, index::ServerClient};
use crate::{
    Row,
    generations::NextGeneration,
    search::{
        Engine as _, Error, IndexCheckpoint, LiveIndex,
        contract_suite::{
            Fixture, assert_differences, checkpoint, contract_suite, document, write,
        },
    },
};

const GET: Method<(), Value> = Method::Get { query: () };

fn post(body: Value) -> Method<(), Value> {
    Method::Post { query: (), body }
}

struct Server {
    url: String,
    key: Option<String>,
    name: String,
}

impl Server {
    fn new() -> Self {
        let (url, key) = shared();
        let name = Uuid::now_v7().to_string();
        Self { url, key, name }
    }

    /// Opens the index whose name has this suffix.
    fn index(&self, suffix: &str) -> MeilisearchIndex {
        let name = format!("{}{suffix}", self.name);
        MeilisearchIndex::new(&self.url, self.key.as_deref(), &name).unwrap()
    }

    /// Calls the server and returns the answer, which must have this status; else returns null.
    async fn call(&self, method: Method<(), Value>, path: &str, status: u16) -> Value {
        let ServerClient { url, writes, .. } = self.index("").server;
        let url = format!("{url}/indexes{path}");
        let answer = writes.request(&url, method, status).await;
        answer.unwrap_or(Value::Null)
    }

    /// Returns the description and the documents of an index.
    async fn content(&self, suffix: &str) -> (Value, Value) {
        let path = format!("/{}{suffix}", self.name);
        let documents = format!("{path}/documents");
        (
            self.call(GET, &path, 200).await,
            self.call(GET, &documents, 200).await,
        )
    }
}

#[async_trait::async_trait]
impl Fixture for Server {
    async fn open(&self) -> Box<dyn LiveIndex> {
        let index = self.index("");
        index.claim("log").await.unwrap();
        Box::new(index)
    }
}

contract_suite!(Server::new(), ignore = "needs Meilisearch");

#[tokio::test]
#[ignore = "needs Meilisearch"]
async fn the_page_of_differences_says_what_is_found() {
    assert_differences(Server::new, |it| it.meilisearch).await;
}

/// Asserts that a call is refused because the index belongs to this owner.
fn assert_foreign<T>(result: Result<T, Error>, index: &str, expected: &str) {
    match result {
        Err(Error::Foreign { index: name, owner }) => {
            assert_eq!((&*name, &*owner), (index, expected));
        }
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("the index of {expected} is taken"),
    }
}

/// Asserts that no call of a log other than `owner` gets through to the index.
async fn assert_untouchable(server: &Server, owner: &str) {
    let before = server.content("").await;
    let index = server.index("");
    assert_foreign(index.claim("other").await, &server.name, owner);
    assert_foreign(index.checkpoint("other").await, &server.name, owner);
    assert_foreign(index.clear("other").await, &server.name, owner);
    for next in [NextGeneration::New, NextGeneration::Previous] {
        assert_foreign(index.open_next(next).await, &server.name, owner);
    }
    let compared = index.compare(Row(1), Row(9), Vec::new()).await;
    assert_foreign(compared, &server.name, owner);
    index.discard_next().await.unwrap();
    assert_eq!(server.content("").await, before);
}

#[tokio::test]
#[ignore = "needs Meilisearch"]
async fn g12_index_of_another_log_is_refused_and_stays_as_it_is() {
    let server = Server::new();
    let index = server.open().await;
    // The claim alone protects the index, before its first document.
    assert_untouchable(&server, "log log").await;
    write(&*index, vec![document(1, |_| {})], checkpoint(1)).await;
    assert_untouchable(&server, "log log").await;
    assert_eq!(index.checkpoint("log").await.unwrap(), Some(checkpoint(1)));
}

#[tokio::test]
#[ignore = "needs Meilisearch"]
async fn g12_index_of_another_application_is_refused_and_stays_as_it_is() {
    let server = Server::new();
    let new = json!({"uid": server.name, "primaryKey": "id"});
    server.call(post(new), "", 202).await;
    eventually("the index exists", async || {
        let (index, _) = server.content("").await;
        (!index["createdAt"].is_null()).then_some(())
    })
    .await;
    assert_untouchable(&server, "another application").await;
    let documents = format!("/{}/documents", server.name);
    let book = json!([{"id": "checkpoint", "title": "Moby Dick"}]);
    server.call(post(book), &documents, 202).await;
    eventually("the index has a document", async || {
        let (_, documents) = server.content("").await;
        (documents["total"] == 1).then_some(())
    })
    .await;
    assert_untouchable(&server, "another application").await;
}

#[tokio::test]
#[ignore = "needs Meilisearch"]
async fn g12_next_generation_of_another_log_is_refused_and_stays_as_it_is() {
    let server = Server::new();
    let theirs = server.index("-beside");
    theirs.claim("other").await.unwrap();
    let of_other = IndexCheckpoint {
        log_id: "other".into(),
        ..checkpoint(1)
    };
    write(&theirs, vec![document(1, |_| {})], of_other).await;
    let before = server.content("-beside").await;

    let index = server.open().await;
    let name = format!("{}-beside", server.name);
    for next in [NextGeneration::New, NextGeneration::Previous] {
        assert_foreign(index.open_next(next).await, &name, "log other");
    }
    index.discard_next().await.unwrap();
    write(&*index, vec![document(1, |_| {})], checkpoint(1)).await;
    assert_eq!(server.content("-beside").await, before);
}

#[tokio::test]
#[ignore = "needs Meilisearch"]
async fn g12_one_of_two_logs_that_claim_an_index_at_the_same_moment_gets_it() {
    for _ in 0..5 {
        let server = Server::new();
        let logs = ["one", "other"];
        let claims = logs.map(|log_id| {
            let index = server.index("");
            async move { (log_id, index.claim(log_id).await) }
        });
        let claims = join_all(claims).await;
        let owners: Vec<_> = claims.iter().filter(|(_, it)| it.is_ok()).collect();
        let [(owner, _)] = owners[..] else {
            panic!("{claims:?}");
        };
        let owner = format!("log {owner}");
        for (_, claim) in claims {
            if claim.is_err() {
                assert_foreign(claim, &server.name, &owner);
            }
        }
    }
}

#[tokio::test]
#[ignore = "needs Meilisearch"]
async fn g12_writer_that_lost_its_index_to_another_log_changes_nothing_there() {
    let server = Server::new();
    let index = server.open().await;
    write(&*index, vec![document(1, |_| {})], checkpoint(1)).await;
    // The index is deleted and the other log takes the name, before the writer notices.
    let theirs = server.index("");
    theirs.checkpoint("log").await.unwrap();
    theirs.delete().await.unwrap();
    theirs.claim("other").await.unwrap();
    let before = server.content("").await;
    let written = index.write(vec![document(2, |_| {})], checkpoint(2)).await;
    match written.unwrap().await {
        // `Refused` would park the order.
        Err(Error::Failed(_)) => {}
        written => panic!("{written:?}"),
    }
    assert_eq!(server.content("").await, before);
    assert_foreign(index.claim("log").await, &server.name, "log other");
}
