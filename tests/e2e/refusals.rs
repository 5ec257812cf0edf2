//! Tests of a Meilisearch that refuses writes: an outage of search that names its reason and parks
//! nobody, or one bad document, which alone is parked.

use contract::orders::v1::{ListParkedRequest, ProjectionState, SearchOrdersRequest};
use e2e::{Clients, Server};
use test_support::{
    Refusal, eventually,
    meilisearch::{Losable, Meilisearch},
    wait_until,
};

/// Refusals that meet every document, with the HTTP status of those of calls.
const OF_EVERY_DOCUMENT: [Refusal; 9] = [
    Refusal::Call(403, "invalid_api_key"),
    Refusal::Call(413, "payload_too_large"),
    Refusal::Call(422, "no_space_left_on_device"),
    Refusal::Call(429, "too_many_search_requests"),
    Refusal::Call(500, "internal"),
    Refusal::Task("no_space_left_on_device"),
    Refusal::Task("database_size_limit_reached"),
    Refusal::Task("index_primary_key_already_exists"),
    Refusal::Task("internal"),
];

fn code(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::Call(_, code)
        | Refusal::Settings(code)
        | Refusal::Task(code)
        | Refusal::Order(code, _) => code,
        Refusal::Facets => "",
    }
}

/// Waits until the status of the search is failing for a reason, and asserts that it parks nobody.
async fn assert_outage(clients: &mut Clients, reason: &str) {
    let search = eventually("the search is failing", async || {
        let search = clients.projection("search").await;
        let is_failing = search.state() == ProjectionState::Failing;
        (is_failing && search.error.contains(reason)).then_some(search)
    })
    .await;
    assert_eq!(search.parked_count, 0, "{reason}");
}

/// Waits until a search at a position finds an order.
async fn assert_found(clients: &mut Clients, id: &str, position: u64) {
    wait_until("the order is found", async || {
        let found = clients.search(id, position).await;
        found.is_ok_and(|found| found.total_size == 1)
    })
    .await;
}

#[tokio::test]
async fn a_refusal_of_every_document_is_an_outage_with_its_reason_and_parks_nobody() {
    let meilisearch = Losable::double();
    let server = Server::start_with_meilisearch(&meilisearch.url(), &meilisearch.key()).await;
    let mut clients = server.clients().await;
    for (number, refusal) in OF_EVERY_DOCUMENT.into_iter().enumerate() {
        meilisearch.refuse(Some(refusal.clone()));
        let id = format!("meanwhile{number}");
        let position = clients.create(&id).await;
        assert_outage(&mut clients, code(&refusal)).await;
        // Only searches need Meilisearch.
        clients.order(&id, position).await;
        meilisearch.refuse(None);
        assert_found(&mut clients, &id, position).await;
    }
    let search = clients.projection("search").await;
    assert_eq!(search.parked_count, 0);
    clients.assert_verified(&["search"]).await;
}

#[tokio::test]
async fn refused_settings_are_an_outage_with_its_reason_and_park_nobody() {
    let meilisearch = Losable::double();
    meilisearch.refuse(Some(Refusal::Settings("invalid_settings_ranking_rules")));
    let server = Server::start_with_meilisearch(&meilisearch.url(), &meilisearch.key()).await;
    let mut clients = server.clients().await;
    let position = clients.create("early").await;
    assert_outage(&mut clients, "invalid_settings_ranking_rules").await;
    meilisearch.refuse(None);
    assert_found(&mut clients, "early", position).await;
}

#[tokio::test]
async fn one_bad_document_parks_only_its_order() {
    let meilisearch = Losable::double();
    let server = Server::start_with_meilisearch(&meilisearch.url(), &meilisearch.key()).await;
    let mut clients = server.clients().await;
    meilisearch.refuse(Some(Refusal::Order("invalid_document_id", "unlucky")));
    clients.create_many("before", 20).await;
    clients.create("unlucky").await;
    let position = clients.create_many("after", 20).await;
    let found = clients.search("after", position).await.unwrap();
    assert_eq!(found.total_size, 20);
    let parked = clients.list_parked(ListParkedRequest::default()).await;
    let parked = parked.unwrap().parked;
    let [parked] = &parked[..] else {
        panic!("{parked:?}");
    };
    assert_eq!(parked.order_id, "unlucky");
    assert!(parked.error.contains("invalid_document_id"), "{parked:?}");
    let search = clients.projection("search").await;
    assert_eq!((search.parked_count, &*search.error), (1, ""));
}

#[tokio::test]
async fn a_search_whose_facets_take_too_long_has_its_orders_and_is_degraded() {
    let meilisearch = Losable::double();
    let server = Server::start_with_meilisearch(&meilisearch.url(), &meilisearch.key()).await;
    let mut clients = server.clients().await;
    let position = clients.create_many("slow", 3).await;
    clients.search("slow", position).await.unwrap();
    meilisearch.refuse(Some(Refusal::Facets));
    let request = SearchOrdersRequest {
        query: "slow".into(),
        facets: vec!["status".into()],
        ..SearchOrdersRequest::default()
    };
    let found = clients.search_orders(request).await.unwrap();
    assert_eq!((found.orders.len(), found.total_size), (3, 3));
    assert!(found.degraded && found.facets[0].values.is_empty());
}

/// A real server with a limit of payloads too low for all orders together, and then for any of them.
#[tokio::test]
#[ignore = "needs Meilisearch"]
async fn real_meilisearch_with_a_low_limit_of_payloads_gets_smaller_writes_or_is_an_outage() {
    const LIMIT: &str = "MEILI_HTTP_PAYLOAD_SIZE_LIMIT";
    let mut meilisearch = Meilisearch::start();
    let server = Server::start_with_meilisearch(&meilisearch.url(), &meilisearch.key()).await;
    let mut clients = server.clients().await;
    meilisearch.kill();
    let position = clients.create_many("many", 300).await;
    meilisearch.start_again_with(&[(LIMIT, "20KB")]);
    wait_until("all orders are found", async || {
        let found = clients.search("many", position).await;
        found.is_ok_and(|found| found.total_size == 300)
    })
    .await;
    meilisearch.kill();
    let position = clients.create("one").await;
    meilisearch.start_again_with(&[(LIMIT, "700B")]);
    assert_outage(&mut clients, "payload").await;
    meilisearch.kill();
    meilisearch.start_again();
    assert_found(&mut clients, "one", position).await;
    clients.assert_verified(&["search"]).await;
}
