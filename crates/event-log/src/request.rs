//! Request ids with the recorded replies to their commands, as callers append, load and verify them.

use crate::{PendingPosition, Position, Version};

/// A request id to record, with the reply to its command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRequest {
    /// The client's request id.
    pub id: String,
    /// Differs for commands with different content.
    pub fingerprint: Vec<u8>,
    /// The aggregate id in the reply.
    pub aggregate_id: String,
    /// The version in the reply.
    pub version: Version,
    /// The position in the reply.
    pub position: PendingPosition,
}

/// A request id that [`Appender::load`](crate::Appender::load) returns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRequest {
    /// The client's request id.
    pub id: String,
    /// Differs for commands with different content.
    pub fingerprint: Vec<u8>,
    /// The aggregate id in the reply.
    pub aggregate_id: String,
    /// The version in the reply.
    pub version: Version,
    /// The position in the reply.
    pub position: Position,
}

/// A request id as the store holds it, for verification. The command's fingerprint is left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InspectedRequest {
    /// The client's request id.
    pub id: String,
    /// The aggregate id in the reply.
    pub aggregate_id: String,
    /// The version in the reply.
    pub version: Version,
    /// The position in the reply.
    pub position: Position,
    /// True if the event at `position` has this aggregate id and version.
    pub fits: bool,
}
