//! What measured values come to.

use std::time::Duration;

/// The value that as many lie below as above.
pub(crate) fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}

/// The value that a share of the values lies at or below.
pub(crate) fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let index = (sorted.len() as f64 * share).ceil() as usize;
    sorted[index.saturating_sub(1).min(sorted.len() - 1)]
}

/// Milliseconds.
pub(crate) fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// `label: p50, p99 and the most`, of values in milliseconds.
pub(crate) fn tell_latency(label: &str, values: &[f64]) {
    println!(
        "{label}: p50 {:.2} ms, p99 {:.2} ms, most {:.2} ms ({} times)",
        median(values),
        quantile(values, 0.99),
        quantile(values, 1.0),
        values.len()
    );
}

/// Each value, and the median of all.
pub(crate) fn tell_rates(label: &str, values: &[f64]) {
    let each: Vec<_> = values.iter().map(|value| format!("{value:.0}")).collect();
    println!(
        "{label}: {:.0} a second ({})",
        median(values),
        each.join(", ")
    );
}
