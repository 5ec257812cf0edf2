//! Tests of read models that are ahead of a restored log (guarantee G12).

use std::fs;

use contract::orders::v1::ProjectionState;
use e2e::Process;
use test_support::{assert_refused, eventually, request};
use tonic::Code;

use super::Place;
use crate::binary::succeeded;

/// Places of a log that was restored to its first order, and of a query node that has seen two more.
struct Restored {
    log: Place,
    reads: Place,
}

impl Restored {
    async fn new(more: &[&str]) -> Self {
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
        Self { log: to, reads }
    }

    /// Starts the node of the log, and the query node.
    fn serve(&self) -> (Process, Process) {
        let node = self.log.serve(&[]);
        let reading = self
            .reads
            .serve(&["--roles", "query", "--events-url", node.url()]);
        (node, reading)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn g12_a_read_model_ahead_of_a_restored_log_starts_over() {
    let restored = Restored::new(&[]).await;
    let (node, reading) = restored.serve();
    let position = node.clients().await.create("o-2").await;
    assert_eq!(position, 2);
    let mut clients = reading.clients().await;
    eventually("the documents are right", async || {
        let order = clients.get_order(request::order("o-2", position));
        order.await.ok()
    })
    .await;
    let lost = clients.get_order(request::order("lost-1", 0)).await;
    assert_refused(lost, Code::NotFound, "ORDER_NOT_FOUND");
    reading.ask(["verify"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn g12_a_read_model_of_another_log_answers_nothing_and_is_not_changed() {
    let restored = Restored::new(&["--new-log-id"]).await;
    let (node, reading) = restored.serve();
    let mut clients = reading.clients().await;
    let failing = eventually("the documents are failing", async || {
        let documents = clients.projection("documents").await;
        (documents.state() == ProjectionState::Failing).then_some(documents)
    })
    .await;
    assert!(
        failing.error.contains("but this log is"),
        "{}",
        failing.error
    );
    assert_eq!(failing.position, 3, "the read model is not changed");
    assert!(!reading.run(["status", "--ready"]).status.success());
    let refused = clients.get_order(request::order("lost-1", 0)).await;
    assert_refused(refused, Code::Unavailable, "READ_MODEL_DIVERGED");

    // An operator recovers by deleting the read model, which the node rebuilds from the log.
    assert_eq!(reading.shut_down().await, Some(0));
    fs::remove_dir_all(restored.reads.data_dir()).unwrap();
    let reading = restored
        .reads
        .serve(&["--roles", "query", "--events-url", node.url()]);
    let position = node.clients().await.create("o-2").await;
    assert_eq!(position, 2);
    reading.clients().await.order("o-2", position).await;
    reading.ask(["verify"]);
}
