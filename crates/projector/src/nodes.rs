use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use contract::orders::v1::event_service_client::EventServiceClient;
use tonic::transport::Channel;

/// The nodes that stream the log. Any of them will do, so one at a time is followed: the next one
/// when it fails.
#[derive(Debug, Clone)]
pub struct Nodes {
    channels: Arc<[Channel]>,
    failures: Arc<AtomicUsize>,
}

impl Nodes {
    /// One, or several.
    #[must_use]
    pub fn new(first: Channel, others: impl IntoIterator<Item = Channel>) -> Self {
        Self {
            channels: [first].into_iter().chain(others).collect(),
            failures: Arc::default(),
        }
    }

    /// The one that is followed now.
    #[must_use]
    pub fn current(&self) -> EventServiceClient<Channel> {
        let failures = self.failures.load(Ordering::Relaxed);
        let channel = &self.channels[failures % self.channels.len()];
        EventServiceClient::new(channel.clone())
    }

    /// That one failed.
    pub(crate) fn turn(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
    }
}
