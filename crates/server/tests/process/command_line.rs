//! Tests of the command line as a user sees it.

use std::{fs, net::TcpListener, path::Path, process::Output};

use e2e::Process;
use test_support::{order, wait_until};

use crate::binary::{self, failed, failed_in_one_line, orderlog, start, succeeded};

fn serve(data_dir: &Path, listen: &str) -> Output {
    let serve = ["serve", "--listen", listen, "--data-dir"];
    orderlog().args(serve).arg(data_dir).output().unwrap()
}

#[test]
fn a_first_order_goes_from_a_command_to_a_search_result() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path());
    server.ask(["customer", "register", "ann", "Ann Müller"]);
    server.ask(["product", "register", "tea", "Green Tea"]);
    let create = [
        "order",
        "create",
        "--order-id",
        "o-1",
        "--customer",
        "ann",
        "--item",
        "tea:2:12.50",
        "--currency",
        "EUR",
    ];
    let created = server.ask(create);
    assert!(
        created.contains("o-1") && created.contains("version 1") && created.contains("position 3"),
        "{created}"
    );
    let ship = [
        "order",
        "ship",
        "o-1",
        "--address",
        "1 Harbour Street",
        "--tracking-number",
        "T-1",
    ];
    assert!(server.ask(ship).contains("version 2"));
    let card = server.ask(["order", "get", "o-1"]);
    for part in [
        "Ann Müller",
        "Green Tea",
        "25.00 EUR",
        "1 Harbour Street",
        "T-1",
    ] {
        assert!(card.contains(part), "{part} in {card}");
    }
    let found = server.ask(["order", "search", "muller"]);
    assert!(found.contains("o-1") && found.contains("1 of 1"), "{found}");
    let history = server.ask(["order", "history", "o-1"]);
    assert!(
        history.contains("OrderCreated") && history.contains("OrderShipped"),
        "{history}"
    );
    let statistics = server.ask(["customer", "statistics", "ann", "--json"]);
    let statistics: serde_json::Value = serde_json::from_str(&statistics).unwrap();
    assert_eq!(statistics["totalOrders"], "1");
    assert_eq!(statistics["amounts"][0]["totalAmount"]["units"], "25");
    let status = server.ask(["status"]);
    assert!(
        status.contains("documents") && status.contains("search"),
        "{status}"
    );
    assert_eq!(server.terminate(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn g13_a_search_shows_large_orders_of_several_pages() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path());
    let mut clients = server.clients().await;
    // All of them together exceed the client's limit of 4 MiB.
    for index in 0..60 {
        let large = order::large(&format!("o-{index}"));
        clients.create_order(large).await.unwrap();
    }
    let found = server.ask(["order", "search", "--limit", "55"]);
    assert!(found.contains("55 of 60 orders"), "{found}");
    for index in 0..60 {
        assert_eq!(
            found.contains(&format!("o-{index} ")),
            index >= 5,
            "{found}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn g13_statistics_by_day_show_the_days_of_all_pages() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path());
    let mut clients = server.clients().await;
    // A page has at most 1000 days.
    for day in 0..1003 {
        let mut create = order::create(&format!("o-{day}"), "ann");
        create.occurred_at = Some(prost_types::Timestamp {
            seconds: 86_400 * day,
            nanos: 0,
        });
        clients.create_order(create).await.unwrap();
    }
    let statistics = server.ask(["statistics", "--by-day", "--json"]);
    let statistics: serde_json::Value = serde_json::from_str(&statistics).unwrap();
    assert_eq!(statistics["totalOrders"], "1003");
    let days = statistics["days"].as_array().unwrap();
    assert_eq!(days.len(), 1003);
    assert!(days.is_sorted_by_key(|day| day["day"].as_str()));
}

#[test]
fn a_refused_command_prints_one_line_and_exits_with_1() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path());
    let error = failed_in_one_line(&server.run(["order", "get", "none"]), 1);
    assert!(
        error.contains("ORDER_NOT_FOUND") && error.contains("none"),
        "{error}"
    );
    failed(&server.run(["order", "create"]), 2);
}

#[test]
fn a_port_in_use_prints_one_line_and_exits_with_1() {
    let folder = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let error = failed_in_one_line(&serve(folder.path(), &address), 1);
    assert!(error.contains(&address), "{error}");
    assert_eq!(
        fs::read_dir(folder.path()).unwrap().count(),
        0,
        "nothing was touched"
    );
}

#[test]
fn a_data_folder_in_use_prints_one_line_and_exits_with_1() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path());
    let error = failed_in_one_line(&serve(folder.path(), "127.0.0.1:0"), 1);
    assert!(error.contains("in use by another process"), "{error}");
    server.ask(["status"]);
}

#[test]
fn a_log_outside_the_data_folder_belongs_to_one_process_too() {
    let folder = tempfile::tempdir().unwrap();
    let log = format!("sqlite:{}", folder.path().join("logs/log.db").display());
    let serve = |data_dir: &str| {
        let mut command = orderlog();
        command
            .args(["serve", "--listen", "127.0.0.1:0", "--database-url", &log])
            .arg("--data-dir")
            .arg(folder.path().join(data_dir));
        command
    };
    let server = Process::from(serve("one"));
    server.ask(["product", "register", "tea", "Green Tea"]);
    let error = failed_in_one_line(&serve("two").output().unwrap(), 1);
    assert!(error.contains("in use by another process"), "{error}");
    drop(server);
    let server = Process::from(serve("two"));
    assert!(server.ask(["status"]).contains("documents"));
    assert!(folder.path().join("logs/log.db").exists());
}

#[test]
fn an_unreachable_database_prints_one_line_without_its_password() {
    let folder = tempfile::tempdir().unwrap();
    let url = "postgres://ann:secret@127.0.0.1:1/orders";
    let output = orderlog()
        .args(["serve", "--listen", "127.0.0.1:0", "--database-url", url])
        .arg("--data-dir")
        .arg(folder.path())
        .output()
        .unwrap();
    let error = failed_in_one_line(&output, 1);
    assert!(
        error.contains("postgres://ann@127.0.0.1:1/orders"),
        "{error}"
    );
    assert!(!error.contains("secret"), "{error}");
}

#[test]
fn a_file_that_is_no_database_prints_one_line_and_is_not_changed() {
    // The second file takes the name of the first generation of documents. A link named `read.db`
    // leads to it.
    for (name, named) in [("events.db", "events.db"), ("read.db", "read-1.db")] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        fs::write(&path, "dear diary, ".repeat(1000)).unwrap();
        let error = failed_in_one_line(&serve(folder.path(), "127.0.0.1:0"), 1);
        assert!(
            error.contains(named) && error.contains("not a database"),
            "{error}"
        );
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            "dear diary, ".repeat(1000)
        );
    }
}

#[test]
fn a_wrong_setting_prints_one_line_with_its_name_and_exits_with_2() {
    let folder = tempfile::tempdir().unwrap();
    for (name, value) in [
        ("ORDERLOG_LISTEN", "here"),
        ("ORDERLOG_DRAIN_TIMEOUT", "soon"),
    ] {
        let serve = ["serve", "--data-dir"];
        let output = orderlog()
            .args(serve)
            .arg(folder.path().join("new"))
            .env(name, value)
            .output()
            .unwrap();
        let error = failed_in_one_line(&output, 2);
        assert!(error.contains(name) && error.contains(value), "{error}");
    }
    failed_in_one_line(&serve(folder.path(), "0.0.0.0:0"), 2);
    assert!(
        !folder.path().join("new").exists(),
        "before anything was made"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn status_exits_with_0_only_if_the_node_is_ready() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path());
    wait_until("the server is ready", async || {
        server.run(["status", "--ready"]).status.success()
    })
    .await;
    let mut waits = binary::serve(&folder.path().join("replica"));
    waits.args(["--roles", "query", "--events-url", "http://127.0.0.1:1"]);
    let waits = Process::from(waits);
    let error = failed_in_one_line(&waits.run(["status", "--ready"]), 1);
    assert_eq!(error.trim(), "error: not ready: orders.v1.QueryService");
}

#[test]
fn a_query_node_shows_the_orders_of_another_node_and_refuses_calls_of_other_roles() {
    let folder = tempfile::tempdir().unwrap();
    let writes = start(folder.path());
    let mut reads = binary::serve(&folder.path().join("replica"));
    reads.args(["--roles", "query", "--events-url", writes.url()]);
    let reads = Process::from(reads);
    for id in ["o-1", "o-2"] {
        let item = ["--item", "tea:2:12.50", "--currency", "EUR"];
        let create = ["order", "create", "--order-id", id, "--customer", "ann"];
        writes.ask(create.iter().chain(&item));
        assert!(reads.ask(["order", "get", id]).contains(id));
    }
    let error = failed_in_one_line(&reads.run(["order", "history", "o-1"]), 1);
    assert!(error.contains("has another role"), "{error}");
    drop(writes);
    succeeded(&reads.run(["order", "get", "o-1", "--min-position", "0"]));
}

#[test]
fn a_command_with_an_unknown_outcome_prints_how_to_retry_it() {
    // The listener accepts the call and disconnects.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let gone = std::thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        let mut preface = [0; 24];
        std::io::Read::read_exact(&mut client, &mut preface).unwrap();
    });
    let register = ["customer", "register", "ann", "Ann", "--request-id", "r-7"];
    let output = orderlog()
        .args(register)
        .args(["--server", &url])
        .output()
        .unwrap();
    gone.join().unwrap();
    let error = failed(&output, 1);
    assert!(error.contains("--request-id r-7"), "{error}");
}
