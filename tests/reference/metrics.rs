//! Generates `docs/reference/metrics.md`, with every metric.

use std::fmt::Write as _;

const OPENING: &str = "# Metrics

`tests/reference` makes this page from `crates/telemetry/src/metrics.rs`. Change that, then run
`UPDATE_REFERENCE=1 cargo test --test reference`.

The node serves its metrics at `/metrics` of `--metrics-listen`, in the text format of Prometheus.
[Operations](../guide/operations.md) has the labels of each metric, its normal values, and what to do about
others.

| metric | kind | meaning |
|---|---|---|
";

pub(crate) fn page() -> String {
    let mut page = OPENING.to_owned();
    for (name, kind, description) in telemetry::metrics::catalogue() {
        writeln!(page, "| `{name}` | {kind} | {description} |").unwrap();
    }
    page
}
