//! Tests of an index that loses documents or tasks, and of two nodes that write to it.

use contract::orders::v1::SearchOrdersRequest;
use e2e::Server;
use test_support::{
    assert_refused, eventually,
    meilisearch::{Losable, Meilisearch},
    order,
    request::{self, search},
    wait_until,
};
use tonic::Code;

use super::{assert_found, assert_recovers, start, wait_for_head};

#[tokio::test]
#[ignore = "needs Meilisearch"]
async fn g7_a_wiped_index_is_filled_again() {
    let mut meilisearch = Meilisearch::start();
    let (_server, mut clients) = start(&meilisearch).await;
    let position = clients.create_many("o", 100).await;
    clients.search("o", position).await.unwrap();
    // No later event would make the node check the index.
    meilisearch.wipe();
    wait_until("the index has all orders", async || {
        let found = clients.search("o", 0).await;
        found.is_ok_and(|found| (found.total_size, found.as_of_position) == (100, position))
    })
    .await;
    clients.assert_verified(&["search"]).await;
}

#[tokio::test]
#[ignore = "needs Meilisearch"]
async fn g7_an_index_that_returned_to_an_older_copy_catches_up() {
    let mut meilisearch = Losable::real();
    let server = Server::start_with_meilisearch(&meilisearch.url(), &meilisearch.key()).await;
    let mut clients = server.clients().await;
    clients.create_many("old", 50).await;
    wait_for_head(&mut clients).await;
    let copy = meilisearch.keep();
    for index in 0..50 {
        let ship = order::ship(&format!("old-{index}"));
        clients.ship_order(ship).await.unwrap();
    }
    clients.create_many("new", 50).await;
    wait_for_head(&mut clients).await;
    meilisearch.put_back(&copy);
    wait_until("the index has the shipped orders", async || {
        let found = clients.search("munster", 0).await;
        found.is_ok_and(|found| found.total_size == 50)
    })
    .await;
    assert_recovers(&mut clients).await;
}

#[tokio::test]
#[ignore = "needs Meilisearch"]
async fn g7_cancelled_and_deleted_tasks_are_sent_again() {
    let meilisearch = Meilisearch::start();
    let (_server, mut clients) = start(&meilisearch).await;
    for round in 0..6 {
        clients.create_many(&format!("r{round}"), 60).await;
        let _ = meilisearch.call("POST", "/tasks/cancel?statuses=enqueued,processing", "");
        let finished = "/tasks?statuses=succeeded,failed,canceled";
        let _ = meilisearch.call("DELETE", finished, "");
    }
    assert_recovers(&mut clients).await;
    assert_found(&mut clients, "r5", 0, 60).await;
}

#[tokio::test]
#[ignore = "needs Meilisearch"]
async fn g7_an_index_that_is_deleted_or_emptied_under_load_is_filled_again() {
    let meilisearch = Meilisearch::start();
    let (_server, mut clients) = start(&meilisearch).await;
    clients.create_many("before", 60).await;
    wait_for_head(&mut clients).await;
    for (round, deleted) in (0..).zip(["/indexes/orders", "/indexes/orders/documents"]) {
        let (code, answer) = meilisearch.call("DELETE", deleted, "");
        assert_eq!(code, 202, "{answer}");
        clients.create_many(&format!("r{round}"), 60).await;
        wait_until("the index has all orders", async || {
            let found = clients.search("r0 0", 0).await;
            let is_found = found.is_ok_and(|found| found.total_size > 0);
            let differences = clients.verify(&["search"]).await;
            is_found && differences.is_ok_and(|differences| differences.is_empty())
        })
        .await;
        // The filter works only with the settings of the index.
        let filtered = SearchOrdersRequest {
            customer_ids: vec!["c-1".into()],
            ..search("before", 0)
        };
        let found = clients.search_orders(filtered).await.unwrap();
        assert!(found.total_size > 0);
    }
}

#[tokio::test]
#[ignore = "needs Meilisearch"]
async fn g7_one_of_two_indexers_stops_and_cannot_rebuild_the_index() {
    let meilisearch = Meilisearch::start();
    let commands = Server::start_for_commands(None).await;
    let mut writing = commands.clients().await;
    writing.create_many("before", 50).await;
    let (url, key) = (meilisearch.url(), meilisearch.key());
    let (mut nodes, mut clients) = (Vec::new(), Vec::new());
    for index in 0..2 {
        let node = Server::start_indexer(&[&commands.url()], &url, &key).await;
        writing.create_many(&format!("n{index}"), 50).await;
        clients.push(node.clients().await);
        nodes.push(node);
    }
    let position = writing.create_many("after", 50).await;
    wait_until("one indexer stops", async || {
        let mut stopped = 0;
        for clients in &mut clients {
            let error = clients.projection("search").await.error;
            stopped += usize::from(error.contains("another process has become the indexer"));
        }
        stopped > 0
    })
    .await;
    for clients in &mut clients {
        // A node answers again once it has compared the index with the log.
        let found = eventually("a search succeeds", async || {
            clients.search("after", position).await.ok()
        })
        .await;
        assert_eq!(found.total_size, 50);
        clients.assert_verified(&["search"]).await;
    }
    let mut refused = 0;
    for clients in &mut clients {
        let rebuilt = clients.rebuild(request::rebuild(&["search"])).await;
        if rebuilt.is_err() {
            assert_refused(rebuilt, Code::FailedPrecondition, "REBUILD_NOT_POSSIBLE");
            refused += 1;
        }
        clients.assert_verified(&["search"]).await;
    }
    assert_eq!(refused, 1);
}
