//! Tests of text search with a real Meilisearch, including its failures.

mod answers;
mod deployments;
mod losses;
mod outages;
mod rebuild;

use e2e::{Clients, Server};
use test_support::{meilisearch::Meilisearch, wait_until};

/// Starts a node with a Meilisearch, and connects to it.
async fn start(meilisearch: &Meilisearch) -> (Server, Clients) {
    let url = meilisearch.url();
    let server = Server::start_with_meilisearch(&url, &meilisearch.key()).await;
    let clients = server.clients().await;
    (server, clients)
}

/// Waits until the index is at the head without an error.
async fn wait_for_head(clients: &mut Clients) {
    wait_until("the index is at the head", async || {
        let search = clients.projection("search").await;
        search.lag_events == 0 && search.error.is_empty()
    })
    .await;
}

/// Waits until the index is at the head without an error, and asserts that it has no difference.
async fn assert_recovers(clients: &mut Clients) {
    wait_for_head(clients).await;
    clients.assert_verified(&["search"]).await;
}

/// Asserts that a search at a position finds this many orders.
async fn assert_found(clients: &mut Clients, query: &str, position: u64, count: u64) {
    let found = clients.search(query, position).await.unwrap();
    assert_eq!(found.total_size, count);
}
