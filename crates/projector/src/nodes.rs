//! The nodes that stream the log, and the choice of the current one.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use contract::orders::v1::event_service_client::EventServiceClient;
use wire::Connection;

/// The nodes that stream the log. All nodes stream the same log, so the projector follows one and
/// turns to the next on failure.
#[derive(Debug, Clone)]
pub struct Nodes {
    nodes: Arc<[(String, Connection)]>,
    failures: Arc<AtomicUsize>,
}

impl Nodes {
    /// Takes one or more nodes, each with its name for logs and its connection.
    #[must_use]
    pub fn new(
        first: (String, Connection),
        others: impl IntoIterator<Item = (String, Connection)>,
    ) -> Self {
        Self {
            nodes: [first].into_iter().chain(others).collect(),
            failures: Arc::default(),
        }
    }

    /// Returns a client for the current node.
    #[must_use]
    pub fn current(&self) -> EventServiceClient<Connection> {
        EventServiceClient::new(self.connection())
    }

    /// Returns the connection to the current node.
    pub(crate) fn connection(&self) -> Connection {
        self.node().1.clone()
    }

    /// Returns the name of the current node, for logs.
    pub(crate) fn name(&self) -> &str {
        &self.node().0
    }

    fn node(&self) -> &(String, Connection) {
        let failures = self.failures.load(Ordering::Relaxed);
        &self.nodes[failures % self.nodes.len()]
    }

    /// Records a failure of the current node and moves on to the next one.
    pub(crate) fn turn_to_next(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
    }
}
