//! Tests of a Meilisearch with indexes of several deployments or applications (guarantee G12).

use contract::orders::v1::{ProjectionState, SearchOrdersRequest};
use e2e::{Clients, Node, Server};
use server::settings::{self, Roles};
use test_support::{
    assert_refused, eventually,
    meilisearch::Meilisearch,
    request::{rebuild, search},
    wait_until,
};
use tonic::Code;

use super::{assert_found, assert_recovers, start};

/// Starts a node whose index in Meilisearch has this name. With `events`, it follows the events of
/// that node and does not write the index.
async fn start_with_index(meilisearch: &Meilisearch, index: &str, events: Option<&str>) -> Server {
    let roles = match events {
        None => Roles::ALL,
        Some(_) => Roles {
            query: true,
            ..Roles::default()
        },
    };
    Server::of(Node {
        roles,
        events: events.into_iter().map(str::to_owned).collect(),
        meilisearch: Some(settings::Meilisearch {
            index: index.to_owned(),
            ..e2e::meilisearch(&meilisearch.url(), &meilisearch.key())
        }),
        ..Node::default()
    })
    .await
}

/// Asserts that the node names the owner of the index, answers no text search and does not rebuild
/// the index, and that everything else works.
async fn assert_index_is_refused(clients: &mut Clients, name: &str, owner: &str) {
    let position = clients.head().await;
    let failing = eventually("the index is failing", async || {
        let search = clients.projection("search").await;
        (search.state() == ProjectionState::Failing).then_some(search)
    })
    .await;
    let reason =
        format!("the index orders in Meilisearch belongs to {owner}: set meilisearch-index");
    assert!(failing.error.starts_with(&reason), "{}", failing.error);
    clients.order(&format!("{name}-0"), position).await;
    let listed = clients.search("", position).await.unwrap();
    assert_eq!(listed.total_size, position);
    // The documents are there, so that the second search waits for nothing but the index.
    let at_once = search(name, 0);
    let waits = SearchOrdersRequest {
        max_wait: Some(prost_types::Duration {
            seconds: 0,
            nanos: 1,
        }),
        ..search(name, position)
    };
    for request in [at_once, waits] {
        let refused = clients.search_orders(request).await;
        assert_refused(refused, Code::Unavailable, "SEARCH_UNAVAILABLE");
    }
}

/// Returns the creation time of the index, and the owner and the epoch of its claim.
fn claim(meilisearch: &Meilisearch, index: &str) -> [serde_json::Value; 3] {
    let get = |path: &str| {
        let (_, answer) = meilisearch.call("GET", path, "");
        serde_json::from_str::<serde_json::Value>(&answer).unwrap()
    };
    let created = get(&format!("/indexes/{index}"))["createdAt"].clone();
    let stored = get(&format!("/indexes/{index}/documents/checkpoint"));
    [created, stored["owner"].clone(), stored["epoch"].clone()]
}

#[tokio::test]
#[ignore = "needs Meilisearch"]
async fn g12_second_deployment_is_refused_the_index_of_the_first_and_uses_another_one() {
    let meilisearch = Meilisearch::start();
    let (mut node, mut clients) = start(&meilisearch).await;
    let position = clients.create_many("first", 20).await;
    assert_found(&mut clients, "first", position, 20).await;
    let owner = format!("log {}", clients.status().await.log_id);
    let before = claim(&meilisearch, "orders");

    let other = start_with_index(&meilisearch, "orders", None).await;
    let queries = start_with_index(&meilisearch, "orders", Some(&other.url())).await;
    let mut others = other.clients().await;
    others.create_many("second", 5).await;
    assert_index_is_refused(&mut others, "second", &owner).await;
    let rebuilt = others.rebuild(rebuild(&["search"])).await;
    assert_refused(rebuilt, Code::Unavailable, "SEARCH_UNAVAILABLE");
    let mut remote = queries.clients().await;
    wait_until("the query node has the orders", async || {
        let listed = remote.search("", 0).await.unwrap();
        listed.total_size == 5
    })
    .await;
    let failing = eventually("the index is failing", async || {
        let search = remote.projection("search").await;
        (!search.error.is_empty()).then_some(search)
    })
    .await;
    assert!(failing.error.contains(&owner), "{}", failing.error);
    let refused = remote.search("first", 0).await;
    assert_refused(refused, Code::Unavailable, "SEARCH_UNAVAILABLE");

    let third = start_with_index(&meilisearch, "shop", None).await;
    let mut thirds = third.clients().await;
    let newest = thirds.create_many("third", 7).await;
    assert_found(&mut thirds, "third", newest, 7).await;
    assert_found(&mut thirds, "first", newest, 0).await;
    thirds.rebuild(rebuild(&["search"])).await.unwrap();
    assert_recovers(&mut thirds).await;

    assert_eq!(claim(&meilisearch, "orders"), before);
    assert_found(&mut clients, "first", position, 20).await;
    assert_found(&mut clients, "second", position, 0).await;
    assert_recovers(&mut clients).await;

    // After the operator has deleted the index, the second deployment takes the name by itself.
    node.stop().await;
    assert_eq!(meilisearch.call("DELETE", "/indexes/orders", "").0, 202);
    let position = others.head().await;
    let found = eventually("the second deployment has an index", async || {
        others.search("second", position).await.ok()
    })
    .await;
    assert_eq!(found.total_size, 5);
    assert_recovers(&mut others).await;
}

#[tokio::test]
#[ignore = "needs Meilisearch"]
async fn g12_one_of_two_deployments_that_start_at_the_same_moment_gets_the_index() {
    let meilisearch = Meilisearch::start();
    let names = ["one", "two"];
    let (one, two) = tokio::join!(start(&meilisearch), start(&meilisearch));
    let mut nodes = [one.1, two.1];
    for (clients, name) in nodes.iter_mut().zip(names) {
        clients.create_many(name, 10).await;
    }
    let mut owner = 0;
    wait_until(
        "one deployment is refused and the other one is not",
        async || {
            let mut states = Vec::new();
            for clients in &mut nodes {
                let search = clients.projection("search").await;
                states.push((search.error.is_empty(), search.position));
            }
            owner = usize::from(states[1] == (true, 10));
            states.contains(&(true, 10)) && states.contains(&(false, 0))
        },
    )
    .await;
    let refused = 1 - owner;
    let log_id = nodes[owner].status().await.log_id;
    let reason = format!("log {log_id}");
    assert_index_is_refused(&mut nodes[refused], names[refused], &reason).await;
    assert_found(&mut nodes[owner], names[owner], 10, 10).await;
    assert_recovers(&mut nodes[owner]).await;
}

#[tokio::test]
#[ignore = "needs Meilisearch"]
async fn g12_index_of_another_application_is_refused_and_stays_as_it_is() {
    let meilisearch = Meilisearch::start();
    let content = || {
        let index = meilisearch.call("GET", "/indexes/orders", "").1;
        let documents = meilisearch.call("GET", "/indexes/orders/documents", "").1;
        let settings = meilisearch.call("GET", "/indexes/orders/settings", "").1;
        [index, documents, settings]
    };
    let book = r#"[{"id": 1, "title": "Moby Dick"}]"#;
    let path = "/indexes/orders/documents?primaryKey=id";
    assert_eq!(meilisearch.call("POST", path, book).0, 202);
    wait_until("the index has a document", async || {
        content()[1].contains("\"total\":1")
    })
    .await;
    let before = content();
    let (mut server, mut clients) = start(&meilisearch).await;
    clients.create_many("o", 5).await;
    assert_index_is_refused(&mut clients, "o", "another application").await;
    server.start_again().await;
    let mut clients = server.clients().await;
    assert_index_is_refused(&mut clients, "o", "another application").await;
    assert_eq!(content(), before);
}

#[tokio::test]
#[ignore = "needs Meilisearch"]
async fn g12_page_token_of_a_text_search_is_of_one_engine_and_of_a_list_of_none() {
    let meilisearch = Meilisearch::start();
    let (node, mut clients) = start(&meilisearch).await;
    let position = clients.create_many("o", 10).await;
    let same = start_with_index(&meilisearch, "orders", Some(&node.url())).await;
    let embedded = Server::start_for_queries(&[&node.url()]).await;
    let (mut same, mut embedded) = (same.clients().await, embedded.clients().await);
    let page = |query: &str, page_token: String| SearchOrdersRequest {
        page_size: 4,
        page_token,
        ..search(query, position)
    };
    for query in ["o", ""] {
        let first = clients.search_orders(page(query, String::new())).await;
        let token = first.unwrap().next_page_token;
        let next = page(query, token.clone());
        for clients in [&mut clients, &mut same] {
            let found = clients.search_orders(next.clone()).await.unwrap();
            assert_eq!(found.orders.len(), 4, "{query:?}");
        }
        let found = embedded.search_orders(next).await;
        if query.is_empty() {
            assert_eq!(found.unwrap().orders.len(), 4);
        } else {
            assert_refused(found, Code::InvalidArgument, "INVALID_PAGE_TOKEN");
            let first = embedded.search_orders(page(query, String::new())).await;
            let back = page(query, first.unwrap().next_page_token);
            let refused = clients.search_orders(back).await;
            assert_refused(refused, Code::InvalidArgument, "INVALID_PAGE_TOKEN");
        }
    }
}
