//! Tests of rebuild, verify and parking as operators use them.

use std::path::Path;

use contract::orders::v1::*;
use e2e::{Clients, Server};
use prost::Message as _;
use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Connection as _, PgConnection, sqlite::SqliteConnectOptions,
};
use test_support::{DEADLINE, eventually, order, postgres, reason, wrong_fields};
use tonic::Code;

/// Runs `sql` on a file, outside the server.
async fn change(file: &Path, sql: &str) {
    let options = SqliteConnectOptions::new().filename(file);
    let mut other = options.busy_timeout(DEADLINE).connect().await.unwrap();
    let sql = AssertSqlSafe(sql.to_owned());
    sqlx::raw_sql(sql).execute(&mut other).await.unwrap();
}

/// Returns the stored record of the first event of an order.
async fn recorded(log: &Path, order_id: &str) -> Vec<u8> {
    let mut log = SqliteConnectOptions::new()
        .filename(log)
        .connect()
        .await
        .unwrap();
    sqlx::query_scalar("SELECT record FROM events WHERE aggregate_id = ? AND version = 1")
        .bind(order_id)
        .fetch_one(&mut log)
        .await
        .unwrap()
}

/// Replaces the stored record of the first event of an order.
async fn record(log: &Path, order_id: &str, record: Vec<u8>) {
    let options = SqliteConnectOptions::new().filename(log);
    let mut log = options.busy_timeout(DEADLINE).connect().await.unwrap();
    sqlx::query("UPDATE events SET record = ? WHERE aggregate_id = ? AND version = 1")
        .bind(record)
        .bind(order_id)
        .execute(&mut log)
        .await
        .unwrap();
}

/// Drops the triggers that reject changes of the log.
const UNLOCK: &str = "DROP TRIGGER events_are_never_changed; DROP TRIGGER events_are_never_deleted;
    DROP TRIGGER requests_are_never_changed; DROP TRIGGER requests_are_never_deleted;";

/// Creates orders `o-0`, `o-1`, ... with named customers and products, and ships every second one.
/// Returns the newest position.
async fn fill(clients: &mut Clients, orders: u64) -> u64 {
    let tea = order::product("tea", "Green tea");
    clients.commands.register_product(tea).await.unwrap();
    for index in 0..orders {
        let customer = format!("c-{}", index % 3);
        let create = order::create(&format!("o-{index}"), &customer);
        clients.commands.create_order(create).await.unwrap();
        if index % 2 == 0 {
            let ship = order::ship(&format!("o-{index}"));
            clients.commands.ship_order(ship).await.unwrap();
        }
    }
    let ann = order::customer("c-0", "Ann");
    clients.commands.register_customer(ann).await.unwrap();
    clients.head().await
}

async fn search(clients: &mut Clients, query: &str, min_position: u64) -> SearchOrdersResponse {
    let request = SearchOrdersRequest {
        query: query.into(),
        min_position,
        max_wait: Some(prost_types::Duration {
            seconds: 30,
            nanos: 0,
        }),
        page_size: 500,
        ..SearchOrdersRequest::default()
    };
    let found = clients.queries.search_orders(request).await;
    found.unwrap().into_inner()
}

/// Returns the answers of all queries at a position.
async fn answers(clients: &mut Clients, position: u64) -> (Vec<Order>, Vec<Order>, String) {
    let listed = search(clients, "", position).await.orders;
    let mut found = search(clients, "tea", position).await.orders;
    found.sort_by_key(|order| order.position);
    let request = GetStatisticsRequest {
        by_day: true,
        ..GetStatisticsRequest::default()
    };
    let statistics = clients.queries.get_statistics(request).await.unwrap();
    let statistics = GetStatisticsResponse {
        as_of_position: 0,
        ..statistics.into_inner()
    };
    (listed, found, format!("{statistics:?}"))
}

async fn rebuild(
    clients: &mut Clients,
    projections: &[&str],
    rollback: bool,
) -> Result<Vec<RebuildResponse>, tonic::Status> {
    let request = RebuildRequest {
        projections: projections.iter().map(|it| (*it).into()).collect(),
        rollback,
    };
    let mut steps = clients.projections.rebuild(request).await?.into_inner();
    let mut all = Vec::new();
    while let Some(step) = steps.message().await? {
        all.push(step);
    }
    Ok(all)
}

async fn verify(clients: &mut Clients, parts: &[&str]) -> Vec<String> {
    let request = VerifyRequest {
        parts: parts.iter().map(|it| (*it).into()).collect(),
    };
    let mut found = clients
        .projections
        .verify(request)
        .await
        .unwrap()
        .into_inner();
    let (mut told, mut finished) = (Vec::new(), Vec::new());
    while let Some(response) = found.message().await.unwrap() {
        for difference in response.differences {
            told.push(format!("{} {}", difference.subject, difference.problem));
        }
        if response.finished {
            assert_eq!(response.done_position, response.total_position);
            finished.push(response.part);
        }
    }
    let all = ["log", "documents", "search"];
    assert_eq!(finished, if parts.is_empty() { &all } else { parts });
    told
}

async fn generations(clients: &mut Clients) -> Vec<u64> {
    let status = clients.projections.get_status(GetStatusRequest {}).await;
    let status = status.unwrap().into_inner();
    status.projections.iter().map(|it| it.generation).collect()
}

#[tokio::test]
async fn g9_a_rebuild_makes_the_same_read_models_anew_and_goes_back() {
    let mut server = Server::start().await;
    let mut clients = server.clients().await;
    let position = fill(&mut clients, 40).await;
    let before = answers(&mut clients, position).await;
    assert_eq!((before.0.len(), before.1.len()), (40, 40));
    let none = rebuild(&mut clients, &["search"], true).await.unwrap_err();
    assert_eq!(reason(&none), "REBUILD_NOT_POSSIBLE");

    let steps = rebuild(&mut clients, &[], false).await.unwrap();
    let done = steps
        .iter()
        .filter(|step| step.stage() == RebuildStage::Done);
    let done: Vec<_> = done
        .map(|step| (&step.projection[..], step.generation, step.done_position))
        .collect();
    assert_eq!(done, [("documents", 2, position), ("search", 2, position)]);
    assert_eq!(generations(&mut clients).await, [2, 2]);
    assert_eq!(answers(&mut clients, position).await, before);
    assert_eq!(verify(&mut clients, &[]).await, [""; 0]);

    // New events reach both generations, so a rollback loses none.
    let create = order::create("late", "c-0");
    let late = clients.commands.create_order(create).await.unwrap();
    let late = late.into_inner().position;
    let after = answers(&mut clients, late).await;
    assert_eq!(after.0.len(), 41);
    rebuild(&mut clients, &[], true).await.unwrap();
    assert_eq!(generations(&mut clients).await, [1, 1]);
    assert_eq!(answers(&mut clients, late).await, after);
    assert_eq!(verify(&mut clients, &[]).await, [""; 0]);

    server.start_again().await;
    let mut clients = server.clients().await;
    assert_eq!(answers(&mut clients, late).await, after);
    assert_eq!(generations(&mut clients).await, [1, 1]);
    rebuild(&mut clients, &[], false).await.unwrap();
    assert_eq!(generations(&mut clients).await, [3, 2]);
    assert_eq!(answers(&mut clients, late).await, after);
}

#[tokio::test]
async fn g9_queries_never_see_less_while_a_rebuild_goes_on() {
    let server = Server::start().await;
    let mut clients = server.clients().await;
    fill(&mut clients, 300).await;
    let head = clients.head().await;
    search(&mut clients, "tea", head).await;

    let mut writing = clients.clone();
    let (stop, mut stopped) = tokio::sync::oneshot::channel::<()>();
    let writer = tokio::spawn(async move {
        let mut count = 0;
        while stopped.try_recv().is_err() {
            let create = order::create(&format!("w-{count}"), "c-0");
            writing.commands.create_order(create).await.unwrap();
            count += 1;
        }
        count
    });
    let mut rebuilding = clients.clone();
    let rebuilt = tokio::spawn(async move { rebuild(&mut rebuilding, &[], false).await });
    let (mut listed, mut found, mut as_of) = (300, 300, head);
    while !rebuilt.is_finished() {
        for (query, least) in [("", &mut listed), ("tea", &mut found)] {
            let answer = search(&mut clients, query, 0).await;
            assert!(
                answer.total_size >= *least,
                "{query}: {} < {least}",
                answer.total_size
            );
            *least = answer.total_size;
            if query.is_empty() {
                assert!(answer.as_of_position >= as_of);
                as_of = answer.as_of_position;
            }
        }
    }
    rebuilt.await.unwrap().unwrap();
    stop.send(()).unwrap();
    let written = writer.await.unwrap();
    assert_eq!(generations(&mut clients).await, [2, 2]);
    let head = clients.head().await;
    assert_eq!(
        search(&mut clients, "tea", head).await.total_size,
        300 + written
    );
    assert_eq!(verify(&mut clients, &[]).await, [""; 0]);
}

#[tokio::test]
async fn g9_documents_of_an_older_version_answer_until_they_have_been_made_again() {
    let mut server = Server::start().await;
    let mut clients = server.clients().await;
    let position = fill(&mut clients, 10).await;
    let before = answers(&mut clients, position).await;
    server.stop().await;
    let file = server.folder().join("read.db");
    change(
        &file,
        "UPDATE checkpoint SET schema = 0;
         UPDATE customers SET name = 'as an older version had it'",
    )
    .await;
    server.start_again().await;
    let mut clients = server.clients().await;
    eventually("generation 2", async || {
        (generations(&mut clients).await[0] == 2).then_some(())
    })
    .await;
    assert_eq!(answers(&mut clients, position).await.0, before.0);
    server.start_again().await;
    let mut clients = server.clients().await;
    assert_eq!(answers(&mut clients, position).await.0, before.0);
    assert_eq!(generations(&mut clients).await[0], 2, "once is enough");
}

#[tokio::test]
async fn a_rebuild_is_refused_while_one_is_under_way_and_for_what_there_is_not() {
    let server = Server::start().await;
    let mut clients = server.clients().await;
    let wrong = rebuild(&mut clients, &["documents", "events"], false).await;
    let wrong = wrong.unwrap_err();
    assert_eq!(wrong.code(), Code::InvalidArgument);
    assert_eq!(wrong_fields(&wrong), ["projections[1]"]);
    let wrong = clients.projections.verify(VerifyRequest {
        parts: vec!["everything".into()],
    });
    assert_eq!(wrong_fields(&wrong.await.unwrap_err()), ["parts[0]"]);
}

#[tokio::test]
async fn g10_each_corruption_is_named() {
    let mut server = Server::start().await;
    let mut clients = server.clients().await;
    let position = fill(&mut clients, 6).await;
    search(&mut clients, "tea", position).await;
    assert_eq!(verify(&mut clients, &[]).await, [""; 0]);
    let log = server.folder().join("events.db");
    let documents = server.folder().join("read.db");

    for (sql, told) in [
        (
            "UPDATE customers SET name = 'Bob' WHERE customer_id = 'c-0'",
            "customer c-0 is called Bob since event 11, instead of Ann since event 11",
        ),
        (
            "UPDATE statistics SET orders = orders + 1 WHERE scope = 0 AND status = 1",
            "statistics of all orders count 4 orders in state 1 and EUR, with a sum of 75.0, \
             instead of 3 with 75.0",
        ),
        (
            "DELETE FROM orders WHERE order_id = 'o-5'",
            "order o-5 is missing",
        ),
    ] {
        change(&documents, sql).await;
        let found = verify(&mut clients, &["documents"]).await;
        assert!(found.contains(&told.to_owned()), "{sql}: {found:?}");
    }
    // The index keeps the order and the name that the documents have lost.
    let found = verify(&mut clients, &["search"]).await;
    assert!(
        found.contains(&"the order of event 10 is in the search index, and is no order".into()),
        "{found:?}"
    );
    assert!(
        found.contains(&"order o-0 is another one in the search index".into()),
        "{found:?}"
    );
    // A rebuild restores all of it from the log.
    rebuild(&mut clients, &[], false).await.unwrap();
    assert_eq!(verify(&mut clients, &[]).await, [""; 0]);

    server.stop().await;
    change(&log, UNLOCK).await;
    let id = "(SELECT request_id FROM requests WHERE aggregate_id = 'o-1')";
    let requests = format!(
        "UPDATE requests SET position = 99 WHERE request_id = {id};
         DELETE FROM requests WHERE aggregate_id = 'o-3'"
    );
    change(&log, &requests).await;
    change(
        &log,
        "UPDATE events SET version = 5 WHERE aggregate_id = 'o-2' AND version = 2;
         UPDATE events SET record = X'FFFF' WHERE aggregate_id = 'o-4' AND version = 2;
         UPDATE events SET record = CAST(record || X'0863' AS BLOB)
            WHERE aggregate_id = 'o-5' AND version = 1",
    )
    .await;
    server.start_again().await;
    let mut clients = server.clients().await;
    let found = verify(&mut clients, &["log"]).await;
    for told in [
        "event 6 is version 5 of o-2, of which there is no version 4",
        "event 6 says that it is version 2 of o-2, and is stored as version 5 of o-2",
        "event 9 cannot be read",
        "event 10 says that it is event 99",
        "led to event 4, and was answered with 99",
        "was answered with version 1 of o-1 at position 99, which is not there",
        "led to event 7, and is not recorded",
    ] {
        assert!(
            found.iter().any(|it| it.contains(told)),
            "{told}: {found:?}"
        );
    }
    assert_eq!(found.len(), 7, "{found:?}");
    server.stop().await;
    change(&log, "DELETE FROM events WHERE position IN (2, 3)").await;
    server.start_again().await;
    let mut clients = server.clients().await;
    let found = verify(&mut clients, &["log"]).await;
    for told in ["event 2 is missing", "event 3 is missing"] {
        assert!(found.contains(&told.to_owned()), "{found:?}");
    }
}

#[tokio::test]
#[ignore = "needs Postgres"]
async fn g10_a_log_in_postgres_is_looked_at_too() {
    let database = postgres::database().await;
    let server = Server::start_on(&database).await;
    let mut clients = server.clients().await;
    let position = fill(&mut clients, 6).await;
    search(&mut clients, "tea", position).await;
    assert_eq!(verify(&mut clients, &[]).await, [""; 0]);
    let mut other = PgConnection::connect(&database).await.unwrap();
    let corrupt =
        "ALTER TABLE events DISABLE TRIGGER USER; ALTER TABLE requests DISABLE TRIGGER USER;
        DELETE FROM requests WHERE position = 4;
        UPDATE events SET record = 'no event' WHERE position = 9";
    sqlx::raw_sql(corrupt).execute(&mut other).await.unwrap();
    let found = verify(&mut clients, &["log"]).await;
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(
        found
            .iter()
            .any(|it| it.contains("led to event 4, and is not recorded"))
    );
    assert!(
        found
            .iter()
            .any(|it| it.starts_with("event 9 cannot be read"))
    );
}

#[tokio::test]
async fn g9_g10_an_index_is_rebuilt_while_orders_change_all_the_time() {
    let server = Server::start().await;
    let mut clients = server.clients().await;
    fill(&mut clients, 20).await;
    let mut writing = clients.clone();
    let (stop, mut stopped) = tokio::sync::oneshot::channel::<()>();
    let writer = tokio::spawn(async move {
        let mut count = 0;
        while stopped.try_recv().is_err() {
            let name = order::customer("c-0", &format!("Ann {count}"));
            writing.commands.register_customer(name).await.unwrap();
            count += 1;
        }
    });
    for _ in 0..3 {
        rebuild(&mut clients, &[], false).await.unwrap();
    }
    stop.send(()).unwrap();
    writer.await.unwrap();
    assert_eq!(generations(&mut clients).await, [4, 4]);
    assert_eq!(verify(&mut clients, &[]).await, [""; 0]);
}

#[tokio::test]
async fn g10_a_system_at_work_has_no_differences() {
    let server = Server::start().await;
    let mut clients = server.clients().await;
    fill(&mut clients, 50).await;
    let mut writing = clients.clone();
    let (stop, mut stopped) = tokio::sync::oneshot::channel::<()>();
    let writer = tokio::spawn(async move {
        let mut count = 0;
        while stopped.try_recv().is_err() {
            let id = format!("w-{count}");
            writing
                .commands
                .create_order(order::create(&id, "c-0"))
                .await
                .unwrap();
            writing.commands.ship_order(order::ship(&id)).await.unwrap();
            let name = order::customer("c-0", &format!("Ann {count}"));
            let renamed = writing.commands.register_customer(name).await.unwrap();
            // A new name changes every order of the customer, and their number grows. Without this
            // search, the writer would outrun the index, which could then never be verified.
            let search = SearchOrdersRequest {
                query: format!("ann {count}"),
                min_position: renamed.into_inner().position,
                max_wait: Some(prost_types::Duration {
                    seconds: 30,
                    nanos: 0,
                }),
                ..SearchOrdersRequest::default()
            };
            writing.queries.search_orders(search).await.unwrap();
            count += 1;
        }
        count
    });
    for _ in 0..3 {
        assert_eq!(verify(&mut clients, &[]).await, [""; 0]);
    }
    stop.send(()).unwrap();
    assert!(writer.await.unwrap() >= 3, "it was hardly at work");
}

#[tokio::test]
async fn an_event_that_cannot_be_projected_parks_its_order_until_the_retry() {
    let mut server = Server::start().await;
    let mut clients = server.clients().await;
    fill(&mut clients, 4).await;
    server.stop().await;
    let log = server.folder().join("events.db");
    change(&log, UNLOCK).await;
    // The record simulates a newer program with an unknown version.
    let right = recorded(&log, "o-1").await;
    let mut wrong = RecordedEvent::decode(&right[..]).unwrap();
    wrong.occurred_at = None;
    record(&log, "o-1", wrong.encode_to_vec()).await;
    for file in ["read-1.db", "read-1.db-wal", "read-1.db-shm"] {
        // SQLite deletes the last two files when it closes.
        let _ = std::fs::remove_file(server.folder().join(file));
    }
    std::fs::remove_dir_all(server.folder().join("search-1")).unwrap();
    server.start_again().await;
    let mut clients = server.clients().await;
    clients
        .commands
        .ship_order(order::ship("o-1"))
        .await
        .unwrap();
    clients
        .commands
        .deliver_order(order::deliver("o-2"))
        .await
        .unwrap();
    let position = clients.head().await;

    // The parked order does not hold back the others.
    assert_eq!(search(&mut clients, "", position).await.total_size, 3);
    assert_eq!(search(&mut clients, "tea", position).await.total_size, 3);
    let others = search(&mut clients, "", position).await.orders;
    assert!(
        others
            .iter()
            .any(|it| it.status() == OrderStatus::Delivered)
    );
    let listed = clients
        .projections
        .list_parked(ListParkedRequest::default());
    let listed = listed.await.unwrap().into_inner();
    let parked = ParkedAggregate {
        projection: "documents".into(),
        order_id: "o-1".into(),
        position: 4,
        error: "occurred_at is missing or impossible".into(),
        event_count: 2,
    };
    assert_eq!(listed.parked, [parked]);
    assert_eq!(listed.next_page_token, "");
    let status = clients.projections.get_status(GetStatusRequest {}).await;
    let status = status.unwrap().into_inner();
    let counts: Vec<_> = status
        .projections
        .iter()
        .map(|it| it.parked_count)
        .collect();
    assert_eq!(counts, [1, 0]);
    assert_eq!(status.projections[0].lag_events, 0);
    assert_eq!(status.projections[0].state(), ProjectionState::Live);

    let retry = RetryParkedRequest::default();
    let retried = clients
        .projections
        .retry_parked(retry.clone())
        .await
        .unwrap();
    assert_eq!(
        retried.into_inner().parked_count,
        1,
        "it is as wrong as before"
    );
    record(&log, "o-1", right).await;
    let retried = clients
        .projections
        .retry_parked(retry)
        .await
        .unwrap()
        .into_inner();
    assert_eq!((retried.recovered_count, retried.parked_count), (1, 0));
    let get = GetOrderRequest {
        order_id: "o-1".into(),
        ..GetOrderRequest::default()
    };
    let found = clients.queries.get_order(get).await.unwrap().into_inner();
    let found = found.order.unwrap();
    assert_eq!((found.status(), found.version), (OrderStatus::Shipped, 2));
    eventually("o-1 in the index", async || {
        let found = search(&mut clients, "tea", 0).await;
        (found.total_size == 4).then_some(())
    })
    .await;
    assert_eq!(verify(&mut clients, &[]).await, [""; 0]);
}

#[tokio::test]
async fn parked_orders_are_listed_in_pages() {
    let mut server = Server::start().await;
    server.stop().await;
    let parked = "INSERT INTO parked SELECT p.column1, 'o-' || o.column1, 7, 'no', 1
        FROM (VALUES ('documents'), ('search')) p, (VALUES (1), (2), (3)) o";
    change(&server.folder().join("read.db"), parked).await;
    server.start_again().await;
    let mut clients = server.clients().await;
    let mut request = ListParkedRequest {
        page_size: 2,
        ..ListParkedRequest::default()
    };
    let mut all = Vec::new();
    loop {
        let page = clients.projections.list_parked(request.clone()).await;
        let page = page.unwrap().into_inner();
        assert!(page.parked.len() <= 2);
        let ids = page.parked.into_iter();
        all.extend(ids.map(|it| format!("{} {}", it.projection, it.order_id)));
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
    }
    let expected = [
        "documents o-1",
        "documents o-2",
        "documents o-3",
        "search o-1",
        "search o-2",
        "search o-3",
    ];
    assert_eq!(all, expected);
    request.page_token = "else".into();
    let wrong = clients.projections.list_parked(request).await.unwrap_err();
    assert_eq!(reason(&wrong), "INVALID_PAGE_TOKEN");
    let wrong = clients.projections.list_parked(ListParkedRequest {
        projection: "events".into(),
        page_size: 1001,
        ..ListParkedRequest::default()
    });
    assert_eq!(
        wrong_fields(&wrong.await.unwrap_err()),
        ["projection", "page_size"]
    );
}

#[tokio::test]
async fn an_event_that_cannot_be_decoded_parks_its_order_and_is_named() {
    let mut server = Server::start().await;
    let mut clients = server.clients().await;
    fill(&mut clients, 4).await;
    server.stop().await;
    let log = server.folder().join("events.db");
    change(&log, UNLOCK).await;
    let right = recorded(&log, "o-1").await;
    let mut wrong = RecordedEvent::decode(&right[..]).unwrap();
    wrong.payload = None;
    let mut wrong = wrong.encode_to_vec();
    // The bytes encode the field `order_created` with invalid content.
    wrong.extend([0xa2, 0x01, 0x03, 0xff, 0xff, 0xff]);
    record(&log, "o-1", wrong).await;
    for file in ["read-1.db", "read-1.db-wal", "read-1.db-shm"] {
        // SQLite deletes the last two files when it closes.
        let _ = std::fs::remove_file(server.folder().join(file));
    }
    server.start_again().await;
    let mut clients = server.clients().await;
    let position = create_late(&mut clients).await;
    assert_eq!(search(&mut clients, "", position).await.total_size, 4);
    let found = verify(&mut clients, &["log"]).await;
    assert!(found[0].starts_with("event 4 cannot be read"), "{found:?}");
    assert_eq!(verify(&mut clients, &["documents"]).await, [""; 0]);
    record(&log, "o-1", right).await;
    let retry = RetryParkedRequest::default();
    let retried = clients.projections.retry_parked(retry).await.unwrap();
    assert_eq!(retried.into_inner().recovered_count, 1);
    assert_eq!(search(&mut clients, "", position).await.total_size, 5);
}

async fn create_late(clients: &mut Clients) -> u64 {
    let create = order::create("late", "c-0");
    let created = clients.commands.create_order(create).await.unwrap();
    created.into_inner().position
}
