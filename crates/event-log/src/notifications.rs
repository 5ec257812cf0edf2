//! Notifications of appends, between nodes that share a log.

use crate::postgres;

/// Notifies the other nodes of this node's appends, and receives their notifications. A log in a
/// file belongs to one process, so [`Notifications`] is idle for a file.
#[derive(Debug, Default)]
pub struct Notifications(Option<postgres::Channel>);

impl Notifications {
    pub(crate) fn on(channel: postgres::Channel) -> Self {
        Self(Some(channel))
    }

    /// Returns when another node may have appended. For a log in a file, the future never
    /// completes.
    pub async fn next(&mut self) {
        match &mut self.0 {
            Some(channel) => channel.next().await,
            None => std::future::pending().await,
        }
    }

    /// Notifies the other nodes that this node has appended.
    pub async fn send(&self) {
        if let Some(channel) = &self.0 {
            channel.send().await;
        }
    }
}
