//! End-to-end tests, one module per topic: each drives a real server on a real socket through the
//! contract.
//!
//! A test that needs more than a Rust toolchain and a C compiler is ignored and names its
//! requirement. `CONTRIBUTING.md` explains how to run it.

#![cfg(test)]

mod access;
mod commands;
mod console;
mod contract;
mod database;
mod evolution;
mod example;
mod faults;
mod health;
mod history;
mod limits;
mod losses;
mod newer_clients;
mod operations;
mod postgres;
mod queries;
mod raw;
mod real_meilisearch;
mod refusals;
mod roles;
mod stream;
mod tls;
mod watch;
mod web;
