//! Tests of the traces that an OpenTelemetry collector receives.

use std::{collections::BTreeMap, fs, path::Path, sync::Arc, time::Duration};

use contract::orders::v1::CreateOrderRequest;
use e2e::{Clients, Process};
use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    trace::v1::Span,
};
use server::settings::Caller;
use test_support::{Authority, eventually, order};
use tokio::{net::TcpListener, sync::Mutex};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{
    Request, Response, Status,
    transport::{Identity, Server, ServerTlsConfig},
};

use crate::{
    binary::{orderlog, serve},
    telemetry::make_calls,
};

/// A collector that stores the received spans.
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

    /// Returns the spans of a trace by name.
    async fn trace(&self, id: &[u8]) -> BTreeMap<String, Span> {
        let spans = self.0.lock().await;
        let of_it = spans.iter().filter(|span| span.trace_id == id);
        of_it
            .map(|span| (span.name.clone(), span.clone()))
            .collect()
    }
}

fn serve_traced(data_dir: &Path, collector: &str) -> Process {
    let mut serve = serve(data_dir);
    serve.args(["--otlp-endpoint", collector]);
    serve.env("OTEL_BSP_SCHEDULE_DELAY", "50");
    serve.into()
}

/// Builds a command whose caller belongs to a trace. The trace id repeats one byte.
fn traced(order_id: &str, trace: &str, flags: &str) -> Request<CreateOrderRequest> {
    let mut request = Request::new(order::create(order_id, "ann"));
    let context = format!("00-{}-{}-{flags}", trace.repeat(16), "cd".repeat(8));
    let metadata = request.metadata_mut();
    metadata.insert("traceparent", context.parse().unwrap());
    request
}

#[tokio::test(flavor = "multi_thread")]
async fn one_trace_has_the_spans_from_the_command_to_the_search_index() {
    let folder = tempfile::tempdir().unwrap();
    let (collector, url) = Collector::start().await;
    let process = serve_traced(folder.path(), &url);
    let mut clients = process.clients().await;
    clients.create_order(traced("o", "ab", "01")).await.unwrap();
    let method = "orders.v1.CommandService/CreateOrder";
    let names = ["append", "index", method, "project", "stream"];
    let spans = eventually("all spans are there", async || {
        let spans = collector.trace(&[0xab; 16]).await;
        (spans.len() == names.len()).then_some(spans)
    })
    .await;
    assert_eq!(spans.keys().collect::<Vec<_>>(), names);
    let call = &spans[method];
    assert_eq!(call.parent_span_id, [0xcd; 8]);
    for name in ["append", "stream", "project", "index"] {
        let span = &spans[name];
        assert_eq!(span.parent_span_id, call.span_id, "{name}");
        let (start, end) = (span.start_time_unix_nano, span.end_time_unix_nano);
        assert!(start <= end, "{span:?}");
        assert!(end >= call.start_time_unix_nano, "{span:?}");
    }
    // The event carries the trace context, so that a subscriber can continue the trace.
    let history = clients.order_history("o").await.unwrap();
    let span_id = hex::encode(&call.span_id);
    assert_eq!(
        history[0].traceparent,
        format!("00-{}-{span_id}-01", "ab".repeat(16))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unsampled_trace_is_not_recorded_and_a_call_without_a_trace_begins_one() {
    let folder = tempfile::tempdir().unwrap();
    let (collector, url) = Collector::start().await;
    let process = serve_traced(folder.path(), &url);
    let mut clients = process.clients().await;
    // The flags of this caller say that its trace is not sampled.
    clients.create_order(traced("o", "ee", "00")).await.unwrap();
    clients.head().await;
    // The server flushes pending spans at shutdown.
    assert_eq!(process.shut_down().await, Some(0));
    assert!(collector.trace(&[0xee; 16]).await.is_empty());
    let all = collector.0.lock().await;
    let head = all
        .iter()
        .find(|span| span.name == "orders.v1.EventService/GetHead");
    assert!(head.unwrap().parent_span_id.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_never_answers_delays_neither_calls_nor_the_shutdown() {
    let folder = tempfile::tempdir().unwrap();
    // The collector accepts connections and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let process = serve_traced(folder.path(), &url);
    make_calls(&process).await;
    let began = tokio::time::Instant::now();
    assert_eq!(process.shut_down().await, Some(0));
    assert!(
        began.elapsed() < Duration::from_secs(20),
        "{:?}",
        began.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_with_tls_is_trusted_by_its_authority() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let (cert, key) = authority.certificate("localhost");
    let ca = folder.path().join("ca.pem");
    fs::write(&ca, authority.pem()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!(
        "https://localhost:{}",
        listener.local_addr().unwrap().port()
    );
    let collector = Collector::default();
    let tls = ServerTlsConfig::new().identity(Identity::from_pem(cert, key));
    let mut server = Server::builder().tls_config(tls).unwrap();
    let server = server.add_service(TraceServiceServer::new(collector.clone()));
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));

    let mut serve = serve(&folder.path().join("data"));
    serve.args(["--otlp-endpoint", &url, "--otlp-ca"]).arg(&ca);
    serve.env("OTEL_BSP_SCHEDULE_DELAY", "50");
    let process = Process::from(serve);
    let mut clients = process.clients().await;
    clients
        .commands
        .create_order(traced("o-1", "ab", "01"))
        .await
        .unwrap();
    eventually("the span arrives", async || {
        let spans = collector.trace(&[0xab; 16]).await;
        (!spans.is_empty()).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_call_has_no_span() {
    let folder = tempfile::tempdir().unwrap();
    let (collector, url) = Collector::start().await;
    let tokens = folder.path().join("tokens");
    let mut new = orderlog();
    new.args(["token", "new", "--role", "command", "--tokens"])
        .arg(&tokens);
    let token = String::from_utf8(new.output().unwrap().stdout).unwrap();
    let mut serve = serve(&folder.path().join("data"));
    serve
        .args(["--otlp-endpoint", &url, "--tokens"])
        .arg(&tokens);
    serve.env("OTEL_BSP_SCHEDULE_DELAY", "50");
    let process = Process::from(serve);
    let mut strangers = process.clients().await;
    strangers
        .commands
        .create_order(traced("o-0", "ee", "01"))
        .await
        .unwrap_err();
    let connected = Clients::connect_as(process.url(), &Caller::default(), token.trim()).await;
    let mut clients = connected.unwrap();
    clients
        .commands
        .create_order(traced("o-1", "ab", "01"))
        .await
        .unwrap();
    // The exporter sends spans in their order.
    eventually("the span of the admitted call arrives", async || {
        let spans = collector.trace(&[0xab; 16]).await;
        (!spans.is_empty()).then_some(())
    })
    .await;
    assert!(collector.trace(&[0xee; 16]).await.is_empty());
}
