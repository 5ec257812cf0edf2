//! End-to-end tests: a real server on a real socket, driven through the contract. One module a topic.
//!
//! Tests that need more than a Rust toolchain and a C compiler are ignored, and say what they need:
//! `CONTRIBUTING.md` tells how to run them.

#![cfg(test)]

mod access;
mod commands;
mod contract;
mod database;
mod evolution;
mod example;
mod faults;
mod limits;
mod losses;
mod newer_clients;
mod operations;
mod postgres;
mod queries;
mod real_meilisearch;
mod roles;
mod stream;
mod tls;
mod watch;
mod web;
