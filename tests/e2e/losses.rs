//! Tests of a Meilisearch that loses data or returns to an older copy. Each case runs with the
//! double, and with a real server where one is installed.

use std::sync::{Arc, Mutex};

use contract::orders::v1::*;
use e2e::{Clients, Server};
use test_support::{DEADLINE, Interceptor, eventually, meilisearch::Losable, order, reason};
use tonic::Status;

/// Turns each case into a test with a real server and one with the double.
macro_rules! cases {
    ($($case:ident,)*) => {
        mod real_meilisearch {
            $(
                #[tokio::test]
                #[ignore = "needs Meilisearch"]
                async fn $case() {
                    super::$case(super::Losable::real()).await;
                }
            )*
        }
        mod double {
            $(
                #[tokio::test]
                async fn $case() {
                    super::$case(super::Losable::double()).await;
                }
            )*
        }
    };
}

cases! {
    g8_a_search_does_not_answer_from_an_index_that_was_emptied,
    g8_a_search_does_not_answer_from_an_index_that_was_deleted,
    g8_a_search_does_not_answer_from_a_server_that_was_wiped,
    g8_a_search_does_not_answer_from_a_server_that_was_put_back,
    g9_a_rebuild_ends_whose_swap_was_lost_with_a_wipe,
    g9_a_rebuild_ends_whose_swap_was_lost_with_an_older_copy,
    g9_a_rebuild_ends_whose_index_was_deleted_after_the_swap,
    g7_the_only_indexer_goes_on_with_an_older_copy,
}

fn with_words(query: &str, min_position: u64) -> SearchOrdersRequest {
    SearchOrdersRequest {
        query: query.into(),
        min_position,
        max_wait: Some(prost_types::Duration {
            seconds: 30,
            nanos: 0,
        }),
        page_size: 500,
        ..SearchOrdersRequest::default()
    }
}

async fn search(
    clients: &mut Clients,
    query: &str,
    min_position: u64,
) -> Result<SearchOrdersResponse, Status> {
    let request = with_words(query, min_position);
    let found = clients.queries.search_orders(request).await?;
    Ok(found.into_inner())
}

/// Creates `{name}-0`, `{name}-1`, ... and returns the newest position.
async fn create(clients: &mut Clients, name: &str, count: u64) -> u64 {
    for index in 0..count {
        let create = order::create(&format!("{name}-{index}"), "ann");
        clients.commands.create_order(create).await.unwrap();
    }
    clients.head().await
}

async fn rebuild(clients: &mut Clients) -> Result<(), Status> {
    let request = RebuildRequest {
        projections: vec!["search".into()],
        rollback: false,
    };
    let mut steps = clients.projections.rebuild(request).await?.into_inner();
    while steps.message().await?.is_some() {}
    Ok(())
}

/// Waits until the search index is at the head without an error, and verifies it.
async fn recovers(clients: &mut Clients) {
    let head = clients.head().await;
    eventually("it has recovered", async || {
        let status = clients.projections.get_status(GetStatusRequest {}).await;
        let search = status.unwrap().into_inner().projections.remove(1);
        (search.error.is_empty() && search.position == head).then_some(())
    })
    .await;
    let request = VerifyRequest {
        parts: vec!["search".into()],
    };
    let found = clients.projections.verify(request).await.unwrap();
    let mut found = found.into_inner();
    while let Some(response) = found.message().await.unwrap() {
        assert_eq!(response.differences, []);
    }
}

/// Checks searches while `lose` removes indexed data. Each answer is complete up to the requested
/// position, or the search fails.
async fn loses(mut server: Losable, lose: impl FnOnce(&mut Losable)) {
    let node = Server::start_with_meilisearch(&server.url(), &server.key()).await;
    let mut clients = node.clients().await;
    let position = create(&mut clients, "order", 100).await;
    let found = search(&mut clients, "order", position).await.unwrap();
    assert_eq!(found.total_size, 100);
    let epoch = |server: &Losable| {
        let (_, stored) = server.call("GET", "/indexes/orders/documents/checkpoint", "");
        let stored: serde_json::Value = serde_json::from_str(&stored).ok()?;
        stored["epoch"].as_u64()
    };
    let before = epoch(&server);
    lose(&mut server);
    let mut answered = 0;
    eventually("the index is filled again", async || {
        match search(&mut clients, "order", position).await {
            Ok(found) => {
                answered += 1;
                let complete = (found.total_size, found.as_of_position >= position);
                assert_eq!(complete, (100, true), "answer {answered}");
            }
            Err(error) => assert_eq!(reason(&error), "SEARCH_UNAVAILABLE"),
        }
        let now = epoch(&server);
        (answered > 0 && now.is_some() && now != before).then_some(())
    })
    .await;
    recovers(&mut clients).await;
}

async fn g8_a_search_does_not_answer_from_an_index_that_was_emptied(server: Losable) {
    loses(server, |server| {
        let (status, _) = server.call("DELETE", "/indexes/orders/documents", "");
        assert_eq!(status, 202);
    })
    .await;
}

async fn g8_a_search_does_not_answer_from_an_index_that_was_deleted(server: Losable) {
    loses(server, |server| {
        assert_eq!(server.call("DELETE", "/indexes/orders", "").0, 202);
    })
    .await;
}

async fn g8_a_search_does_not_answer_from_a_server_that_was_wiped(server: Losable) {
    loses(server, Losable::wipe).await;
}

async fn g8_a_search_does_not_answer_from_a_server_that_was_put_back(mut server: Losable) {
    let node = Server::start_with_meilisearch(&server.url(), &server.key()).await;
    let mut clients = node.clients().await;
    let position = create(&mut clients, "old", 50).await;
    search(&mut clients, "old", position).await.unwrap();
    let kept = server.keep();
    let position = create(&mut clients, "new", 50).await;
    search(&mut clients, "new", position).await.unwrap();
    server.put_back(&kept);
    let found = eventually("it answers", async || {
        search(&mut clients, "new", position).await.ok()
    })
    .await;
    assert_eq!(found.total_size, 50);
    recovers(&mut clients).await;
}

/// The fault of a server that has just accepted a swap.
#[derive(Debug, Clone, Copy)]
enum Loss {
    Wiped,
    OlderCopy,
    Deleted,
}

/// Checks that a rebuild fails if its swap is accepted and then lost, and that the next rebuild
/// succeeds.
async fn swap_is_lost(mut server: Losable, loss: Loss) {
    let interceptor = Interceptor::to(&server.address()).await;
    let key = server.key();
    let node = Server::start_with_meilisearch(&interceptor.url(), &key).await;
    let mut clients = node.clients().await;
    let position = create(&mut clients, "order", 50).await;
    search(&mut clients, "order", position).await.unwrap();
    let kept = server.keep();
    let position = create(&mut clients, "late", 50).await;
    search(&mut clients, "late", position).await.unwrap();
    let server = Arc::new(Mutex::new(server));
    let losing = Arc::clone(&server);
    interceptor.after("/swap-indexes", move || {
        let mut server = losing.lock().unwrap();
        match loss {
            Loss::Wiped => server.wipe(),
            Loss::OlderCopy => server.put_back(&kept),
            Loss::Deleted => assert_eq!(server.call("DELETE", "/indexes/orders", "").0, 202),
        }
    });
    let rebuilt = tokio::time::timeout(DEADLINE, rebuild(&mut clients)).await;
    let error = rebuilt.expect("it ends").unwrap_err();
    assert_eq!(reason(&error), "SEARCH_UNAVAILABLE", "{error:?}");
    recovers(&mut clients).await;
    let found = search(&mut clients, "late", position).await.unwrap();
    assert_eq!(found.total_size, 50);
    rebuild(&mut clients).await.unwrap();
    recovers(&mut clients).await;
}

async fn g9_a_rebuild_ends_whose_swap_was_lost_with_a_wipe(server: Losable) {
    swap_is_lost(server, Loss::Wiped).await;
}

async fn g9_a_rebuild_ends_whose_swap_was_lost_with_an_older_copy(server: Losable) {
    swap_is_lost(server, Loss::OlderCopy).await;
}

async fn g9_a_rebuild_ends_whose_index_was_deleted_after_the_swap(server: Losable) {
    swap_is_lost(server, Loss::Deleted).await;
}

async fn g7_the_only_indexer_goes_on_with_an_older_copy(mut server: Losable) {
    let mut node = Server::start_with_meilisearch(&server.url(), &server.key()).await;
    let mut clients = node.clients().await;
    // Each restart claims the index, as over a long lifetime.
    for _ in 0..3 {
        create(&mut clients, &uuid::Uuid::now_v7().to_string(), 5).await;
        recovers(&mut clients).await;
        node.start_again().await;
        clients = node.clients().await;
    }
    recovers(&mut clients).await;
    let kept = server.keep();
    // The node starts on the empty server, so it never sees the loss.
    node.stop().await;
    server.wipe();
    node.start_again().await;
    let mut clients = node.clients().await;
    let position = create(&mut clients, "since", 5).await;
    recovers(&mut clients).await;
    server.put_back(&kept);
    // No write of its own tells the node that the server has the older copy.
    let found = eventually("it has caught up", async || {
        search(&mut clients, "since", position).await.ok()
    })
    .await;
    assert_eq!(found.total_size, 5);
    let position = create(&mut clients, "late", 5).await;
    let found = search(&mut clients, "late", position).await.unwrap();
    assert_eq!(found.total_size, 5);
    recovers(&mut clients).await;
}
