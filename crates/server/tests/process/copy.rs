//! Tests that clients see the same log after a copy to another store.

use std::process::Output;

use contract::orders::v1::*;
use e2e::Process;
use test_support::{order, postgres};

use crate::binary::{orderlog, serve};

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

fn told(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (text(&output.stdout), text(&output.stderr))
}

/// Returns the history of an order and the position that a repeated command returns.
async fn witness(process: &Process, repeated: &CreateOrderRequest) -> (Vec<RecordedEvent>, u64) {
    let mut clients = process.clients().await;
    let order_id = repeated.order_id.clone();
    let history = clients
        .events
        .get_order_history(GetOrderHistoryRequest { order_id });
    let history = history.await.unwrap().into_inner().events;
    let again = clients
        .commands
        .create_order(repeated.clone())
        .await
        .unwrap();
    (history, again.into_inner().position)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Postgres"]
async fn g3_g5_clients_of_a_log_that_has_moved_to_postgres_and_back_go_on_as_before() {
    let database = postgres::database().await;
    let folder = tempfile::tempdir().unwrap();
    let file = format!("sqlite:{}", folder.path().join("events.db").display());
    let repeated = order::create("o-7", "ann");

    let on_file = node(folder.path(), &file);
    let mut clients = on_file.clients().await;
    for index in 0..20 {
        let create = match index {
            7 => repeated.clone(),
            _ => order::create(&format!("o-{index}"), "ann"),
        };
        clients.commands.create_order(create).await.unwrap();
    }
    clients
        .commands
        .ship_order(order::ship("o-7"))
        .await
        .unwrap();
    let before = witness(&on_file, &repeated).await;
    assert_eq!((before.0.len(), before.1), (2, 8));
    let log_id = clients
        .events
        .get_head(GetHeadRequest {})
        .await
        .unwrap()
        .into_inner()
        .log_id;

    let refused = copy(&file, &database);
    assert_eq!(refused.status.code(), Some(1));
    assert!(told(&refused).1.contains("is in use"), "{refused:?}");
    assert_eq!(on_file.terminate(), Some(0));

    let copied = copy(&file, &database);
    assert!(copied.status.success(), "{copied:?}");
    let (said, _) = told(&copied);
    assert!(
        said.contains("21 events (21 new) and 20 request ids"),
        "{said}"
    );
    assert!(said.contains(&log_id), "{said}");

    // The node uses the same folder, so its documents continue at their checkpoint.
    let on_database = node(folder.path(), &database);
    assert_eq!(witness(&on_database, &repeated).await, before);
    let mut clients = on_database.clients().await;
    let create = clients
        .commands
        .create_order(order::create("", "bob"))
        .await;
    assert_eq!(create.unwrap().into_inner().position, 22);
    let resumed = SubscribeRequest {
        after_position: 20,
        log_id: log_id.clone(),
        ..SubscribeRequest::default()
    };
    let mut stream = clients
        .events
        .subscribe(resumed.clone())
        .await
        .unwrap()
        .into_inner();
    let events = stream.message().await.unwrap().unwrap().events;
    assert_eq!(events.len(), 2);
    let statistics = GetStatisticsRequest {
        min_position: 22,
        ..GetStatisticsRequest::default()
    };
    let statistics = clients.queries.get_statistics(statistics).await.unwrap();
    assert_eq!(statistics.into_inner().total_orders, 21);
    let refused = copy(&database, &file);
    assert_eq!(refused.status.code(), Some(1));
    assert!(told(&refused).1.contains("is in use"), "{refused:?}");
    assert_eq!(on_database.terminate(), Some(0));

    let (said, _) = told(&copy(&database, &file));
    assert!(
        said.contains("22 events (1 new) and 21 request ids"),
        "{said}"
    );
    let back = node(folder.path(), &file);
    assert_eq!(witness(&back, &repeated).await, before);
    let mut clients = back.clients().await;
    assert_eq!(clients.head().await, 22);
    let mut stream = clients
        .events
        .subscribe(resumed)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(stream.message().await.unwrap().unwrap().events, events);
}

#[test]
fn a_wrong_url_is_wrong_usage_and_its_password_is_not_told() {
    let folder = tempfile::tempdir().unwrap();
    let file = format!("sqlite:{}", folder.path().join("none.db").display());
    let wrong = copy(&file, "mysql://ann:secret@host/db");
    assert_eq!(wrong.status.code(), Some(2));
    assert!(!told(&wrong).1.contains("secret"), "{wrong:?}");
    let nothing = copy(&file, "postgres://ann:secret@127.0.0.1:1/db");
    assert_eq!(nothing.status.code(), Some(1));
    assert!(
        told(&nothing).1.contains("there is no log in sqlite:"),
        "{nothing:?}"
    );
    let unreachable = copy("postgres://ann:secret@127.0.0.1:1/db", &file);
    assert_eq!(unreachable.status.code(), Some(1));
    assert!(
        told(&unreachable)
            .1
            .contains("postgres://ann@127.0.0.1:1/db"),
        "{unreachable:?}"
    );
    assert!(!told(&unreachable).1.contains("secret"), "{unreachable:?}");
    assert!(!folder.path().join("none.db").exists());
}
