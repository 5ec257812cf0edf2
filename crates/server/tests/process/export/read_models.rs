//! Tests of read models that are ahead of a restored log.

use std::fs;

use contract::orders::v1::ProjectionState;
use test_support::eventually;

use super::Place;
use crate::binary::succeeded;

/// Checks a read model that is ahead of a restored log. The node stops with `error` and keeps its
/// position.
async fn check_read_model(more: &[&str], error: &str) {
    let (from, to, reads) = (Place::in_folder(), Place::in_folder(), Place::in_folder());
    let file = from.file("backup.db");
    let node = from.serve(&[]);
    let mut clients = node.clients().await;
    clients.create("o-1").await;
    succeeded(&from.export(&file));
    clients.create("lost-1").await;
    clients.create("lost-2").await;
    let reading = reads.serve(&["--roles", "query", "--events-url", node.url()]);
    reading.clients().await.order("lost-2", 3).await;
    assert_eq!(reading.shut_down().await, Some(0));
    assert_eq!(node.shut_down().await, Some(0));

    succeeded(&to.restore(&file, more));
    let node = to.serve(&[]);
    let reading = reads.serve(&["--roles", "query", "--events-url", node.url()]);
    let mut clients = reading.clients().await;
    let failing = eventually("the documents are failing", async || {
        let documents = clients.projection("documents").await;
        (documents.state() == ProjectionState::Failing).then_some(documents)
    })
    .await;
    assert!(failing.error.contains(error), "{}", failing.error);
    assert_eq!(failing.position, 3, "the read model is not changed");
    assert!(!reading.run(["status", "--ready"]).status.success());

    // An operator recovers by deleting the read model, which the node rebuilds from the log.
    assert_eq!(reading.shut_down().await, Some(0));
    fs::remove_dir_all(reads.data_dir()).unwrap();
    let reading = reads.serve(&["--roles", "query", "--events-url", node.url()]);
    let position = node.clients().await.create("o-2").await;
    assert_eq!(position, 2);
    reading.clients().await.order("o-2", position).await;
    reading.ask(["verify"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_model_ahead_of_a_restored_log_stops_and_is_not_changed() {
    check_read_model(&[], "after_position is 3, but the log ends at 1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_model_of_a_log_that_was_restored_with_a_new_id_stops_and_is_not_changed() {
    check_read_model(&["--new-log-id"], "but this log is").await;
}
