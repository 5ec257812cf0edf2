//! Benchmarks of orderlog.
//!
//! Each benchmark but [`texts`] starts the program `orderlog` as a child process on a new data folder
//! ([`program`]). One run measures all variants in turns and compares them. Machines are shared and
//! noisy, so a ratio says more than a figure.
//!
//! [`fill`] writes large logs. [`load`] generates calls and must never bound the rate. [`figures`]
//! computes and prints medians and quantiles. Every other module is one benchmark.
//!
//! `cargo build --release && cargo run --release -p bench -- commands`

mod commands;
mod direct;
mod execute;
mod figures;
mod fill;
mod freshness;
mod isolation;
mod lists;
mod load;
mod memory;
mod postgres;
mod program;
mod random;
mod rebuild;
mod search;
mod strangers;
mod stream;
mod subscribers;
mod switches;
mod texts;
mod watchers;

use std::path::PathBuf;

use clap::Parser;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measure orderlog
#[derive(Debug, Parser)]
enum Bench {
    /// Compare CreateOrder with an empty call, at 64 and 256 in flight and one at a time
    Commands {
        /// Duration of each of six turns, in seconds
        #[arg(long, default_value_t = 4)]
        seconds: u64,
    },
    /// Measure commands per second through ExecuteCommands
    Execute {
        /// Number of commands
        #[arg(long, default_value_t = 1_000_000)]
        commands: u64,
    },
    /// Compare catching up from the start of the log with a bare stream of the same bytes
    Stream {
        /// Events in the log
        #[arg(long, default_value_t = 1_000_000)]
        events: u64,
    },
    /// Measure the cost to commands of idle subscribers and of one that never reads
    Subscribers {
        /// Number of idle subscribers
        #[arg(long, default_value_t = 1000)]
        idle: usize,
        /// Duration of each of six turns, in seconds
        #[arg(long, default_value_t = 4)]
        seconds: u64,
    },
    /// Measure the cost of hostile connections to a valid command
    Strangers {
        /// Duration of each of eighteen turns, in seconds
        #[arg(long, default_value_t = 4)]
        seconds: u64,
    },
    /// Measure the cost of demanding clients to a lone command and a lone query
    Isolation {
        /// Small orders in the log
        #[arg(long, default_value_t = 100_000)]
        orders: u64,
        /// Duration of each of 21 turns, in seconds
        #[arg(long, default_value_t = 4)]
        seconds: u64,
    },
    /// Compare CreateOrder on Postgres, on one node and on two, with bare inserts of as many rows
    Postgres {
        /// Duration of each of twelve turns, in seconds
        #[arg(long, default_value_t = 4)]
        seconds: u64,
    },
    /// Measure the lag of documents and search: idle, at shares of the full command rate, and after
    /// the full rate
    Freshness {
        /// Orders in the log at the start
        #[arg(long, default_value_t = 500_000)]
        orders: u64,
        /// Duration of the load at each share, in seconds
        #[arg(long, default_value_t = 60)]
        seconds: u64,
    },
    /// Measure lists, facets and statistics at many orders, and GetOrder beside them
    Lists {
        /// Orders in the log
        #[arg(long, default_value_t = 1_000_000)]
        orders: u64,
        /// Folder that keeps the data for the next run, which then writes no orders
        #[arg(long)]
        keep: Option<PathBuf>,
    },
    /// Compare rebuild and verify with bare inserts in events per second, and measure memory
    Rebuild {
        /// Orders in the log
        #[arg(long, default_value_t = 1_000_000)]
        orders: u64,
    },
    /// Measure how fresh answers are while the largest customer gets a new name, and while documents
    /// and index are rebuilt
    Switches {
        /// Orders in the log
        #[arg(long, default_value_t = 1_000_000)]
        orders: u64,
    },
    /// Compare the processor time of new orders with one watch of another order and with many
    Watchers {
        /// Number of watches
        #[arg(long, default_value_t = 1000)]
        watchers: usize,
    },
    /// Compare filling and searching through orderlog with direct calls to Meilisearch, which must
    /// be on the path
    Search {
        /// Orders in the index
        #[arg(long, default_value_t = 50_000)]
        orders: u64,
        /// How often each side fills an empty index
        #[arg(long, default_value_t = 3)]
        turns: usize,
    },
    /// Measure searches by text in an embedded index, without a server
    Texts {
        /// Orders in the index
        #[arg(long, default_value_t = 1_000_000)]
        orders: u64,
        /// Folder that keeps the index for the next run, which then writes no orders
        #[arg(long)]
        keep: Option<PathBuf>,
    },
    /// Measure memory and start time with a large log
    Memory {
        /// Events in the log
        #[arg(long, default_value_t = 1_000_000)]
        events: u64,
        /// Duration of the load, in seconds
        #[arg(long, default_value_t = 20)]
        seconds: u64,
    },
}

fn main() {
    let bench = Bench::parse();
    // One thread: more threads would take processor time from the server.
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
            Bench::Strangers { seconds } => strangers::run(seconds).await,
            Bench::Isolation { orders, seconds } => isolation::run(orders, seconds).await,
            Bench::Postgres { seconds } => postgres::run(seconds).await,
            Bench::Freshness { orders, seconds } => freshness::run(orders, seconds).await,
            Bench::Lists { orders, keep } => lists::run(orders, keep.as_deref()).await,
            Bench::Rebuild { orders } => rebuild::run(orders).await,
            Bench::Switches { orders } => switches::run(orders).await,
            Bench::Watchers { watchers } => watchers::run(watchers).await,
            Bench::Search { orders, turns } => search::run(orders, turns).await,
            Bench::Texts { orders, keep } => texts::run(orders, keep).await,
            Bench::Memory { events, seconds } => memory::run(events, seconds).await,
        }
    });
}
