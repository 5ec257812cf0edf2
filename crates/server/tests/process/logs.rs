//! Tests of the log of the process.

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Stdio},
};

use contract::orders::v1::ShipOrderRequest;
use e2e::Clients;
use serde_json::Value;
use test_support::{order, request, sqlite};
use tonic_types::StatusExt as _;

use crate::binary::{serve, start};

/// The trace id of calls.
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

/// A server that logs JSON. Dropping this value kills the process.
struct Logging {
    child: Child,
    lines: Box<dyn Iterator<Item = Value>>,
    address: String,
}

impl Logging {
    fn start(data_dir: &Path) -> Self {
        let mut serve = serve(data_dir);
        serve.args(["--log-format", "json"]).stderr(Stdio::piped());
        let mut child = serve.spawn().unwrap();
        let log = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut lines = log.map(|line| {
            let line: Value = serde_json::from_str(&line.unwrap()).unwrap();
            assert!(line["timestamp"].is_string(), "{line}");
            assert!(line["level"].is_string(), "{line}");
            line
        });
        let serving = lines.find(|line| line["message"] == "serving").unwrap();
        Self {
            child,
            lines: Box::new(lines),
            address: serving["address"].as_str().unwrap().to_owned(),
        }
    }

    /// Returns the next line with this value of a field.
    fn next_with(&mut self, field: &str, value: &str) -> Value {
        self.lines.find(|line| line[field] == value).unwrap()
    }
}

impl Drop for Logging {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

#[test]
fn each_line_of_a_json_log_is_an_object_with_time_and_level() {
    let folder = tempfile::tempdir().unwrap();
    let server = Logging::start(folder.path());
    assert!(server.address.starts_with("127.0.0.1:"));
}

/// Makes the event and the document of `o-1` unreadable, which are the first.
async fn corrupt(data_dir: &Path) {
    let log = data_dir.join("events.db");
    sqlite::unlock(&log).await;
    sqlite::run(
        &log,
        "UPDATE events SET record = X'FFFF' WHERE position = 1",
    )
    .await;
    let documents = data_dir.join("read.db");
    sqlite::run(&documents, "UPDATE orders SET body = X'FFFF' WHERE row = 1").await;
}

/// Adds a trace context with the id [`TRACE`] to a call.
fn traced<T>(message: T) -> tonic::Request<T> {
    let mut call = tonic::Request::new(message);
    let traceparent = format!("00-{TRACE}-b7ad6b7169203331-01");
    let headers = call.metadata_mut();
    headers.insert("traceparent", traceparent.parse().unwrap());
    call
}

#[tokio::test(flavor = "multi_thread")]
async fn an_internal_error_is_in_the_log_with_its_incident_request_and_trace_id() {
    let folder = tempfile::tempdir().unwrap();
    let process = start(folder.path());
    let mut clients = process.clients().await;
    clients.create("o-1").await;
    // The documents are compared with the newest event, which stays as it is.
    let position = clients.create("o-2").await;
    clients.order("o-2", position).await;
    assert_eq!(process.shut_down().await, Some(0));
    corrupt(folder.path()).await;
    let mut server = Logging::start(folder.path());
    let url = format!("http://{}", server.address);
    let mut clients = Clients::connect(&url).await.unwrap();

    for request_id in [Some("ship-1"), None] {
        let ship = ShipOrderRequest {
            request_id: request_id.unwrap_or_default().to_owned(),
            ..order::ship("o-1")
        };
        let failed = clients.ship_order(traced(ship)).await.unwrap_err();
        let info = failed.get_details_error_info().unwrap();
        assert_eq!(info.reason, "INTERNAL");
        let incident = server.next_with("incident", &info.metadata["incident"]);
        let cause = incident["cause"].as_str().unwrap();
        assert!(cause.contains("event 1"), "{cause}");
        let span = &incident["span"];
        assert_eq!(span["request_id"].as_str(), request_id, "{incident}");
        assert_eq!(span["trace"], TRACE, "{incident}");
    }

    let get = traced(request::order("o-1", 0));
    clients.get_order(get).await.unwrap_err();
    let failed = server.next_with("message", "the read model failed");
    let span = &failed["span"];
    assert_eq!(
        span["method"], "orders.v1.QueryService/GetOrder",
        "{failed}"
    );
    assert_eq!(span["trace"], TRACE, "{failed}");
    let peer = span["peer"].as_str().unwrap_or_default();
    assert!(peer.starts_with("127.0.0.1:"), "{failed}");
}
