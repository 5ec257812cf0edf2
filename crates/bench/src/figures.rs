//! Statistics over measured values, and their output.

use std::time::Duration;

/// Returns the median.
pub(crate) fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}

/// Returns the smallest value that at least `share` of the values does not exceed.
pub(crate) fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let index = (sorted.len() as f64 * share).ceil() as usize;
    sorted[index.saturating_sub(1).min(sorted.len() - 1)]
}

/// Converts a duration to milliseconds.
pub(crate) fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// Prints p50, p99, the maximum and the count of values in milliseconds.
pub(crate) fn tell_latency(label: &str, values: &[f64]) {
    println!(
        "{label}: p50 {:.2} ms, p99 {:.2} ms, most {:.2} ms ({} times)",
        median(values),
        quantile(values, 0.99),
        quantile(values, 1.0),
        values.len()
    );
}

/// Prints the median of the rates and each rate.
pub(crate) fn tell_rates(label: &str, values: &[f64]) {
    let each: Vec<_> = values.iter().map(|value| format!("{value:.0}")).collect();
    println!(
        "{label}: {:.0} a second ({})",
        median(values),
        each.join(", ")
    );
}
