//! What operators see of orderlog while it runs, beside its logs.
//!
//! [`metrics`] has a function for everything that is measured, and knows the names under which
//! Prometheus finds it. [`trace`] has the spans: one trace runs from a client's call to the document
//! that can be searched, because events carry the context of the call that made them. Both do
//! nothing, at next to no cost, until they are switched on.

pub mod metrics;
pub mod trace;
