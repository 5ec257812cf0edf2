//! Tests of a Meilisearch that loses data or returns to an older copy. Each case runs with the
//! double, and with a real server where one is installed.

use std::{
    sync::{Arc, Mutex},
    thread,
    time::Instant,
};

use e2e::{Clients, Node, Server};
use server::settings::Roles;
use test_support::{
    DEADLINE, Interceptor, assert_error, assert_refused, eventually,
    meilisearch::{Kept, Losable},
    request, wait_until,
};
use tonic::Code;

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
    g8_a_search_after_the_index_was_emptied_is_complete_or_fails,
    g8_a_search_after_the_index_was_deleted_is_complete_or_fails,
    g8_a_search_after_the_server_was_wiped_is_complete_or_fails,
    g8_a_search_after_the_server_returned_to_an_older_copy_finds_the_newer_orders,
    g8_no_node_claims_a_position_that_an_older_copy_of_the_index_does_not_have,
    g8_no_node_claims_a_position_that_a_wiped_index_does_not_have,
    g9_a_rebuild_fails_if_a_wipe_loses_its_swap_and_the_next_one_succeeds,
    g9_a_rebuild_fails_if_an_older_copy_loses_its_swap_and_the_next_one_succeeds,
    g9_a_rebuild_fails_if_its_index_is_deleted_after_the_swap_and_the_next_one_succeeds,
    g7_the_only_indexer_writes_to_an_older_copy_of_its_index,
}

/// Waits until the search index is at the head without an error, and verifies it.
async fn wait_for_recovery(clients: &mut Clients) {
    let head = clients.head().await;
    wait_until("the index is at the head", async || {
        let search = clients.projection("search").await;
        search.error.is_empty() && search.position == head
    })
    .await;
    clients.assert_verified(&["search"]).await;
}

/// Asserts that a search at a position finds this many orders.
async fn assert_found(clients: &mut Clients, query: &str, position: u64, count: u64) {
    let found = clients.search(query, position).await.unwrap();
    assert_eq!(found.total_size, count);
}

/// Checks searches while `lose` removes indexed data. Each answer is complete up to the requested
/// position, or the search fails.
async fn check_searches(mut server: Losable, lose: impl FnOnce(&mut Losable)) {
    let node = Server::start_with_meilisearch(&server.url(), &server.key()).await;
    let mut clients = node.clients().await;
    let position = clients.create_many("order", 100).await;
    assert_found(&mut clients, "order", position, 100).await;
    let epoch = |server: &Losable| {
        let (_, stored) = server.call("GET", "/indexes/orders/documents/checkpoint", "");
        let stored: serde_json::Value = serde_json::from_str(&stored).ok()?;
        stored["epoch"].as_u64()
    };
    let before = epoch(&server);
    lose(&mut server);
    let mut answered = 0;
    wait_until("the index is filled again", async || {
        match clients.search("order", position).await {
            Ok(found) => {
                answered += 1;
                assert_eq!(found.total_size, 100, "answer {answered}");
            }
            Err(error) => assert_error(&error, Code::Unavailable, "SEARCH_UNAVAILABLE"),
        }
        let now = epoch(&server);
        answered > 0 && now.is_some() && now != before
    })
    .await;
    wait_for_recovery(&mut clients).await;
}

async fn g8_a_search_after_the_index_was_emptied_is_complete_or_fails(server: Losable) {
    check_searches(server, |server| {
        let (status, _) = server.call("DELETE", "/indexes/orders/documents", "");
        assert_eq!(status, 202);
    })
    .await;
}

async fn g8_a_search_after_the_index_was_deleted_is_complete_or_fails(server: Losable) {
    check_searches(server, |server| {
        assert_eq!(server.call("DELETE", "/indexes/orders", "").0, 202);
    })
    .await;
}

async fn g8_a_search_after_the_server_was_wiped_is_complete_or_fails(server: Losable) {
    check_searches(server, Losable::wipe).await;
}

async fn g8_a_search_after_the_server_returned_to_an_older_copy_finds_the_newer_orders(
    mut server: Losable,
) {
    let node = Server::start_with_meilisearch(&server.url(), &server.key()).await;
    let mut clients = node.clients().await;
    let position = clients.create_many("old", 50).await;
    assert_found(&mut clients, "old", position, 50).await;
    let copy = server.keep();
    let position = clients.create_many("new", 50).await;
    assert_found(&mut clients, "new", position, 50).await;
    server.put_back(&copy);
    let found = eventually("a search succeeds", async || {
        clients.search("new", position).await.ok()
    })
    .await;
    assert_eq!(found.total_size, 50);
    wait_for_recovery(&mut clients).await;
}

/// Asserts, while `lose` takes the newer half of the orders from the index, that each answer of the
/// indexer and of a query node has every order up to the position that it claims.
async fn check_claimed_positions(mut server: Losable, lose: impl FnOnce(&mut Losable, &Kept)) {
    let node = Server::start_with_meilisearch(&server.url(), &server.key()).await;
    let queries = Server::of(Node {
        roles: Roles {
            query: true,
            ..Roles::default()
        },
        events: vec![node.url()],
        meilisearch: Some(e2e::meilisearch(&server.url(), &server.key())),
        ..Node::default()
    })
    .await;
    let (mut clients, mut remote) = (node.clients().await, queries.clients().await);
    let position = clients.create_many("order-old", 50).await;
    assert_found(&mut clients, "order", position, 50).await;
    let copy = server.keep();
    let position = clients.create_many("order-new", 50).await;
    for clients in [&mut clients, &mut remote] {
        let found = eventually("a search succeeds", async || {
            clients.search("order", position).await.ok()
        })
        .await;
        assert_eq!(found.total_size, 100);
    }
    lose(&mut server, &copy);
    let mut recovered = 0;
    wait_until("both nodes answer from the head", async || {
        recovered = 0;
        for clients in [&mut clients, &mut remote] {
            match clients.search("order", 0).await {
                // The log has one event for each order.
                Ok(found) => {
                    let claimed = found.as_of_position;
                    assert!(
                        found.total_size >= claimed,
                        "{} of {claimed}",
                        found.total_size
                    );
                    recovered += usize::from(claimed == position);
                }
                Err(error) => assert_error(&error, Code::Unavailable, "SEARCH_UNAVAILABLE"),
            }
        }
        recovered == 2
    })
    .await;
    for clients in [&mut clients, &mut remote] {
        assert_found(clients, "order", position, 100).await;
    }
}

async fn g8_no_node_claims_a_position_that_an_older_copy_of_the_index_does_not_have(
    server: Losable,
) {
    check_claimed_positions(server, Losable::put_back).await;
}

async fn g8_no_node_claims_a_position_that_a_wiped_index_does_not_have(server: Losable) {
    check_claimed_positions(server, |server, _| server.wipe()).await;
}

/// The fault of a server that has just accepted a swap.
#[derive(Debug, Clone, Copy)]
enum Loss {
    Wiped,
    OlderCopy,
    Deleted,
}

/// Deletes the index, and returns when the server has done it.
fn delete_index(server: &Losable) {
    let (status, task) = server.call("DELETE", "/indexes/orders", "");
    assert_eq!(status, 202);
    let task: serde_json::Value = serde_json::from_str(&task).unwrap();
    let path = format!("/tasks?uids={}", task["taskUid"]);
    let deadline = Instant::now() + DEADLINE;
    while !server.call("GET", &path, "").1.contains("succeeded") {
        assert!(Instant::now() < deadline, "the index is not deleted");
        thread::yield_now();
    }
}

/// Checks that a rebuild fails if its swap is accepted and then lost, and that the next rebuild
/// succeeds.
async fn check_lost_swap(mut server: Losable, loss: Loss) {
    let interceptor = Interceptor::to(&server.address()).await;
    let key = server.key();
    let node = Server::start_with_meilisearch(&interceptor.url(), &key).await;
    let mut clients = node.clients().await;
    let position = clients.create_many("order", 50).await;
    assert_found(&mut clients, "order", position, 50).await;
    let copy = server.keep();
    let position = clients.create_many("late", 50).await;
    assert_found(&mut clients, "late", position, 50).await;
    let server = Arc::new(Mutex::new(server));
    let losing = Arc::clone(&server);
    interceptor.after("/swap-indexes", move || {
        let mut server = losing.lock().unwrap();
        match loss {
            Loss::Wiped => server.wipe(),
            Loss::OlderCopy => server.put_back(&copy),
            Loss::Deleted => delete_index(&server),
        }
    });
    let search = || request::rebuild(&["search"]);
    let rebuilt = tokio::time::timeout(DEADLINE, clients.rebuild(search())).await;
    let rebuilt = rebuilt.expect("the rebuild ends");
    assert_refused(rebuilt, Code::Unavailable, "SEARCH_UNAVAILABLE");
    wait_for_recovery(&mut clients).await;
    assert_found(&mut clients, "late", position, 50).await;
    clients.rebuild(search()).await.unwrap();
    wait_for_recovery(&mut clients).await;
}

async fn g9_a_rebuild_fails_if_a_wipe_loses_its_swap_and_the_next_one_succeeds(server: Losable) {
    check_lost_swap(server, Loss::Wiped).await;
}

async fn g9_a_rebuild_fails_if_an_older_copy_loses_its_swap_and_the_next_one_succeeds(
    server: Losable,
) {
    check_lost_swap(server, Loss::OlderCopy).await;
}

async fn g9_a_rebuild_fails_if_its_index_is_deleted_after_the_swap_and_the_next_one_succeeds(
    server: Losable,
) {
    check_lost_swap(server, Loss::Deleted).await;
}

async fn g7_the_only_indexer_writes_to_an_older_copy_of_its_index(mut server: Losable) {
    let mut node = Server::start_with_meilisearch(&server.url(), &server.key()).await;
    let mut clients = node.clients().await;
    // Each restart claims the index, as over a long lifetime.
    for round in 0..3 {
        clients.create_many(&format!("round-{round}"), 5).await;
        wait_for_recovery(&mut clients).await;
        node.start_again().await;
        clients = node.clients().await;
    }
    wait_for_recovery(&mut clients).await;
    let copy = server.keep();
    // The node starts on the empty server, so it never sees the loss.
    node.stop().await;
    server.wipe();
    node.start_again().await;
    let mut clients = node.clients().await;
    let position = clients.create_many("since", 5).await;
    wait_for_recovery(&mut clients).await;
    server.put_back(&copy);
    // No write of its own tells the node that the server has the older copy.
    let found = eventually("the index has caught up", async || {
        clients.search("since", position).await.ok()
    })
    .await;
    assert_eq!(found.total_size, 5);
    let position = clients.create_many("late", 5).await;
    assert_found(&mut clients, "late", position, 5).await;
    wait_for_recovery(&mut clients).await;
}
