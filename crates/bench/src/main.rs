//! The benchmarks.
//!
//! Each starts the real program, `orderlog`, as a process of its own on a new data folder, and
//! measures what is compared in one run, in turns: machines are shared and noisy, so a ratio says
//! more than a figure. [`load`] is the load generator, which must not be what bounds the rate;
//! [`fill`] makes large logs. The rest is one file for each benchmark.
//!
//! `cargo build --release && cargo run --release -p bench -- commands`

mod commands;
mod execute;
mod figures;
mod fill;
mod freshness;
mod load;
mod memory;
mod postgres;
mod program;
mod rebuild;
mod search;
mod stream;
mod subscribers;

use clap::Parser;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures orderlog.
#[derive(Debug, Parser)]
enum Bench {
    /// CreateOrder against an empty call, at 64 and 256 in flight, and one at a time
    Commands {
        /// How long each of six turns takes
        #[arg(long, default_value_t = 4)]
        seconds: u64,
    },
    /// Commands a second through ExecuteCommands
    Execute {
        /// How many
        #[arg(long, default_value_t = 1_000_000)]
        commands: u64,
    },
    /// Catching up from the beginning of the log, against a bare stream of the same bytes
    Stream {
        /// Events in the log
        #[arg(long, default_value_t = 1_000_000)]
        events: u64,
    },
    /// What idle subscribers, and one that never reads, cost commands
    Subscribers {
        /// How many are idle
        #[arg(long, default_value_t = 1000)]
        idle: usize,
        /// How long each of six turns takes
        #[arg(long, default_value_t = 4)]
        seconds: u64,
    },
    /// CreateOrder on Postgres against bare inserts of as many rows, on one node and on two
    Postgres {
        /// How long each of twelve turns takes
        #[arg(long, default_value_t = 4)]
        seconds: u64,
    },
    /// How far documents and search are behind: idle, at shares of the full command rate, and after
    /// the full one
    Freshness {
        /// Orders that are there before
        #[arg(long, default_value_t = 500_000)]
        orders: u64,
        /// How long commands come in at each share
        #[arg(long, default_value_t = 60)]
        seconds: u64,
    },
    /// Rebuilding and verifying: events a second against bare inserts, and memory
    Rebuild {
        /// Orders in the log
        #[arg(long, default_value_t = 1_000_000)]
        orders: u64,
    },
    /// Meilisearch: filling it and searching in it, against the same without anything between; the
    /// `meilisearch` on the path
    Search {
        /// Orders in the index
        #[arg(long, default_value_t = 50_000)]
        orders: u64,
    },
    /// Memory and time to start with a large log
    Memory {
        /// Events in the log
        #[arg(long, default_value_t = 1_000_000)]
        events: u64,
        /// How long commands come in
        #[arg(long, default_value_t = 20)]
        seconds: u64,
    },
}

fn main() {
    let bench = Bench::parse();
    // One thread: more would take time from the server.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        match bench {
            Bench::Commands { seconds } => commands::run(seconds).await,
            Bench::Execute { commands } => execute::run(commands).await,
            Bench::Stream { events } => stream::run(events).await,
            Bench::Subscribers { idle, seconds } => subscribers::run(idle, seconds).await,
            Bench::Postgres { seconds } => postgres::run(seconds).await,
            Bench::Freshness { orders, seconds } => freshness::run(orders, seconds).await,
            Bench::Rebuild { orders } => rebuild::run(orders).await,
            Bench::Search { orders } => search::run(orders).await,
            Bench::Memory { events, seconds } => memory::run(events, seconds).await,
        }
    });
}
