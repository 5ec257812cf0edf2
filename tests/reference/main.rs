//! Checks that the pages of `docs/reference`, which are generated from code, are current.
//!
//! `UPDATE_REFERENCE=1 cargo test --test reference` writes them.

#![cfg(test)]

mod contract;
mod errors;
mod limits;
mod metrics;
mod settings;

use test_support::assert_reference;

fn is_current(name: &str, page: &str) {
    assert_reference(name, page, "cargo test --test reference");
}

#[test]
fn contract_page_has_every_message_of_the_descriptors() {
    is_current("contract.md", &contract::page());
}

#[test]
fn errors_page_has_every_error_of_the_catalogue() {
    is_current("errors.md", &errors::page());
}

#[test]
fn settings_page_has_every_row_of_the_table() {
    is_current("settings.md", &settings::page());
}

#[test]
fn limits_page_has_every_limit_on_clients() {
    is_current("limits.md", &limits::page());
}

#[test]
fn metrics_page_has_every_metric() {
    is_current("metrics.md", &metrics::page());
}
