//! Metrics and traces of a running node, for its operators.
//!
//! - [`metrics`] has a function for each measurement, and the names that Prometheus scrapes.
//!   [`metrics::install`] enables it.
//! - [`trace`] exports spans. Events carry the trace context of their call, so that one trace runs
//!   from the call to the searchable document. [`trace::Export::start`] enables it.
//!
//! Until then, both do nothing, at almost no cost.

pub mod metrics;
pub mod trace;
