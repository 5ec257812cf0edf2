//! Tests of a Meilisearch that is down, silent or refuses the key.

use std::time::{Duration, Instant};

use contract::orders::v1::ProjectionState;
use e2e::{Clients, Server};
use test_support::{Proxy, assert_refused, eventually, meilisearch::Meilisearch, wait_until};
use tonic::Code;
use tonic_types::StatusExt as _;

use super::{assert_found, assert_recovers, start};

/// Asserts that a search fails immediately and reports a time to retry.
async fn assert_search_unavailable(clients: &mut Clients) {
    let started = Instant::now();
    let failed = clients.search("tea", 0).await;
    let elapsed = started.elapsed();
    let failed = assert_refused(failed, Code::Unavailable, "SEARCH_UNAVAILABLE");
    let retry = failed.get_details_retry_info().unwrap();
    assert!(retry.retry_delay.is_some());
    // The bound is 1 s plus the delay of a busy machine.
    assert!(elapsed < Duration::from_secs(2), "{elapsed:?}");
}

/// Asserts that every feature works that needs no search engine.
async fn assert_works_without_search(clients: &mut Clients) {
    let position = clients.create("without").await;
    clients.order("without", position).await;
    let listed = clients.search("", position).await.unwrap();
    assert!(listed.total_size > 0);
}

#[tokio::test]
#[ignore = "needs Meilisearch"]
async fn g7_the_index_catches_up_after_meilisearch_was_down() {
    let mut meilisearch = Meilisearch::start();
    let (_server, mut clients) = start(&meilisearch).await;
    let position = clients.create_many("before", 30).await;
    clients.search("before", position).await.unwrap();
    meilisearch.kill();
    assert_search_unavailable(&mut clients).await;
    assert_works_without_search(&mut clients).await;
    let position = clients.create_many("during", 300).await;
    wait_until("the index is failing and behind", async || {
        let search = clients.projection("search").await;
        search.state() == ProjectionState::Failing && search.lag_events > 0
    })
    .await;
    meilisearch.start_again();
    assert_found(&mut clients, "during", position, 300).await;
    clients.assert_verified(&["search"]).await;
}

#[tokio::test]
#[ignore = "needs Meilisearch"]
async fn g7_the_index_catches_up_after_meilisearch_was_killed_during_its_tasks() {
    let mut meilisearch = Meilisearch::start();
    let (_server, mut clients) = start(&meilisearch).await;
    for round in 0..4 {
        clients.create_many(&format!("r{round}"), 200).await;
        meilisearch.kill();
        meilisearch.start_again();
    }
    assert_recovers(&mut clients).await;
    assert_found(&mut clients, "r3", 0, 200).await;
}

#[tokio::test]
#[ignore = "needs Meilisearch"]
async fn a_meilisearch_that_never_answers_delays_no_other_feature() {
    let meilisearch = Meilisearch::start();
    let proxy = Proxy::to(&meilisearch.address()).await;
    let url = format!("http://{}", proxy.address());
    let server = Server::start_with_meilisearch(&url, &meilisearch.key()).await;
    let mut clients = server.clients().await;
    let position = clients.create_many("before", 10).await;
    clients.search("before", position).await.unwrap();
    proxy.mute();
    assert_search_unavailable(&mut clients).await;
    assert_works_without_search(&mut clients).await;
    let position = clients.create_many("during", 50).await;
    proxy.mend();
    assert_found(&mut clients, "during", position, 50).await;
    clients.assert_verified(&["search"]).await;
}

#[tokio::test]
#[ignore = "needs Meilisearch"]
async fn a_wrong_key_is_reported_and_delays_no_other_feature() {
    let meilisearch = Meilisearch::start();
    let server = Server::start_with_meilisearch(&meilisearch.url(), "another-key").await;
    let mut clients = server.clients().await;
    assert_works_without_search(&mut clients).await;
    let failing = eventually("the index is failing", async || {
        let search = clients.projection("search").await;
        (search.state() == ProjectionState::Failing).then_some(search)
    })
    .await;
    assert!(failing.error.contains("API key"), "{}", failing.error);
    assert!(!failing.error.contains("another-key"), "{}", failing.error);
    assert_search_unavailable(&mut clients).await;
}
