//! Tests of repeated rebuilds, within one process and across restarts, while commands flow.

use e2e::Process;
use tokio::task::block_in_place;

use crate::{
    binary::start,
    load::{Load, read_own_write},
};

/// Runs a client command that succeeds, while the writers continue.
fn ask<const N: usize>(process: &Process, arguments: [&str; N]) -> String {
    block_in_place(|| process.ask(arguments))
}

/// Rebuilds 2, 3 and 10 times. Each round verifies, rolls back and restarts.
async fn check_rebuilds(what: &str) {
    let folder = tempfile::tempdir().unwrap();
    let mut process = start(folder.path());
    let load = Load::start(&process, 4);
    // An empty log has nothing to rebuild.
    read_own_write(&mut process.clients().await, "first").await;
    for (round, times) in [2, 3, 10].into_iter().enumerate() {
        for _ in 0..times {
            ask(&process, ["rebuild", what]);
        }
        ask(&process, ["verify"]);
        read_own_write(&mut process.clients().await, &format!("own-{round}")).await;
        ask(&process, ["rebuild", what, "--rollback"]);
        ask(&process, ["verify"]);
        if round == 0 {
            process.kill();
        } else {
            assert_eq!(block_in_place(|| process.terminate()), Some(0));
        }
        process = start(folder.path());
        load.follow(&process);
        ask(&process, ["verify"]);
    }
    load.finish(&process).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn g7_g8_g9_repeated_rebuilds_of_documents_under_load_leave_no_difference() {
    check_rebuilds("documents").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn g7_g8_g9_repeated_rebuilds_of_the_index_under_load_leave_no_difference() {
    check_rebuilds("search").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn g7_g8_g9_repeated_rebuilds_of_all_projections_under_load_leave_no_difference() {
    check_rebuilds("all").await;
}
