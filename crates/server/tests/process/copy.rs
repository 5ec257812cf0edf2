//! Tests that clients see the same log after a copy to another store.

use std::process::Output;

use contract::orders::v1::*;
use e2e::Process;
use test_support::{order, postgres, request::events_after};

use crate::binary::{failed, orderlog, serve, succeeded};

fn node(data_dir: &std::path::Path, database: &str) -> Process {
    let mut serve = serve(data_dir);
    serve.env("ORDERLOG_DATABASE_URL", database);
    serve.into()
}

fn copy(from: &str, to: &str) -> Output {
    let mut copy = orderlog();
    copy.args(["copy", "--from", from, "--to", to])
        .output()
        .unwrap()
}

/// Returns the history of an order and the position that a repeated command returns.
async fn witness(process: &Process, repeated: &CreateOrderRequest) -> (Vec<RecordedEvent>, u64) {
    let mut clients = process.clients().await;
    let history = clients.order_history(&repeated.order_id).await.unwrap();
    let reply = clients.create_order(repeated.clone()).await.unwrap();
    (history, reply.position)
}

/// Asserts that a log is not copied while a node uses it.
fn assert_in_use(from: &str, to: &str) {
    let error = failed(&copy(from, to), 1);
    assert!(error.contains("is in use"), "{error}");
}

/// Copies a log, and asserts that the output names each of these parts.
fn assert_copied(from: &str, to: &str, parts: [&str; 2]) {
    let printed = succeeded(&copy(from, to));
    for part in parts {
        assert!(printed.contains(part), "{part} in {printed}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Postgres"]
async fn g3_g5_clients_see_the_same_log_after_it_moved_to_postgres_and_back() {
    let database = postgres::database().await;
    let folder = tempfile::tempdir().unwrap();
    let file = format!("sqlite:{}", folder.path().join("events.db").display());
    let repeated = order::create("o-7", "ann");

    let on_file = node(folder.path(), &file);
    let mut clients = on_file.clients().await;
    clients.create_many("first", 7).await;
    clients.create_order(repeated.clone()).await.unwrap();
    clients.create_many("then", 12).await;
    clients.ship_order(order::ship("o-7")).await.unwrap();
    let before = witness(&on_file, &repeated).await;
    assert_eq!((before.0.len(), before.1), (2, 8));
    let log_id = clients.get_head(GetHeadRequest {}).await.unwrap().log_id;
    assert_in_use(&file, &database);
    assert_eq!(on_file.shut_down().await, Some(0));
    let copied = "21 events (21 new) and 20 request ids";
    assert_copied(&file, &database, [copied, &log_id]);

    // The node uses the same folder, so its documents continue at their checkpoint.
    let on_database = node(folder.path(), &database);
    assert_eq!(witness(&on_database, &repeated).await, before);
    let mut clients = on_database.clients().await;
    assert_eq!(clients.create("").await, 22);
    let resumed = SubscribeRequest {
        log_id,
        ..events_after(20)
    };
    let events = clients.events(resumed.clone()).await;
    assert_eq!(events.len(), 2);
    assert_eq!(clients.total_orders(22).await, 21);
    assert_in_use(&database, &file);
    assert_eq!(on_database.shut_down().await, Some(0));
    let copied = "22 events (1 new) and 21 request ids";
    assert_copied(&database, &file, [copied, &resumed.log_id]);

    let on_file = node(folder.path(), &file);
    assert_eq!(witness(&on_file, &repeated).await, before);
    let mut clients = on_file.clients().await;
    assert_eq!(clients.head().await, 22);
    assert_eq!(clients.events(resumed).await, events);
}

#[test]
fn a_copy_from_or_to_a_wrong_url_fails_without_showing_its_password() {
    let folder = tempfile::tempdir().unwrap();
    let file = format!("sqlite:{}", folder.path().join("none.db").display());
    let postgres = "postgres://ann:secret@127.0.0.1:1/db";
    for (from, to, code, expected) in [
        (&*file, "mysql://ann:secret@host/db", 2, "postgres://"),
        (&*file, postgres, 1, "there is no log in sqlite:"),
        (postgres, &*file, 1, "postgres://ann@127.0.0.1:1/db"),
    ] {
        let error = failed(&copy(from, to), code);
        assert!(error.contains(expected), "{error}");
        assert!(!error.contains("secret"), "{error}");
    }
    assert!(!folder.path().join("none.db").exists());
}
