//! What operators see: metrics as Prometheus reads them, traces as a collector gets them, logs.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::Stdio,
    sync::Arc,
    time::Duration,
};

use contract::orders::v1::*;
use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    trace::v1::Span,
};
use sqlx::{ConnectOptions as _, sqlite::SqliteConnectOptions};
use testkit::{Authority, DEADLINE, Process, eventually, order};
use tokio::{net::TcpListener, sync::Mutex};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status, transport::Server};

use crate::binary::{orderlog, start};

/// The metrics of a process, as Prometheus reads them.
pub(crate) async fn scrape(process: &Process) -> String {
    let url = format!("http://{}/metrics", process.metrics());
    let answer = reqwest::get(url).await.unwrap();
    assert_eq!(
        answer.headers()["content-type"],
        "text/plain; version=0.0.4; charset=utf-8"
    );
    answer.text().await.unwrap()
}

/// The metrics of a process: each with its labels, as they are written, and its value.
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

/// Some of each kind of call.
pub(crate) async fn use_it(process: &Process) -> u64 {
    let mut clients = process.clients().await;
    let mut create = order::create("o-1", "ann");
    // A command of its own each time.
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
    // Nobody else can write the documents now.
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
    // What only whoever asks meets, at first.
    damage("ALTER TABLE parked RENAME TO parked_away").await;
    eventually("it is failing", async || {
        (of("orderlog_projection_failing").await == 1.0).then_some(())
    })
    .await;
    // What it meets itself, again and again.
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

/// What an OpenTelemetry collector is to its senders.
#[derive(Debug, Clone, Default)]
struct Collector(Arc<Mutex<Vec<Span>>>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let mut spans = self.0.lock().await;
        for resource in request.into_inner().resource_spans {
            for scope in resource.scope_spans {
                spans.extend(scope.spans);
            }
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Collector {
    async fn start() -> (Self, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let collector = Self::default();
        let server = Server::builder().add_service(TraceServiceServer::new(collector.clone()));
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        (collector, url)
    }

    /// The spans of a trace, by name.
    async fn trace(&self, id: &[u8]) -> BTreeMap<String, Span> {
        let spans = self.0.lock().await;
        let of_it = spans.iter().filter(|span| span.trace_id == id);
        of_it
            .map(|span| (span.name.clone(), span.clone()))
            .collect()
    }
}

fn serve_traced(data_dir: &Path, collector: &str) -> Process {
    let mut serve = orderlog();
    serve.args([
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--metrics-listen",
        "127.0.0.1:0",
    ]);
    serve
        .args(["--otlp-endpoint", collector, "--data-dir"])
        .arg(data_dir);
    serve.env("OTEL_BSP_SCHEDULE_DELAY", "50");
    serve.into()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_trace_runs_from_the_call_to_the_document_that_can_be_searched() {
    let folder = tempfile::tempdir().unwrap();
    let (collector, url) = Collector::start().await;
    let process = serve_traced(folder.path(), &url);
    let mut clients = process.clients().await;
    let (trace_id, parent) = ([0xab; 16], [0xcd; 8]);
    let traced = |id: &str, trace: &str, flags: &str| {
        let mut request = Request::new(order::create(id, "ann"));
        let value = format!("00-{}-{}-{flags}", trace.repeat(16), "cd".repeat(8));
        request
            .metadata_mut()
            .insert("traceparent", value.parse().unwrap());
        request
    };
    // Whoever calls has decided that this one is not collected.
    clients
        .commands
        .create_order(traced("o-0", "ee", "00"))
        .await
        .unwrap();
    let created = clients
        .commands
        .create_order(traced("o-1", "ab", "01"))
        .await;
    let position = created.unwrap().into_inner().position;
    let method = "orders.v1.CommandService/CreateOrder";
    let names = ["append", "index", method, "project", "stream"];
    let spans = eventually("all spans are there", async || {
        let spans = collector.trace(&trace_id).await;
        (spans.len() == names.len()).then_some(spans)
    })
    .await;
    assert_eq!(spans.keys().collect::<Vec<_>>(), names);
    let call = &spans[method];
    assert_eq!(call.parent_span_id, parent);
    for name in ["append", "stream", "project", "index"] {
        let span = &spans[name];
        assert_eq!(span.parent_span_id, call.span_id, "{name}");
        assert!(
            span.start_time_unix_nano <= span.end_time_unix_nano,
            "{span:?}"
        );
        assert!(
            span.end_time_unix_nano >= call.start_time_unix_nano,
            "{span:?}"
        );
    }
    // Whoever follows the log can go on with it.
    let history = GetOrderHistoryRequest {
        order_id: "o-1".to_owned(),
    };
    let history = clients
        .events
        .get_order_history(history)
        .await
        .unwrap()
        .into_inner();
    let hex: String = call
        .span_id
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(history.events[0].position, position);
    assert_eq!(
        history.events[0].traceparent,
        format!("00-{}-{hex}-01", "ab".repeat(16))
    );

    // A call that comes without one begins a trace, and what is left is sent at the end.
    clients.events.get_head(GetHeadRequest {}).await.unwrap();
    assert_eq!(process.terminate(), Some(0));
    assert!(collector.trace(&[0xee; 16]).await.is_empty());
    let all = collector.0.lock().await;
    let head = all
        .iter()
        .find(|span| span.name == "orders.v1.EventService/GetHead");
    assert!(head.unwrap().parent_span_id.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_away_or_silent_holds_nothing_up() {
    let folder = tempfile::tempdir().unwrap();
    // It takes connections, and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let process = serve_traced(folder.path(), &url);
    use_it(&process).await;
    let began = tokio::time::Instant::now();
    assert_eq!(process.terminate(), Some(0));
    assert!(
        began.elapsed() < Duration::from_secs(20),
        "{:?}",
        began.elapsed()
    );
}

#[test]
fn logs_are_json_for_machines() {
    let folder = tempfile::tempdir().unwrap();
    let mut serve = orderlog();
    serve.args([
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--metrics-listen",
        "127.0.0.1:0",
    ]);
    serve
        .args(["--log-format", "json", "--data-dir"])
        .arg(folder.path());
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
