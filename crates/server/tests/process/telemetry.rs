//! Tests of the metrics, in the format of Prometheus.

use std::{collections::BTreeMap, path::Path, process::Command};

use contract::orders::v1::*;
use e2e::Process;
use test_support::{order, request::follow, sqlite, wait_until};

use crate::{
    access::{secure, token},
    binary::{failed, orderlog, start},
};

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
pub(crate) async fn make_calls(process: &Process) -> u64 {
    let mut clients = process.clients().await;
    let mut create = order::create("o-1", "ann");
    // Without a request id, each call is a new command.
    create.request_id.clear();
    clients.create_order(create.clone()).await.unwrap();
    clients.create_order(create).await.unwrap_err();
    let invalid = clients.create_order(order::create("o 2", "ann")).await;
    invalid.unwrap_err();
    let create = order::create("o-3", "ann");
    let command = ExecuteCommandsRequest {
        command: Some(execute_commands_request::Command::CreateOrder(create)),
    };
    let commands = tokio_stream::iter([command]);
    let answers = clients.commands.execute_commands(commands).await;
    let answer = answers.unwrap().into_inner().message().await;
    answer.unwrap().unwrap();
    let head = clients.head().await;
    clients.order("o-1", head).await;
    clients.search("ann", head).await.unwrap();
    head
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_count_commands_and_calls_and_report_the_state_of_projections() {
    let folder = tempfile::tempdir().unwrap();
    let process = start(folder.path());
    let head = make_calls(&process).await as f64;
    let mut clients = process.clients().await;
    let stream = clients.subscribe(follow(0)).await.unwrap();
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
async fn calls_of_unknown_methods_share_one_metric() {
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
async fn the_lag_of_a_blocked_projection_grows() {
    let folder = tempfile::tempdir().unwrap();
    let process = start(folder.path());
    make_calls(&process).await;
    // The transaction blocks all other writers of the documents.
    let mut other = sqlite::open(&folder.path().join("read.db")).await;
    sqlx::raw_sql("BEGIN IMMEDIATE")
        .execute(&mut other)
        .await
        .unwrap();
    let mut clients = process.clients().await;
    clients.create_many("later", 10).await;
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
    wait_until("the lag grows", async || {
        let now = lag().await.1;
        now.iter().zip(first).all(|(now, first)| *now > first + 3.0)
    })
    .await;
    sqlx::raw_sql("ROLLBACK").execute(&mut other).await.unwrap();
    wait_until("the lag is 0", async || lag().await == ([0.0; 2], [0.0; 2])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_projection_whose_tables_are_missing_is_failing() {
    let folder = tempfile::tempdir().unwrap();
    let process = start(folder.path());
    make_calls(&process).await;
    let documents = folder.path().join("read.db");
    let of =
        async |name: &str| metrics(&process).await[&format!(r#"{name}{{projection="documents"}}"#)];
    // At first, only calls for the status read this table.
    sqlite::run(&documents, "ALTER TABLE parked RENAME TO parked_away").await;
    wait_until("the documents are failing", async || {
        of("orderlog_projection_failing").await == 1.0
    })
    .await;
    // The projection itself fails on this table.
    sqlite::run(&documents, "ALTER TABLE orders RENAME TO orders_away").await;
    process.clients().await.create("later").await;
    wait_until("the lag grows", async || {
        of("orderlog_projection_lag_seconds").await > 5.0
    })
    .await;
}

/// Builds a command that serves metrics to other machines.
fn serve_metrics_beyond_this_machine(data_dir: &Path) -> Command {
    let mut serve = orderlog();
    serve.args(["serve", "--listen", "127.0.0.1:0"]);
    serve.args(["--metrics-listen", "0.0.0.0:0", "--data-dir"]);
    serve.arg(data_dir);
    serve
}

#[test]
fn metrics_beyond_this_machine_are_refused_without_tls_and_credentials() {
    let folder = tempfile::tempdir().unwrap();
    let mut serve = serve_metrics_beyond_this_machine(folder.path());
    let error = failed(&serve.output().unwrap(), 2);
    assert!(
        error.starts_with("error: --metrics-listen (flag): \"0.0.0.0:0\" is not"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_beyond_this_machine_need_a_token_with_the_role_operate() {
    let folder = tempfile::tempdir().unwrap();
    let tokens = folder.path().join("tokens");
    let (operator, other) = (token(&tokens, &["operate"]), token(&tokens, &["query"]));
    let mut serve = serve_metrics_beyond_this_machine(&folder.path().join("data"));
    let authority = secure(&mut serve, folder.path());
    let process: Process = serve.into();
    let (_, port) = process.metrics().rsplit_once(':').unwrap();
    let authority = reqwest::Certificate::from_pem(authority.pem().as_bytes()).unwrap();
    let client = reqwest::Client::builder().add_root_certificate(authority);
    let client = client.build().unwrap();
    let status = async |token: &str| {
        let request = client.get(format!("https://localhost:{port}/metrics"));
        let answer = request.bearer_auth(token).send().await.unwrap();
        answer.status().as_u16()
    };
    assert_eq!(status(&operator).await, 200);
    assert_eq!(status(&other).await, 403);
    assert_eq!(status("wrong").await, 401);
    let plain = reqwest::get(format!("http://localhost:{port}/metrics")).await;
    assert!(plain.is_err(), "{plain:?}");
}
