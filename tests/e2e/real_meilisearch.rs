//! Tests of text search with a real Meilisearch, including its failures.

use std::{
    fs,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use contract::orders::v1::*;
use e2e::{Clients, Server};
use test_support::{Proxy, eventually, meilisearch::Meilisearch, order, reason};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

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
    request: SearchOrdersRequest,
) -> Result<SearchOrdersResponse, Status> {
    let found = clients.queries.search_orders(request).await?;
    Ok(found.into_inner())
}

/// Creates `{name}-0`, `{name}-1`, ... and returns the newest position.
async fn create(clients: &mut Clients, name: &str, count: u64) -> u64 {
    for index in 0..count {
        let create = order::create(&format!("{name}-{index}"), &format!("c-{}", index % 7));
        clients.commands.create_order(create).await.unwrap();
    }
    clients.head().await
}

/// Creates orders that use every searchable field, and returns the newest position.
async fn fill(clients: &mut Clients) -> u64 {
    for (id, name) in [("tea", "Green tea"), ("jam", "Plum jam")] {
        let product = order::product(id, name);
        clients.commands.register_product(product).await.unwrap();
    }
    for index in 0..60_i64 {
        let product = if index % 2 == 0 { "tea" } else { "jam" };
        let create = CreateOrderRequest {
            items: vec![CreateOrderItem {
                unit_price: order::euros(1 + 10_000 * (index % 9)),
                ..order::item(product)
            }],
            occurred_at: Some(prost_types::Timestamp {
                seconds: 1_700_000_000 + 3600 * (index / 3),
                nanos: 1,
            }),
            ..order::create(&format!("Order-{index}"), &format!("c-{}", index % 5))
        };
        clients.commands.create_order(create).await.unwrap();
        let id = format!("Order-{index}");
        let occurred_at = Some(prost_types::Timestamp {
            seconds: 1_700_000_000 + 7 * (index % 11),
            nanos: 2,
        });
        if index % 4 == 0 {
            let ship = ShipOrderRequest {
                occurred_at,
                ..order::ship(&id)
            };
            clients.commands.ship_order(ship).await.unwrap();
        } else if index % 7 == 0 {
            let cancel = CancelOrderRequest {
                occurred_at,
                ..order::cancel(&id)
            };
            clients.commands.cancel_order(cancel).await.unwrap();
        }
    }
    for (index, name) in ["Ann", "Anna", "Bob Tea", "Søren", "Zoë"]
        .iter()
        .enumerate()
    {
        let customer = order::customer(&format!("c-{index}"), name);
        clients.commands.register_customer(customer).await.unwrap();
    }
    clients.head().await
}

/// Verifies the search index and expects no difference.
async fn agree(clients: &mut Clients) {
    let found = differences(clients).await.unwrap();
    assert_eq!(found, [""; 0]);
}

async fn differences(clients: &mut Clients) -> Result<Vec<String>, Status> {
    let request = VerifyRequest {
        parts: vec!["search".into()],
    };
    let mut found = clients.projections.verify(request).await?.into_inner();
    let mut all = Vec::new();
    while let Some(response) = found.message().await? {
        for Difference { subject, problem } in response.differences {
            all.push(format!("{subject} {problem}"));
        }
    }
    Ok(all)
}

/// Returns the status of the search index.
async fn status(clients: &mut Clients) -> ProjectionStatus {
    let status = clients.projections.get_status(GetStatusRequest {}).await;
    status.unwrap().into_inner().projections.remove(1)
}

/// Waits until the index is at the head without an error.
async fn at_the_head(clients: &mut Clients) {
    eventually("the index is at the head", async || {
        let status = status(clients).await;
        (status.lag_events == 0 && status.error.is_empty()).then_some(())
    })
    .await;
}

async fn start(meilisearch: &Meilisearch) -> (Server, Clients) {
    let url = meilisearch.url();
    let server = Server::start_with_meilisearch(&url, &meilisearch.key()).await;
    let clients = server.clients().await;
    (server, clients)
}

/// Checks that a search fails immediately and reports a time to retry.
async fn unavailable(clients: &mut Clients) {
    let started = Instant::now();
    let failed = search(clients, with_words("tea", 0)).await.unwrap_err();
    let took = started.elapsed();
    assert_eq!(failed.code(), Code::Unavailable);
    assert_eq!(reason(&failed), "SEARCH_UNAVAILABLE");
    let retry = failed.get_details_retry_info().unwrap();
    assert!(retry.retry_delay.is_some());
    // The bound is 1 s plus the delay of a busy machine.
    assert!(took < Duration::from_secs(2), "{took:?}");
}

/// Checks every feature that needs no search engine.
async fn works_without(clients: &mut Clients, name: &str) {
    let position = create(clients, name, 1).await;
    let get = GetOrderRequest {
        order_id: format!("{name}-0"),
        min_position: position,
        ..GetOrderRequest::default()
    };
    clients.queries.get_order(get).await.unwrap();
    let listed = search(clients, with_words("", position)).await.unwrap();
    assert!(listed.total_size > 0);
}

#[tokio::test]
#[ignore = "needs Meilisearch"]
async fn meilisearch_answers_as_the_embedded_engine_does() {
    let meilisearch = Meilisearch::start();
    let (_server, mut clients) = start(&meilisearch).await;
    let embedded = Server::start().await;
    let mut other = embedded.clients().await;
    let position = fill(&mut clients).await;
    assert_eq!(fill(&mut other).await, position);

    let all = with_words("tea", position);
    let time = |hours: i64| {
        Some(prost_types::Timestamp {
            seconds: 1_700_000_000 + 3600 * hours,
            nanos: 1,
        })
    };
    let mut requests = vec![all.clone(), with_words("plum", position)];
    for words in [
        "ann",
        "SØREN",
        "soren",
        "order 17",
        "track 4711",
        "munster",
        "gren tea",
    ] {
        requests.push(with_words(words, position));
    }
    for filter in [
        SearchOrdersRequest {
            customer_ids: vec!["c-1".into(), "c-4".into()],
            ..all.clone()
        },
        SearchOrdersRequest {
            statuses: vec![OrderStatus::Shipped.into(), OrderStatus::Cancelled.into()],
            ..all.clone()
        },
        SearchOrdersRequest {
            product_ids: vec!["tea".into()],
            created_from: time(4),
            created_to: time(16),
            ..all.clone()
        },
        SearchOrdersRequest {
            min_total: order::euros(2 * 10_001 + 2),
            max_total: order::euros(2 * 60_001),
            ..all.clone()
        },
    ] {
        requests.push(filter);
    }
    for order_by in [
        "created_at",
        "updated_at desc",
        "total_amount",
        "total_amount desc",
    ] {
        requests.push(SearchOrdersRequest {
            order_by: order_by.into(),
            ..all.clone()
        });
    }
    for request in requests {
        let request = SearchOrdersRequest {
            facets: vec!["status".into(), "customer_id".into(), "product_id".into()],
            page_size: 7,
            ..request
        };
        let ours = pages(&mut clients, request.clone()).await;
        let theirs = pages(&mut other, request.clone()).await;
        assert_eq!(ours, theirs, "{request:?}");
    }
    agree(&mut clients).await;
}

/// Reads all pages of a request. Without an order in the request, the engines sort differently, so
/// the ids are sorted here.
async fn pages(
    clients: &mut Clients,
    mut request: SearchOrdersRequest,
) -> (Vec<String>, Vec<Facet>) {
    let mut orders = Vec::new();
    loop {
        let page = search(clients, request.clone()).await.unwrap();
        assert!(!page.degraded && page.as_of_position >= request.min_position);
        orders.extend(page.orders);
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            assert_eq!(orders.len() as u64, page.total_size);
            let ids = orders.into_iter().map(|order: Order| order.order_id);
            let mut ids: Vec<_> = ids.collect();
            if request.order_by.is_empty() {
                ids.sort();
            }
            return (ids, page.facets);
        }
    }
}

#[tokio::test]
#[ignore = "needs Meilisearch"]
async fn more_words_than_meilisearch_looks_at_are_told() {
    let meilisearch = Meilisearch::start();
    let (_server, mut clients) = start(&meilisearch).await;
    let position = create(&mut clients, "o", 1).await;
    let words = ["o"; 11].join(" ");
    let found = search(&mut clients, with_words(&words, position)).await;
    assert!(found.unwrap().degraded);
}

#[tokio::test]
#[ignore = "needs Meilisearch"]
async fn g7_an_index_that_was_down_while_orders_came_agrees_again() {
    let mut meilisearch = Meilisearch::start();
    let (_server, mut clients) = start(&meilisearch).await;
    let position = create(&mut clients, "before", 30).await;
    search(&mut clients, with_words("before", position))
        .await
        .unwrap();
    meilisearch.kill();
    unavailable(&mut clients).await;
    works_without(&mut clients, "without").await;
    let position = create(&mut clients, "during", 300).await;
    eventually("its status tells", async || {
        let status = status(&mut clients).await;
        (status.state() == ProjectionState::Failing && status.lag_events > 0).then_some(())
    })
    .await;
    meilisearch.start_again();
    let found = search(&mut clients, with_words("during", position))
        .await
        .unwrap();
    assert_eq!(found.total_size, 300);
    agree(&mut clients).await;
}

#[tokio::test]
#[ignore = "needs Meilisearch"]
async fn g7_an_index_that_is_killed_in_the_midst_of_tasks_agrees_again() {
    let mut meilisearch = Meilisearch::start();
    let (_server, mut clients) = start(&meilisearch).await;
    for round in 0..4 {
        create(&mut clients, &format!("r{round}"), 200).await;
        meilisearch.kill();
        meilisearch.start_again();
    }
    at_the_head(&mut clients).await;
    agree(&mut clients).await;
    assert_eq!(
        search(&mut clients, with_words("r3", 0))
            .await
            .unwrap()
            .total_size,
        200
    );
}

#[tokio::test]
#[ignore = "needs Meilisearch"]
async fn g7_a_wiped_index_is_filled_again() {
    let mut meilisearch = Meilisearch::start();
    let (_server, mut clients) = start(&meilisearch).await;
    let position = create(&mut clients, "o", 100).await;
    search(&mut clients, with_words("o", position))
        .await
        .unwrap();
    // No later event would make the node check the index.
    meilisearch.wipe();
    eventually("it is filled again", async || {
        let found = search(&mut clients, with_words("o", 0)).await.ok()?;
        (found.total_size == 100 && found.as_of_position == position).then_some(())
    })
    .await;
    agree(&mut clients).await;
}

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").args([from, to]).status();
    assert!(copied.unwrap().success());
}

#[tokio::test]
#[ignore = "needs Meilisearch"]
async fn g7_an_index_put_back_to_what_it_was_once_catches_up() {
    let mut meilisearch = Meilisearch::start();
    let (_server, mut clients) = start(&meilisearch).await;
    create(&mut clients, "old", 50).await;
    at_the_head(&mut clients).await;
    meilisearch.kill();
    let kept = tempfile::tempdir().unwrap();
    copy(&meilisearch.folder().join("data.ms"), kept.path());
    meilisearch.start_again();
    for index in 0..50 {
        let ship = order::ship(&format!("old-{index}"));
        clients.commands.ship_order(ship).await.unwrap();
    }
    create(&mut clients, "new", 50).await;
    at_the_head(&mut clients).await;
    meilisearch.kill();
    fs::remove_dir_all(meilisearch.folder().join("data.ms")).unwrap();
    copy(&kept.path().join("data.ms"), meilisearch.folder());
    meilisearch.start_again();
    eventually("it has caught up", async || {
        let found = search(&mut clients, with_words("munster", 0)).await.ok()?;
        (found.total_size == 50).then_some(())
    })
    .await;
    at_the_head(&mut clients).await;
    agree(&mut clients).await;
}

#[tokio::test]
#[ignore = "needs Meilisearch"]
async fn g7_tasks_that_are_cancelled_or_lost_are_sent_again() {
    let meilisearch = Meilisearch::start();
    let (_server, mut clients) = start(&meilisearch).await;
    for round in 0..6 {
        create(&mut clients, &format!("r{round}"), 60).await;
        let _ = meilisearch.call("POST", "/tasks/cancel?statuses=enqueued,processing", "");
        let finished = "/tasks?statuses=succeeded,failed,canceled";
        let _ = meilisearch.call("DELETE", finished, "");
    }
    at_the_head(&mut clients).await;
    agree(&mut clients).await;
    assert_eq!(
        search(&mut clients, with_words("r5", 0))
            .await
            .unwrap()
            .total_size,
        60
    );
}

#[tokio::test]
#[ignore = "needs Meilisearch"]
async fn answers_that_never_come_hold_up_nothing() {
    let meilisearch = Meilisearch::start();
    let proxy = Proxy::to(&meilisearch.address()).await;
    let url = format!("http://{}", proxy.address());
    let server = Server::start_with_meilisearch(&url, &meilisearch.key()).await;
    let mut clients = server.clients().await;
    let position = create(&mut clients, "before", 10).await;
    search(&mut clients, with_words("before", position))
        .await
        .unwrap();
    proxy.mute();
    unavailable(&mut clients).await;
    works_without(&mut clients, "without").await;
    let position = create(&mut clients, "during", 50).await;
    proxy.mend();
    let found = search(&mut clients, with_words("during", position))
        .await
        .unwrap();
    assert_eq!(found.total_size, 50);
    agree(&mut clients).await;
}

#[tokio::test]
#[ignore = "needs Meilisearch"]
async fn a_wrong_key_is_told_and_holds_up_nothing() {
    let meilisearch = Meilisearch::start();
    let server = Server::start_with_meilisearch(&meilisearch.url(), "another-key").await;
    let mut clients = server.clients().await;
    works_without(&mut clients, "without").await;
    let failing = eventually("its status tells", async || {
        let status = status(&mut clients).await;
        (status.state() == ProjectionState::Failing).then_some(status)
    })
    .await;
    assert!(failing.error.contains("API key"), "{}", failing.error);
    assert!(!failing.error.contains("another-key"), "{}", failing.error);
    unavailable(&mut clients).await;
}

#[tokio::test]
#[ignore = "needs Meilisearch"]
async fn g7_of_two_indexers_one_stops_and_the_index_agrees() {
    let meilisearch = Meilisearch::start();
    let commands = Server::start_for_commands(None).await;
    let mut writing = commands.clients().await;
    create(&mut writing, "before", 50).await;
    let (url, key) = (meilisearch.url(), meilisearch.key());
    let mut nodes = Vec::new();
    for _ in 0..2 {
        let node = Server::start_indexer(&[&commands.url()], &url, &key).await;
        create(&mut writing, &format!("n{}", nodes.len()), 50).await;
        nodes.push(node);
    }
    let mut first = nodes[0].clients().await;
    let mut second = nodes[1].clients().await;
    let position = create(&mut writing, "after", 50).await;
    let (mut one, mut other) = (first.clone(), second.clone());
    let stopped = eventually("one stops", async || {
        for clients in [&mut one, &mut other] {
            let status = status(clients).await;
            if status
                .error
                .contains("another process has become the indexer")
            {
                return Some(());
            }
        }
        None
    });
    stopped.await;
    for clients in [&mut first, &mut second] {
        let found = search(clients, with_words("after", position))
            .await
            .unwrap();
        assert_eq!(found.total_size, 50, "it answers all the same");
        agree(clients).await;
    }
    // Only the node that writes the index can rebuild it.
    let mut refused = 0;
    for clients in [&mut first, &mut second] {
        let request = RebuildRequest {
            projections: vec!["search".into()],
            rollback: false,
        };
        let mut steps = clients
            .projections
            .rebuild(request)
            .await
            .unwrap()
            .into_inner();
        loop {
            match steps.message().await {
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(error) => {
                    assert_eq!(reason(&error), "REBUILD_NOT_POSSIBLE");
                    refused += 1;
                    break;
                }
            }
        }
        agree(clients).await;
    }
    assert_eq!(refused, 1);
}

#[tokio::test]
#[ignore = "needs Meilisearch"]
async fn g9_an_index_is_rebuilt_while_it_answers_and_after_its_server_was_killed() {
    let mut meilisearch = Meilisearch::start();
    let (mut server, mut clients) = start(&meilisearch).await;
    let position = create(&mut clients, "o", 200).await;
    search(&mut clients, with_words("o", position))
        .await
        .unwrap();
    let request = RebuildRequest {
        projections: vec!["search".into()],
        rollback: false,
    };
    let mut steps = clients
        .projections
        .rebuild(request.clone())
        .await
        .unwrap()
        .into_inner();
    while let Some(step) = steps.message().await.unwrap() {
        let found = search(&mut clients, with_words("o", position))
            .await
            .unwrap();
        assert_eq!(found.total_size, 200, "{step:?}");
    }
    assert_eq!(status(&mut clients).await.generation, 2);
    agree(&mut clients).await;

    // A rebuild that Meilisearch or the node interrupts keeps the old generation.
    let mut steps = clients
        .projections
        .rebuild(request.clone())
        .await
        .unwrap()
        .into_inner();
    meilisearch.kill();
    while let Ok(Some(_)) = steps.message().await {}
    meilisearch.start_again();
    at_the_head(&mut clients).await;
    let steps = clients.projections.rebuild(request.clone()).await.unwrap();
    server.stop().await;
    drop(steps);
    server.start_again().await;
    let mut clients = server.clients().await;
    at_the_head(&mut clients).await;
    agree(&mut clients).await;
    let found = search(&mut clients, with_words("o", position))
        .await
        .unwrap();
    assert_eq!(found.total_size, 200);
    let (_, indexes) = meilisearch.call("GET", "/indexes", "");
    assert!(indexes.matches("\"uid\"").count() <= 2, "{indexes}");
}

#[tokio::test]
#[ignore = "needs Meilisearch"]
async fn g9_other_settings_lead_to_a_new_generation_while_the_old_one_answers() {
    let meilisearch = Meilisearch::start();
    let (mut server, mut clients) = start(&meilisearch).await;
    let position = create(&mut clients, "o", 50).await;
    search(&mut clients, with_words("o", position))
        .await
        .unwrap();
    server.stop().await;
    let of_an_older_version = r#"[{"id": "checkpoint", "schema": "older"}]"#;
    let (code, task) = meilisearch.call("PUT", "/indexes/orders/documents", of_an_older_version);
    assert_eq!(code, 202, "{task}");
    eventually("it is an older one", async || {
        let path = "/indexes/orders/documents/checkpoint";
        let (_, stored) = meilisearch.call("GET", path, "");
        stored.contains("older").then_some(())
    })
    .await;
    server.start_again().await;
    let mut clients = server.clients().await;
    eventually("generation 2", async || {
        let found = search(&mut clients, with_words("o", 0)).await.ok()?;
        assert_eq!(found.total_size, 50);
        (status(&mut clients).await.generation == 2).then_some(())
    })
    .await;
    at_the_head(&mut clients).await;
    agree(&mut clients).await;
}

#[tokio::test]
#[ignore = "needs Meilisearch"]
async fn g7_an_index_that_somebody_deletes_or_empties_under_traffic_is_made_again() {
    let meilisearch = Meilisearch::start();
    let (_server, mut clients) = start(&meilisearch).await;
    create(&mut clients, "before", 60).await;
    at_the_head(&mut clients).await;
    for (round, what) in ["/indexes/orders", "/indexes/orders/documents"]
        .iter()
        .enumerate()
    {
        let (code, answer) = meilisearch.call("DELETE", what, "");
        assert_eq!(code, 202, "{answer}");
        create(&mut clients, &format!("r{round}"), 60).await;
        let all = with_words("r0 0", 0);
        eventually("everything is there again", async || {
            let found = search(&mut clients, all.clone()).await.ok()?;
            let none = differences(&mut clients).await.ok()?.is_empty();
            (found.total_size > 0 && none).then_some(())
        })
        .await;
        // The filter works only with the settings of the index.
        let filtered = SearchOrdersRequest {
            customer_ids: vec!["c-1".into()],
            ..with_words("before", 0)
        };
        assert!(search(&mut clients, filtered).await.unwrap().total_size > 0);
    }
}

#[tokio::test]
#[ignore = "needs Meilisearch"]
async fn g9_a_rollback_that_is_broken_off_keeps_the_previous_index() {
    let meilisearch = Meilisearch::start();
    let (mut server, mut clients) = start(&meilisearch).await;
    let position = create(&mut clients, "o", 50).await;
    search(&mut clients, with_words("o", position))
        .await
        .unwrap();
    let request = |rollback| RebuildRequest {
        projections: vec!["search".into()],
        rollback,
    };
    let mut steps = clients
        .projections
        .rebuild(request(false))
        .await
        .unwrap()
        .into_inner();
    while steps.message().await.unwrap().is_some() {}
    let steps = clients.projections.rebuild(request(true)).await.unwrap();
    drop(steps);
    server.stop().await;
    server.start_again().await;
    let mut clients = server.clients().await;
    at_the_head(&mut clients).await;
    // The rollback may have finished before the stop, or it finishes now. In both cases a previous
    // generation exists.
    let mut steps = clients
        .projections
        .rebuild(request(true))
        .await
        .unwrap()
        .into_inner();
    let mut done = false;
    while let Some(step) = steps.message().await.unwrap() {
        done |= step.stage() == RebuildStage::Done;
    }
    assert!(done);
    agree(&mut clients).await;
}
