//! Tests of rebuilds and rollbacks of the index in Meilisearch.

use contract::orders::v1::RebuildStage;
use test_support::{
    meilisearch::Meilisearch,
    request::{rebuild, roll_back},
    wait_until,
};

use super::{assert_found, assert_recovers, start, wait_for_head};

#[tokio::test]
#[ignore = "needs Meilisearch"]
async fn g9_searches_find_every_order_during_a_rebuild() {
    let meilisearch = Meilisearch::start();
    let (_server, mut clients) = start(&meilisearch).await;
    let position = clients.create_many("o", 200).await;
    clients.search("o", position).await.unwrap();
    let steps = clients.projections.rebuild(rebuild(&["search"])).await;
    let mut steps = steps.unwrap().into_inner();
    while steps.message().await.unwrap().is_some() {
        assert_found(&mut clients, "o", position, 200).await;
    }
    assert_eq!(clients.projection("search").await.generation, 2);
    clients.assert_verified(&["search"]).await;
}

#[tokio::test]
#[ignore = "needs Meilisearch"]
async fn g9_a_rebuild_that_meilisearch_or_the_node_interrupts_leaves_a_complete_index() {
    let mut meilisearch = Meilisearch::start();
    let (mut server, mut clients) = start(&meilisearch).await;
    let position = clients.create_many("o", 200).await;
    clients.search("o", position).await.unwrap();
    clients.rebuild(rebuild(&["search"])).await.unwrap();

    let steps = clients.projections.rebuild(rebuild(&["search"])).await;
    let mut steps = steps.unwrap().into_inner();
    meilisearch.kill();
    while let Ok(Some(_)) = steps.message().await {}
    meilisearch.start_again();
    wait_for_head(&mut clients).await;

    let steps = clients.projections.rebuild(rebuild(&["search"])).await;
    server.stop().await;
    drop(steps.unwrap());
    server.start_again().await;
    let mut clients = server.clients().await;
    assert_recovers(&mut clients).await;
    assert_found(&mut clients, "o", position, 200).await;
    let (_, indexes) = meilisearch.call("GET", "/indexes", "");
    assert!(indexes.matches("\"uid\"").count() <= 2, "{indexes}");
}

#[tokio::test]
#[ignore = "needs Meilisearch"]
async fn g9_an_index_with_other_settings_answers_until_a_new_generation_replaces_it() {
    let meilisearch = Meilisearch::start();
    let (mut server, mut clients) = start(&meilisearch).await;
    let position = clients.create_many("o", 50).await;
    clients.search("o", position).await.unwrap();
    server.stop().await;
    let (_, index) = meilisearch.call("GET", "/indexes/orders", "");
    let index: serde_json::Value = serde_json::from_str(&index).unwrap();
    let key = index["primaryKey"].as_str().unwrap();
    let of_an_older_version = format!(r#"[{{"{key}": "checkpoint", "schema": "older"}}]"#);
    let (code, task) = meilisearch.call("PUT", "/indexes/orders/documents", &of_an_older_version);
    assert_eq!(code, 202, "{task}");
    wait_until("the checkpoint is of an older version", async || {
        let path = "/indexes/orders/documents/checkpoint";
        let (_, stored) = meilisearch.call("GET", path, "");
        stored.contains("older")
    })
    .await;
    server.start_again().await;
    let mut clients = server.clients().await;
    wait_until("the index is of generation 2", async || {
        let Ok(found) = clients.search("o", 0).await else {
            return false;
        };
        assert_eq!(found.total_size, 50);
        clients.projection("search").await.generation == 2
    })
    .await;
    assert_recovers(&mut clients).await;
}

#[tokio::test]
#[ignore = "needs Meilisearch"]
async fn g9_an_interrupted_rollback_keeps_a_previous_index() {
    let meilisearch = Meilisearch::start();
    let (mut server, mut clients) = start(&meilisearch).await;
    let position = clients.create_many("o", 50).await;
    clients.search("o", position).await.unwrap();
    clients.rebuild(rebuild(&["search"])).await.unwrap();
    let steps = clients.projections.rebuild(roll_back(&["search"])).await;
    drop(steps.unwrap());
    server.stop().await;
    server.start_again().await;
    let mut clients = server.clients().await;
    wait_for_head(&mut clients).await;
    // The rollback may have finished before the stop, or it finishes now. In both cases a previous
    // generation exists.
    let steps = clients.rebuild(roll_back(&["search"])).await.unwrap();
    assert!(steps.iter().any(|step| step.stage() == RebuildStage::Done));
    clients.assert_verified(&["search"]).await;
}
