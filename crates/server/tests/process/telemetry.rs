//! Tests of the metrics, in the format of Prometheus, and of the logs.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::Stdio,
};

use contract::orders::v1::*;
use e2e::{Clients, Process};
use sqlx::{ConnectOptions as _, sqlite::SqliteConnectOptions};
use test_support::{Authority, DEADLINE, eventually, order};
use tonic_types::StatusExt as _;

use crate::binary::{orderlog, serve, start};

/// Returns the metrics of a process in the text format of Prometheus.
pub(crate) async fn scrape(process: &Process) -> String {
    let url = format!("http://{}/metrics", process.metrics());
    let answer = reqwest::get(url).await.unwrap();
    assert_eq!(
        answer.headers()["content-type"],
        "text/plain; version=0.0.4; charset=utf-8"
    );
    answer.text().await.unwrap()
}

/// Returns the metrics of a process. Each key is a name with its labels, exactly as served.
async fn metrics(process: &Process) -> BTreeMap<String, f64> {
    let text = scrape(process).await;
    let samples = text
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty());
    samples
        .map(|line| {
            let (name, value) = line.rsplit_once(' ').unwrap();
            (name.to_owned(), value.parse().unwrap())
        })
        .collect()
}

/// Makes some calls of each kind and returns the head.
pub(crate) async fn use_it(process: &Process) -> u64 {
    let mut clients = process.clients().await;
    let mut create = order::create("o-1", "ann");
    // Without a request id, each call is a new command.
    create.request_id.clear();
    clients.commands.create_order(create.clone()).await.unwrap();
    clients.commands.create_order(create).await.unwrap_err();
    clients
        .commands
        .create_order(order::create("o 2", "ann"))
        .await
        .unwrap_err();
    let command = ExecuteCommandsRequest {
        command: Some(execute_commands_request::Command::CreateOrder(
            order::create("o-3", "ann"),
        )),
    };
    let answers = clients
        .commands
        .execute_commands(tokio_stream::iter([command]))
        .await;
    answers
        .unwrap()
        .into_inner()
        .message()
        .await
        .unwrap()
        .unwrap();
    let head = clients.head().await;
    clients.order("o-1", head).await;
    let search = SearchOrdersRequest {
        query: "ann".to_owned(),
        min_position: head,
        max_wait: Some(prost_types::Duration {
            seconds: 30,
            nanos: 0,
        }),
        ..SearchOrdersRequest::default()
    };
    clients.queries.search_orders(search).await.unwrap();
    head
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_tell_what_happened_and_how_it_stands() {
    let folder = tempfile::tempdir().unwrap();
    let process = start(folder.path());
    let head = use_it(&process).await as f64;
    let mut clients = process.clients().await;
    let follow = SubscribeRequest {
        follow: true,
        ..SubscribeRequest::default()
    };
    let stream = clients.events.subscribe(follow).await.unwrap();
    let seen = metrics(&process).await;
    let value = |name: &str| {
        *seen
            .get(name)
            .unwrap_or_else(|| panic!("{name}: {seen:#?}"))
    };
    let commands = |outcome: &str| {
        value(&format!(
            r#"orderlog_commands_total{{command="CreateOrder",outcome="{outcome}"}}"#
        ))
    };
    assert_eq!(commands("OK"), 2.0);
    assert_eq!(commands("ORDER_ALREADY_EXISTS"), 1.0);
    assert_eq!(commands("INVALID_FIELD"), 1.0);
    let calls = |method: &str, status: &str| {
        let labels = format!(r#"{{method="orders.v1.{method}",status="{status}"}}"#);
        value(&format!("orderlog_call_duration_seconds_count{labels}"))
    };
    assert_eq!(calls("CommandService/CreateOrder", "OK"), 1.0);
    assert_eq!(calls("CommandService/CreateOrder", "INVALID_ARGUMENT"), 1.0);
    assert_eq!(calls("QueryService/SearchOrders", "OK"), 1.0);
    assert_eq!(value("orderlog_log_head_position"), head);
    assert_eq!(value("orderlog_log_available"), 1.0);
    assert_eq!(
        value("orderlog_subscribers"),
        2.0,
        "ours and the projector's"
    );
    for projection in ["documents", "search"] {
        let of = |name: &str| value(&format!(r#"{name}{{projection="{projection}"}}"#));
        assert_eq!(of("orderlog_projection_position"), head);
        assert_eq!(of("orderlog_projection_lag_events"), 0.0);
        assert_eq!(of("orderlog_projection_lag_seconds"), 0.0);
        assert_eq!(of("orderlog_projection_failing"), 0.0);
        assert_eq!(of("orderlog_parked_aggregates"), 0.0);
    }
    assert!(value("orderlog_connections") >= 1.0);
    drop(stream);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_clients_make_up_makes_no_new_metrics() {
    let folder = tempfile::tempdir().unwrap();
    let process = start(folder.path());
    let client = reqwest::Client::new();
    for index in 0..100 {
        let url = format!("{}/made.up.Service/Method{index}", process.url());
        let call = client
            .post(url)
            .header("content-type", "application/grpc-web+proto");
        call.send().await.unwrap();
    }
    let seen = metrics(&process).await;
    let made_up =
        r#"orderlog_call_duration_seconds_count{method="unknown",status="UNIMPLEMENTED"}"#;
    assert_eq!(seen[made_up], 100.0);
    assert!(
        !seen.keys().any(|name| name.contains("made.up")),
        "{seen:#?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lag_of_a_projection_that_stands_still_grows() {
    let folder = tempfile::tempdir().unwrap();
    let process = start(folder.path());
    use_it(&process).await;
    // The transaction blocks all other writers of the documents.
    let documents = SqliteConnectOptions::new().filename(folder.path().join("read.db"));
    let mut other = documents.busy_timeout(DEADLINE).connect().await.unwrap();
    sqlx::raw_sql("BEGIN IMMEDIATE")
        .execute(&mut other)
        .await
        .unwrap();
    let mut clients = process.clients().await;
    for index in 0..10 {
        let create = order::create(&format!("later-{index}"), "ann");
        clients.commands.create_order(create).await.unwrap();
    }
    let lag = async || {
        let seen = metrics(&process).await;
        let of = |name: &str| {
            ["documents", "search"].map(|of| seen[&format!(r#"{name}{{projection="{of}"}}"#)])
        };
        (
            of("orderlog_projection_lag_events"),
            of("orderlog_projection_lag_seconds"),
        )
    };
    let (events, first) = lag().await;
    assert_eq!(events, [10.0; 2]);
    eventually("the lag grows", async || {
        let now = lag().await.1;
        let grow = now.iter().zip(first).all(|(now, first)| *now > first + 3.0);
        grow.then_some(())
    })
    .await;
    sqlx::raw_sql("ROLLBACK").execute(&mut other).await.unwrap();
    eventually("the lag goes", async || {
        (lag().await == ([0.0; 2], [0.0; 2])).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_that_cannot_be_read_are_failing() {
    let folder = tempfile::tempdir().unwrap();
    let process = start(folder.path());
    use_it(&process).await;
    let documents = SqliteConnectOptions::new().filename(folder.path().join("read.db"));
    let mut other = documents.busy_timeout(DEADLINE).connect().await.unwrap();
    let mut damage = async |sql: &'static str| {
        sqlx::raw_sql(sql).execute(&mut other).await.unwrap();
    };
    let of =
        async |name: &str| metrics(&process).await[&format!(r#"{name}{{projection="documents"}}"#)];
    // At first, only calls for the status read this table.
    damage("ALTER TABLE parked RENAME TO parked_away").await;
    eventually("it is failing", async || {
        (of("orderlog_projection_failing").await == 1.0).then_some(())
    })
    .await;
    // The projection itself fails on this table.
    damage("ALTER TABLE orders RENAME TO orders_away").await;
    let mut clients = process.clients().await;
    let create = order::create("later", "ann");
    clients.commands.create_order(create).await.unwrap();
    eventually("it is more and more behind", async || {
        (of("orderlog_projection_lag_seconds").await > 5.0).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn beyond_this_machine_metrics_are_for_those_who_operate() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    let authority = Authority::new();
    let (cert, key) = authority.certificate("localhost");
    fs::write(file("cert"), cert).unwrap();
    fs::write(file("key"), key).unwrap();
    let token = |role: &str| {
        let mut new = orderlog();
        new.args(["token", "new", "--role", role, "--tokens"])
            .arg(file("tokens"));
        String::from_utf8(new.output().unwrap().stdout)
            .unwrap()
            .trim()
            .to_owned()
    };
    let (operator, other) = (token("operate"), token("query"));
    let mut serve = orderlog();
    serve.args([
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--metrics-listen",
        "0.0.0.0:0",
    ]);
    serve.arg("--data-dir").arg(file("data"));
    let refused = serve.output().unwrap();
    assert_eq!(refused.status.code(), Some(2));
    let told = String::from_utf8(refused.stderr).unwrap();
    assert!(
        told.starts_with("error: --metrics-listen (flag): \"0.0.0.0:0\" is not"),
        "{told}"
    );

    for (flag, name) in [
        ("--tls-cert", "cert"),
        ("--tls-key", "key"),
        ("--tokens", "tokens"),
    ] {
        serve.arg(flag).arg(file(name));
    }
    let process: Process = serve.into();
    let (_, port) = process.metrics().rsplit_once(':').unwrap();
    let authority = reqwest::Certificate::from_pem(authority.pem().as_bytes()).unwrap();
    let client = reqwest::Client::builder()
        .add_root_certificate(authority)
        .build()
        .unwrap();
    let status = async |token: &str| {
        let request = client.get(format!("https://localhost:{port}/metrics"));
        request
            .bearer_auth(token)
            .send()
            .await
            .unwrap()
            .status()
            .as_u16()
    };
    assert_eq!(status(&operator).await, 200);
    assert_eq!(status(&other).await, 403);
    assert_eq!(status("wrong").await, 401);
    let plain = reqwest::get(format!("http://localhost:{port}/metrics")).await;
    assert!(plain.is_err(), "{plain:?}");
}

#[test]
fn logs_are_json_for_machines() {
    let folder = tempfile::tempdir().unwrap();
    let mut serve = serve(folder.path());
    serve.args(["--log-format", "json"]);
    let mut child = serve.stderr(Stdio::piped()).spawn().unwrap();
    let log = BufReader::new(child.stderr.take().unwrap());
    let serving = log.lines().find_map(|line| {
        let line: serde_json::Value = serde_json::from_str(&line.unwrap()).unwrap();
        assert!(
            line["timestamp"].is_string() && line["level"].is_string(),
            "{line}"
        );
        (line["message"] == "serving").then_some(line)
    });
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(
        serving.unwrap()["address"]
            .as_str()
            .unwrap()
            .starts_with("127.0.0.1:")
    );
}

/// Runs `sql` on a file, outside the server.
async fn change(file: &Path, sql: &'static str) {
    let mut file = SqliteConnectOptions::new()
        .filename(file)
        .connect()
        .await
        .unwrap();
    sqlx::raw_sql(sql).execute(&mut file).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_in_the_log_is_found_by_what_the_client_was_told() {
    let folder = tempfile::tempdir().unwrap();
    let process = start(folder.path());
    let mut clients = process.clients().await;
    let created = clients
        .commands
        .create_order(order::create("o-1", "ann"))
        .await;
    clients
        .order("o-1", created.unwrap().into_inner().position)
        .await;
    assert_eq!(tokio::task::block_in_place(|| process.terminate()), Some(0));
    let log = folder.path().join("events.db");
    change(
        &log,
        "DROP TRIGGER events_are_never_changed; UPDATE events SET record = X'FFFF'",
    )
    .await;
    let documents = folder.path().join("read.db");
    change(&documents, "UPDATE orders SET body = X'FFFF'").await;

    let mut serve = serve(folder.path());
    serve.args(["--log-format", "json"]);
    let mut child = serve.stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap())
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(&line.unwrap()).unwrap());
    let serving = lines.find(|line| line["message"] == "serving").unwrap();
    let url = format!("http://{}", serving["address"].as_str().unwrap());
    let mut clients = Clients::connect(&url).await.unwrap();

    let broken = clients.commands.ship_order(order::ship("o-1")).await;
    let details = broken.unwrap_err().get_error_details();
    let info = details.error_info().unwrap();
    assert_eq!(info.reason, "INTERNAL");
    let incident = lines.find(|line| line["incident"] == info.metadata["incident"]);
    let cause = incident.unwrap()["cause"].as_str().unwrap().to_owned();
    assert!(cause.contains("event 1"), "{cause}");

    let get = GetOrderRequest {
        order_id: "o-1".into(),
        ..GetOrderRequest::default()
    };
    let mut get = tonic::Request::new(get);
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let traceparent = format!("00-{trace}-b7ad6b7169203331-01");
    let headers = get.metadata_mut();
    headers.insert("traceparent", traceparent.parse().unwrap());
    clients.queries.get_order(get).await.unwrap_err();
    let failed = lines
        .find(|line| line["message"] == "the read model failed")
        .unwrap();
    let span = &failed["span"];
    assert_eq!(
        span["method"], "orders.v1.QueryService/GetOrder",
        "{failed}"
    );
    assert_eq!(span["trace"], trace, "{failed}");
    let peer = span["peer"].as_str().unwrap_or_default();
    assert!(peer.starts_with("127.0.0.1:"), "{failed}");
    child.kill().unwrap();
    child.wait().unwrap();
}
