//! Compares rebuilds with bare inserts of the same rows, and measures verification and memory.

use std::time::{Duration, Instant};

use contract::orders::v1::{RebuildRequest, VerifyRequest};
use sqlx::{AssertSqlSafe, ConnectOptions as _, sqlite::SqliteConnectOptions};

use crate::{fill, program::Program};

/// A new process still releases memory on its own for some seconds.
const SETTLE: Duration = Duration::from_secs(5);

pub(crate) async fn run(orders: u64) {
    let mut program = Program::start();
    fill::orders(&program.process().clients().await.commands, 0, orders).await;
    fill::projected(program.process()).await;
    // The restart resets the peak memory, so that it covers only the steps below.
    program.start_again().await;
    tokio::time::sleep(SETTLE).await;
    println!("with {orders} orders");
    tell_memory(&program, "idle");
    let rebuilt = rebuild(&program, "documents").await;
    let bare = bare(&program).await;
    println!(
        "documents rebuilt: {:.0} events a second",
        orders as f64 / rebuilt
    );
    println!(
        "the same rows by INSERT ... SELECT: {:.0} a second",
        orders as f64 / bare
    );
    println!("ratio: {:.2}", bare / rebuilt);
    tell_memory(&program, "after that");
    let rebuilt = rebuild(&program, "search").await;
    println!(
        "search rebuilt: {:.0} documents a second",
        orders as f64 / rebuilt
    );
    tell_memory(&program, "after that");
    for part in ["log", "documents", "search"] {
        let request = VerifyRequest {
            parts: vec![part.to_owned()],
        };
        let started = Instant::now();
        let mut projections = program.process().clients().await.projections;
        let mut found = projections.verify(request).await.unwrap().into_inner();
        while let Some(response) = found.message().await.unwrap() {
            assert_eq!(response.differences, []);
        }
        println!(
            "{part} verified in {:.1} s",
            started.elapsed().as_secs_f64()
        );
        tell_memory(&program, "after that");
    }
}

/// Prints the resident memory. The pages of mapped files count, although the system takes them back
/// when it needs them.
pub(crate) fn tell_memory(program: &Program, when: &str) {
    let process = program.process();
    let [now, most, own] = ["VmRSS", "VmHWM", "RssAnon"].map(|line| process.memory(line));
    println!(
        "  memory {when}: {now:.0} MB, of which {own:.0} MB are no mapped files; at most {most:.0} MB"
    );
}

/// Rebuilds one projection and returns the seconds it took. Prints the most memory at a step of it,
/// without mapped files.
pub(crate) async fn rebuild(program: &Program, projection: &str) -> f64 {
    let request = RebuildRequest {
        projections: vec![projection.to_owned()],
        rollback: false,
    };
    let started = Instant::now();
    let mut projections = program.process().clients().await.projections;
    let mut steps = projections.rebuild(request).await.unwrap().into_inner();
    let mut most = 0_f64;
    while steps.message().await.unwrap().is_some() {
        most = most.max(program.process().memory("RssAnon"));
    }
    println!(
        "  memory during the rebuild of {projection}: at most {most:.0} MB besides mapped files"
    );
    started.elapsed().as_secs_f64()
}

/// Copies the same rows into the same tables and indexes with SQLite alone. Returns the seconds it
/// took.
async fn bare(program: &Program) -> f64 {
    let folder = tempfile::tempdir_in(program.folder()).unwrap();
    let options = SqliteConnectOptions::new()
        .filename(folder.path().join("bare.db"))
        .create_if_missing(true)
        .pragma("journal_mode", "WAL")
        .pragma("synchronous", "NORMAL")
        .pragma("cache_size", "-32768");
    let mut connection = options.connect().await.unwrap();
    sqlx::query("ATTACH ? AS made")
        .bind(program.folder().join("data/read.db").display().to_string())
        .execute(&mut connection)
        .await
        .unwrap();
    let schema: Vec<String> = sqlx::query_scalar(
        "SELECT sql FROM made.sqlite_schema
        WHERE sql IS NOT NULL AND tbl_name IN ('orders', 'statistics')
        ORDER BY type = 'index'",
    )
    .fetch_all(&mut connection)
    .await
    .unwrap();
    for sql in schema {
        sqlx::raw_sql(AssertSqlSafe(sql))
            .execute(&mut connection)
            .await
            .unwrap();
    }
    let started = Instant::now();
    for table in ["orders", "statistics"] {
        let copy = format!("INSERT INTO main.{table} SELECT * FROM made.{table}");
        sqlx::raw_sql(AssertSqlSafe(copy))
            .execute(&mut connection)
            .await
            .unwrap();
    }
    started.elapsed().as_secs_f64()
}
