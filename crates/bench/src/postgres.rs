//! Compares `CreateOrder` on Postgres, on one node and on two, with bare inserts of rows.

use std::time::{Duration, Instant};

use e2e::Process;
use sqlx::{Connection as _, PgConnection};
use test_support::postgres::Cluster;
use uuid::Uuid;

use crate::{
    figures::{median, milliseconds, tell_latency, tell_rates},
    load::{self, Call},
    program,
};

const ROUNDS: usize = 4;
const IN_FLIGHT: usize = 256;

/// Rows in one `INSERT` of the bare comparison.
const ROWS: usize = 100;

const LONE_CALLS: u64 = 1000;

pub(crate) async fn run(seconds: u64) {
    let turn = Duration::from_secs(seconds);
    // Unlike the cluster of the tests, this one syncs to disk.
    let cluster = Cluster::start("fsync = on\nshared_buffers = 1GB\nmax_wal_size = 4GB");
    let database = cluster.database().await;
    let nodes = [node(&database), node(&database)];
    let addresses = nodes
        .each_ref()
        .map(|node| node.url().trim_start_matches("http://").to_owned());
    let mut rates = [const { Vec::new() }; 3];
    let on = |node: usize, in_flight| {
        let call = Call::CreateWithRequestId;
        load::run(&addresses[node], call, in_flight, turn, None)
    };
    for round in 0..ROUNDS {
        // The log grows during the run, so the order of the two variants alternates.
        for nodes in if round % 2 == 0 { [1, 2] } else { [2, 1] } {
            let rate = match nodes {
                1 => on(0, IN_FLIGHT).await,
                _ => {
                    let (first, second) = tokio::join!(on(0, IN_FLIGHT / 2), on(1, IN_FLIGHT / 2));
                    first + second
                }
            };
            rates[nodes].push(rate);
        }
        rates[0].push(bare(&database, turn).await);
    }
    for (label, rates_of_it) in [
        "bare inserts of 100 rows",
        "CreateOrder with request ids, 256 in flight on one node",
        "the same on two nodes, 128 each",
    ]
    .iter()
    .zip(&rates)
    {
        tell_rates(label, rates_of_it);
        let ratio = median(rates_of_it) / median(&rates[0]);
        println!("  against bare inserts: {ratio:.2}");
    }
    lone(&nodes[0], &database).await;
}

fn node(database: &str) -> Process {
    let mut serve = e2e::command(&program::binary());
    serve.args(["serve", "--listen", "127.0.0.1:0", "--roles", "command"]);
    serve.env("ORDERLOG_DATABASE_URL", database);
    serve.into()
}

/// Inserts rows like those of the log, with the same indexes, over one connection. Returns rows per
/// second.
async fn bare(database: &str, turn: Duration) -> f64 {
    let mut connection = PgConnection::connect(database).await.unwrap();
    sqlx::raw_sql(
        "DROP TABLE IF EXISTS bare;
        CREATE TABLE bare (LIKE events INCLUDING INDEXES);",
    )
    .execute(&mut connection)
    .await
    .unwrap();
    let record: Vec<u8> = sqlx::query_scalar("SELECT record FROM events WHERE position = 1")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    let started = Instant::now();
    let mut rows = 0;
    while started.elapsed() < turn {
        insert(&mut connection, rows, ROWS, &record).await;
        rows += ROWS;
    }
    let rate = rows as f64 / started.elapsed().as_secs_f64();
    connection.close().await.unwrap();
    rate
}

async fn insert(connection: &mut PgConnection, after: usize, rows: usize, record: &[u8]) {
    let positions: Vec<_> = (after..after + rows).map(|row| row as i64).collect();
    let ids: Vec<_> = positions
        .iter()
        .map(|_| Uuid::now_v7().to_string())
        .collect();
    let records: Vec<_> = positions.iter().map(|_| record).collect();
    sqlx::query(
        "INSERT INTO bare SELECT position, 1, id, 1, 'OrderCreated', 1, record
        FROM UNNEST($1::bigint[], $2::text[], $3::bytea[]) AS row (position, id, record)",
    )
    .bind(positions)
    .bind(ids)
    .bind(records)
    .execute(connection)
    .await
    .unwrap();
}

/// Measures commands one at a time, next to single inserts of one row.
async fn lone(node: &Process, database: &str) {
    let mut commands = node.clients().await.commands;
    let mut connection = PgConnection::connect(database).await.unwrap();
    let (mut create, mut row) = (Vec::new(), Vec::new());
    for number in 0..LONE_CALLS {
        let started = Instant::now();
        commands.create_order(load::create(number)).await.unwrap();
        create.push(milliseconds(started.elapsed()));

        let started = Instant::now();
        insert(
            &mut connection,
            usize::MAX / 4 + number as usize,
            1,
            &[0; 300],
        )
        .await;
        row.push(milliseconds(started.elapsed()));
    }
    println!("one at a time");
    tell_latency("  insert of a row", &row);
    tell_latency("  CreateOrder", &create);
    let ratio = median(&create) / median(&row);
    println!("  CreateOrder against an insert: {ratio:.2}");
}
