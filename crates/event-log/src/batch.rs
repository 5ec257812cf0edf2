//! The input and output of an append: the loaded state, and the batch that follows from it.

use crate::{NewEvent, NewRequest, StoredEvent, StoredRequest};

/// The state that commands are decided on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Loaded {
    /// All events of the requested aggregates, in version order for each aggregate.
    pub events: Vec<StoredEvent>,
    /// The known ones of the requested request ids.
    pub requests: Vec<StoredRequest>,
}

/// Events and request ids that commit in one transaction.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    /// The events in the order of their positions.
    pub events: Vec<NewEvent>,
    /// The request ids to record, in any order.
    pub requests: Vec<NewRequest>,
}
