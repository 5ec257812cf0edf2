//! The limits of a server on connections and calls.

use std::time::Duration;

/// The limits of a server on its clients. No setting changes these limits, but tests lower them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Limits simultaneous connections, because each one takes a file descriptor. The server closes
    /// further connections on arrival.
    pub connections: u32,
    /// Limits connections without an admitted call, which may be strangers'. The oldest closes for a
    /// new one.
    pub strangers: u32,
    /// Limits calls in flight on one connection (HTTP/2 `SETTINGS_MAX_CONCURRENT_STREAMS`). A
    /// client that reads this setting queues further calls.
    pub streams: u32,
    /// Limits the wait for a new connection's TLS handshake and first bytes.
    pub patience: Duration,
    /// Limits the time from a call's start to the beginning of its response. Streaming after
    /// that is not limited.
    pub call_time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 10_000,
            strangers: 1000,
            streams: 1000,
            patience: Duration::from_secs(10),
            // Twice the longest wait that a query may ask for.
            call_time: Duration::from_secs(60),
        }
    }
}
