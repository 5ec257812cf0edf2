use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use contract::orders::v1::event_service_client::EventServiceClient;
use wire::Connection;

/// The nodes that stream the log. Any of them will do, so one at a time is followed: the next one
/// when it fails.
#[derive(Debug, Clone)]
pub struct Nodes {
    nodes: Arc<[(String, Connection)]>,
    failures: Arc<AtomicUsize>,
}

impl Nodes {
    /// One, or several, each with what it is called in logs.
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

    /// The one that is followed now.
    #[must_use]
    pub fn current(&self) -> EventServiceClient<Connection> {
        EventServiceClient::new(self.connection())
    }

    /// The connection to it.
    pub(crate) fn connection(&self) -> Connection {
        self.node().1.clone()
    }

    /// What it is called.
    pub(crate) fn name(&self) -> &str {
        &self.node().0
    }

    fn node(&self) -> &(String, Connection) {
        let failures = self.failures.load(Ordering::Relaxed);
        &self.nodes[failures % self.nodes.len()]
    }

    /// That one failed.
    pub(crate) fn turn(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
    }
}
