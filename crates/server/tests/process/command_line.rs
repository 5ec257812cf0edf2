//! Tests of the command line as a user sees it.

use std::{fs, net::TcpListener, path::Path, process::Output};

use e2e::Process;

use crate::binary::{self, orderlog, start};

fn serve(data_dir: &Path, listen: &str) -> Output {
    let serve = ["serve", "--listen", listen, "--data-dir"];
    orderlog().args(serve).arg(data_dir).output().unwrap()
}

/// Returns the exit code and the only line on standard error.
fn refused(output: &Output) -> (i32, String) {
    let told = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(told.lines().count(), 1, "{told}");
    (output.status.code().unwrap(), told)
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

#[test]
fn a_refused_command_is_one_line_and_exit_code_1() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path());
    let (code, told) = refused(&server.run(["order", "get", "none"]));
    assert_eq!(code, 1);
    assert!(
        told.contains("ORDER_NOT_FOUND") && told.contains("none"),
        "{told}"
    );
    let usage = server.run(["order", "create"]);
    assert_eq!(usage.status.code(), Some(2));
}

#[test]
fn a_port_in_use_is_one_line_and_exit_code_1() {
    let folder = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (code, told) = refused(&serve(folder.path(), &address));
    assert_eq!(code, 1);
    assert!(told.contains(&address), "{told}");
    assert_eq!(
        fs::read_dir(folder.path()).unwrap().count(),
        0,
        "nothing was touched"
    );
}

#[test]
fn a_data_folder_of_another_process_is_one_line_and_exit_code_1() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path());
    let (code, told) = refused(&serve(folder.path(), "127.0.0.1:0"));
    assert_eq!(code, 1);
    assert!(told.contains("in use by another process"), "{told}");
    server.ask(["status"]);
}

#[test]
fn a_log_elsewhere_belongs_to_one_process_too() {
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
    let (code, told) = refused(&serve("two").output().unwrap());
    assert_eq!(code, 1);
    assert!(told.contains("in use by another process"), "{told}");
    drop(server);
    let server = Process::from(serve("two"));
    assert!(server.ask(["status"]).contains("documents"));
    assert!(folder.path().join("logs/log.db").exists());
}

#[test]
fn a_database_that_cannot_be_reached_is_one_line_without_its_password() {
    let folder = tempfile::tempdir().unwrap();
    let url = "postgres://ann:secret@127.0.0.1:1/orders";
    let output = orderlog()
        .args(["serve", "--listen", "127.0.0.1:0", "--database-url", url])
        .arg("--data-dir")
        .arg(folder.path())
        .output()
        .unwrap();
    let (code, told) = refused(&output);
    assert_eq!(code, 1);
    assert!(told.contains("postgres://ann@127.0.0.1:1/orders"), "{told}");
    assert!(!told.contains("secret"), "{told}");
}

#[test]
fn a_file_that_is_no_database_is_one_line_and_exit_code_1_and_left_alone() {
    // The second file takes the name of the first generation of documents. A link named `read.db`
    // leads to it.
    for (name, told_name) in [("events.db", "events.db"), ("read.db", "read-1.db")] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        fs::write(&path, "dear diary, ".repeat(1000)).unwrap();
        let (code, told) = refused(&serve(folder.path(), "127.0.0.1:0"));
        assert_eq!(code, 1);
        assert!(
            told.contains(told_name) && told.contains("not a database"),
            "{told}"
        );
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            "dear diary, ".repeat(1000)
        );
    }
}

#[test]
fn a_wrong_setting_is_one_line_that_names_it_and_exit_code_2() {
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
        let (code, told) = refused(&output);
        assert_eq!(code, 2);
        assert!(told.contains(name) && told.contains(value), "{told}");
    }
    let (code, told) = refused(&serve(folder.path(), "0.0.0.0:0"));
    assert_eq!(code, 2, "{told}");
    assert!(
        !folder.path().join("new").exists(),
        "before anything was made"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn status_tells_scripts_whether_a_node_is_ready() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path());
    test_support::eventually("it is ready", async || {
        let ready = server.run(["status", "--ready"]);
        ready.status.success().then_some(())
    })
    .await;
    let mut waits = binary::serve(&folder.path().join("replica"));
    waits.args(["--roles", "query", "--events-url", "http://127.0.0.1:1"]);
    let waits = Process::from(waits);
    let (code, told) = refused(&waits.run(["status", "--ready"]));
    assert_eq!(
        (code, told.trim()),
        (1, "error: not ready: orders.v1.QueryService")
    );
}

#[test]
fn a_node_for_queries_shows_what_was_written_at_another_and_says_what_it_does_not_serve() {
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
    let (code, told) = refused(&reads.run(["order", "history", "o-1"]));
    assert_eq!(code, 1);
    assert!(told.contains("has another role"), "{told}");
    drop(writes);
    let output = reads.run(["order", "get", "o-1", "--min-position", "0"]);
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn a_command_whose_outcome_is_unknown_tells_how_to_send_it_again() {
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
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("--request-id r-7"), "{told}");
}
