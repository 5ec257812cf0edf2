//! Tests of a backup of a log under load, and of the log that is restored from it.

use contract::orders::v1::*;
use e2e::{Clients, Process};
use test_support::{assert_refused, order, request::events_after, wait_until};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::Code;

use super::{Place, json};
use crate::binary::succeeded;

/// Creates orders until `stop` is cancelled, and returns them in the order of their positions.
fn create_until(process: &Process, stop: CancellationToken) -> JoinHandle<Vec<CreateOrderRequest>> {
    let url = process.url().to_owned();
    tokio::spawn(async move {
        let mut clients = Clients::connect(&url).await.unwrap();
        let mut created = Vec::new();
        while !stop.is_cancelled() {
            let next = order::create("", "ann");
            clients.create_order(next.clone()).await.unwrap();
            created.push(next);
        }
        created
    })
}

/// The commands that a node answered before its log was lost.
struct Lost {
    commands: Vec<CreateOrderRequest>,
    head: GetHeadResponse,
}

/// Checks a node on a restored log, which has `end` events and the log id `log_id`.
async fn check_restored(to: &Place, end: u64, log_id: &str, lost: &Lost) {
    let node = to.serve(&[]);
    let mut clients = node.clients().await;
    let restored = clients.get_head(GetHeadRequest {}).await.unwrap();
    assert_eq!((restored.position, restored.log_id.as_str()), (end, log_id));
    let of_log = |position, log_id: &str| SubscribeRequest {
        log_id: log_id.to_owned(),
        ..events_after(position)
    };
    let beyond = clients.subscribe(of_log(end + 1, log_id)).await;
    assert_refused(beyond, Code::OutOfRange, "POSITION_BEYOND_HEAD");
    if log_id != lost.head.log_id {
        // The server rejects another log id at any position.
        for position in [1, lost.head.position] {
            let other = clients.subscribe(of_log(position, &lost.head.log_id)).await;
            assert_refused(other, Code::FailedPrecondition, "LOG_MISMATCH");
        }
    }
    // A repeated command in the export returns its old position. A command lost since the export
    // takes effect.
    for (repeated, position) in lost.commands.iter().zip(1..) {
        let reply = clients.create_order(repeated.clone()).await.unwrap();
        assert_eq!(reply.position, position);
    }
    assert_eq!(clients.head().await, lost.head.position);
    node.ask(["verify"]);
    assert_eq!(node.shut_down().await, Some(0));
}

/// Exports the log of a node under continuous writes, and restores it.
async fn check_backup(from: &Place, to: [&Place; 2]) {
    let node = from.serve(&[]);
    let mut clients = node.clients().await;
    let stop = CancellationToken::new();
    let writing = create_until(&node, stop.clone());
    let file = from.file("backup.db");
    // The export starts while orders are written.
    wait_until("100 orders are created", async || {
        clients.head().await > 100
    })
    .await;
    let exported = succeeded(&from.export(&file));
    let end_of_export = clients.head().await;
    wait_until("10 more orders are created", async || {
        clients.head().await > end_of_export + 10
    })
    .await;
    stop.cancel();
    let lost = Lost {
        commands: writing.await.unwrap(),
        head: clients.get_head(GetHeadRequest {}).await.unwrap(),
    };
    let log_id = &lost.head.log_id;
    assert_eq!(lost.commands.len() as u64, lost.head.position);
    assert_eq!(node.shut_down().await, Some(0));
    assert!(exported.contains(log_id), "{exported}");

    let kept = json(&to[0].restore(&file, &["--json"]));
    assert_eq!(kept["logId"], *log_id);
    let end = kept["headPosition"].as_u64().unwrap();
    assert!(
        (101..=end_of_export).contains(&end),
        "{end} of {end_of_export}"
    );
    assert_eq!(kept["events"], end);
    assert_eq!(kept["requests"], end);
    check_restored(to[0], end, log_id, &lost).await;

    let renewed = to[1].restore(&file, &["--new-log-id", "--json"]);
    assert_eq!(renewed.stderr, b"", "no warning");
    let renewed = json(&renewed);
    assert_ne!(renewed["logId"], *log_id);
    check_restored(to[1], end, renewed["logId"].as_str().unwrap(), &lost).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Postgres"]
async fn g3_g5_a_log_is_exported_under_load_and_restored_with_the_same_positions() {
    let kept = Place::in_folder();
    let renewed = Place::in_database().await;
    check_backup(&Place::in_folder(), [&kept, &renewed]).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Postgres"]
async fn g3_g5_a_log_is_exported_under_load_and_restored_with_the_same_positions_from_postgres() {
    let (from, kept) = (Place::in_database().await, Place::in_database().await);
    check_backup(&from, [&kept, &Place::in_folder()]).await;
}
