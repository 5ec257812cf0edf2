//! Checks that the pages of `docs/reference`, which are generated from code, are current.
//!
//! `UPDATE_REFERENCE=1 cargo test --test reference` writes them.

#![cfg(test)]

mod contract;
mod errors;
mod limits;
mod metrics;
mod settings;

use std::{env, fs, path::Path};

/// Checks that the file equals the generated page. With `UPDATE_REFERENCE` set, writes the file
/// first.
fn is_current(name: &str, page: &str) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let file = root.join("docs/reference").join(name);
    if env::var_os("UPDATE_REFERENCE").is_some() {
        fs::write(&file, page).unwrap();
    }
    let written = fs::read_to_string(&file).unwrap_or_default();
    assert!(
        written == page,
        "docs/reference/{name} is not current: UPDATE_REFERENCE=1 cargo test --test reference"
    );
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
