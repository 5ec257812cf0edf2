//! The metrics that Prometheus scrapes. `docs/guide/operations.md` explains them to operators.

use std::time::Duration;

use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
/// The reason for which the metrics cannot be enabled.
pub use metrics_exporter_prometheus::BuildError as Error;
/// Renders the metrics in Prometheus's text format.
pub use metrics_exporter_prometheus::PrometheusHandle as Rendered;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};

/// Upper bounds of the duration buckets, in seconds: from a query of data in memory to the longest
/// call.
const DURATION_BUCKETS: [f64; 14] = [
    0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0,
];

/// Upper bounds of the buckets for commands in a batch.
const BATCH_BUCKETS: [f64; 10] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0];

const COMMANDS: &str = "orderlog_commands_total";
const CALLS: &str = "orderlog_call_duration_seconds";
const APPENDS: &str = "orderlog_append_duration_seconds";
const APPENDED: &str = "orderlog_append_batch_commands";
const HEAD: &str = "orderlog_log_head_position";
const DIVERGED: &str = "orderlog_log_divergences_total";
const AVAILABLE: &str = "orderlog_log_available";
const WAITING: &str = "orderlog_commands_waiting";
const CONNECTIONS: &str = "orderlog_connections";
const REFUSED: &str = "orderlog_connections_refused_total";
const SUBSCRIBERS: &str = "orderlog_subscribers";
const WATCHERS: &str = "orderlog_watchers";
const POSITION: &str = "orderlog_projection_position";
const LAG_EVENTS: &str = "orderlog_projection_lag_events";
const LAG_SECONDS: &str = "orderlog_projection_lag_seconds";
const FAILING: &str = "orderlog_projection_failing";
const WAL_BYTES: &str = "orderlog_wal_bytes";
const PARKED: &str = "orderlog_parked_aggregates";
const SEARCH_WRITES: &str = "orderlog_search_write_duration_seconds";
const SEARCH_WRITTEN: &str = "orderlog_search_documents_total";
const SEARCH_FAILED: &str = "orderlog_search_write_failures_total";

/// The counters, with the descriptions that Prometheus shows.
const COUNTERS: [(&str, &str); 5] = [
    (
        COMMANDS,
        "Commands that were answered, by kind and outcome.",
    ),
    (
        DIVERGED,
        "Times that the log went back and lost events that this node had seen.",
    ),
    (
        REFUSED,
        "Connections that were closed immediately, or had to wait: at a limit, without a free file, \
         without TLS, or after refused calls from their address.",
    ),
    (
        SEARCH_WRITTEN,
        "Documents that were written to the search index.",
    ),
    (
        SEARCH_FAILED,
        "Writes to the search index that failed, and are retried.",
    ),
];

/// The gauges, with their descriptions.
const GAUGES: [(&str, &str); 12] = [
    (HEAD, "The newest position of the log."),
    (
        AVAILABLE,
        "1 while the log can be written and read, else 0.",
    ),
    (WAITING, "Queued commands."),
    (CONNECTIONS, "Connections of clients."),
    (SUBSCRIBERS, "Open Subscribe streams."),
    (WATCHERS, "Open WatchOrders streams."),
    (POSITION, "The checkpoint of a projection."),
    (LAG_EVENTS, "Events that a projection is behind the log."),
    (
        LAG_SECONDS,
        "The seconds for which a projection has been behind the log.",
    ),
    (FAILING, "1 while an error stops a projection, else 0."),
    (PARKED, "Parked aggregates."),
    (
        WAL_BYTES,
        "Bytes of the write-ahead log of an SQLite file: of the log, or of the documents.",
    ),
];

/// The histograms, with their descriptions.
const HISTOGRAMS: [(&str, &str); 4] = [
    (CALLS, "Durations of calls by method and status."),
    (
        APPENDS,
        "Durations of batches of commands, from the decision to the commit.",
    ),
    (APPENDED, "Commands in a committed batch."),
    (
        SEARCH_WRITES,
        "Durations of writes to the search index, until searches find them.",
    ),
];

/// Returns the name, the kind and the description of every metric. The source of
/// `docs/reference/metrics.md`.
pub fn catalogue() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    let of_kind = |kind| move |(name, description)| (name, kind, description);
    let counters = COUNTERS.into_iter().map(of_kind("counter"));
    let gauges = GAUGES.into_iter().map(of_kind("gauge"));
    let histograms = HISTOGRAMS.into_iter().map(of_kind("histogram"));
    counters.chain(gauges).chain(histograms)
}

/// Enables the metrics for the whole process.
///
/// # Errors
/// [`Error`] when the process has a recorder already.
pub fn install() -> Result<Rendered, Error> {
    let rendered = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &DURATION_BUCKETS)?
        .set_buckets_for_metric(Matcher::Full(APPENDED.to_owned()), &BATCH_BUCKETS)?
        .install_recorder()?;
    for (name, description) in COUNTERS {
        describe_counter!(name, description);
    }
    for (name, description) in GAUGES {
        describe_gauge!(name, description);
    }
    for (name, description) in HISTOGRAMS {
        describe_histogram!(name, description);
    }
    counter!(SEARCH_FAILED).absolute(0);
    counter!(DIVERGED).absolute(0);
    for reason in ["barred", "limit", "system", "tls"] {
        counter!(REFUSED, "reason" => reason).absolute(0);
    }
    Ok(rendered)
}

/// Counts a command by kind and outcome: `OK`, or the reason of the error.
pub fn command(kind: &'static str, outcome: &'static str) {
    counter!(COMMANDS, "command" => kind, "outcome" => outcome).increment(1);
}

/// Counts that the log went back and lost events that this node had seen.
pub fn log_diverged() {
    counter!(DIVERGED).increment(1);
}

/// Records the duration of a call by method and status.
pub fn call(method: &'static str, status: &'static str, took: Duration) {
    histogram!(CALLS, "method" => method, "status" => status).record(took);
}

/// Records the size and the duration of a committed batch of commands.
pub fn appended(commands: usize, took: Duration) {
    histogram!(APPENDED).record(commands as f64);
    histogram!(APPENDS).record(took);
}

/// Records a write to the search index: its duration and the number of documents.
pub fn indexed(documents: usize, took: Duration) {
    histogram!(SEARCH_WRITES).record(took);
    counter!(SEARCH_WRITTEN).increment(documents as u64);
}

/// Counts a connection that the server closed immediately, for `limit`, `system` or `tls`, or that had
/// to wait, for `barred`.
pub fn connection_refused(reason: &'static str) {
    counter!(REFUSED, "reason" => reason).increment(1);
}

/// Counts a failed write to the search index.
pub fn not_indexed() {
    counter!(SEARCH_FAILED).increment(1);
}

/// The current state of the write side.
#[derive(Debug, Clone, Copy)]
pub struct Log {
    /// The newest position of the log.
    pub head: u64,
    /// True while the log can be written and read.
    pub available: bool,
    /// The number of queued commands.
    pub waiting: usize,
    /// The number of open Subscribe streams.
    pub subscribers: usize,
}

impl Log {
    /// Sets the gauges of the write side.
    pub fn observe(self) {
        gauge!(HEAD).set(self.head as f64);
        gauge!(AVAILABLE).set(f64::from(u8::from(self.available)));
        gauge!(WAITING).set(self.waiting as f64);
        gauge!(SUBSCRIBERS).set(self.subscribers as f64);
    }
}

/// The current state of a projection.
#[derive(Debug, Clone)]
pub struct Projection {
    /// The value of the label `projection`.
    pub name: String,
    /// The projection's checkpoint.
    pub position: u64,
    /// The number of events from the checkpoint to the head of the log.
    pub lag_events: u64,
    /// The time for which the projection has lagged.
    pub lag: Duration,
    /// True while an error stops the projection.
    pub failing: bool,
    /// The number of parked aggregates.
    pub parked: u64,
}

impl Projection {
    /// Sets the gauges of the projection.
    pub fn observe(self) {
        let name = self.name;
        gauge!(POSITION, "projection" => name.clone()).set(self.position as f64);
        gauge!(LAG_EVENTS, "projection" => name.clone()).set(self.lag_events as f64);
        gauge!(LAG_SECONDS, "projection" => name.clone()).set(self.lag.as_secs_f64());
        gauge!(FAILING, "projection" => name.clone()).set(f64::from(u8::from(self.failing)));
        gauge!(PARKED, "projection" => name).set(self.parked as f64);
    }
}

/// Sets the gauges of open connections and, if the node has any, of WatchOrders streams.
pub fn clients(connections: usize, watchers: Option<usize>) {
    gauge!(CONNECTIONS).set(connections as f64);
    if let Some(watchers) = watchers {
        gauge!(WATCHERS).set(watchers as f64);
    }
}

/// Sets the gauge of the write-ahead log of an SQLite file: `events` or `documents`.
pub fn wal(file: &'static str, bytes: u64) {
    gauge!(WAL_BYTES, "file" => file).set(bytes as f64);
}
