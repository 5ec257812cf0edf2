//! The input and output of an append: the loaded state, and the batch that follows from it.

use crate::{Aggregate, NewEvent, NewRequest, StoredEvent, StoredRequest};

/// The events of one aggregate to load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Needed<'a> {
    /// The aggregate.
    pub aggregate: &'a Aggregate,
    /// True for the newest event only, false for all events.
    pub newest_only: bool,
}

/// The state that commands are decided on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Loaded {
    /// The needed events, in version order for each aggregate.
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
