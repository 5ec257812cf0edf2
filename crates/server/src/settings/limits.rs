use std::time::Duration;

/// What one client, or all of them, may take of a server. They are not set by anybody: these are the
/// defaults, which tests lower.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Connections at the same time: those past that are closed as they come. Each takes a file of
    /// the system.
    pub connections: u32,
    /// Calls in flight on one connection: a client that asks how many there may be lets the others
    /// wait.
    pub streams: u32,
    /// How long a client may take to say what it wants: for a TLS handshake, and for the first
    /// bytes.
    pub patience: Duration,
    /// How long a call may take to be received and answered, but for what it streams.
    pub call_time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 10_000,
            streams: 1000,
            patience: Duration::from_secs(10),
            // Twice what a query may wait at most.
            call_time: Duration::from_secs(60),
        }
    }
}
