//! Events, as callers append, load and verify them.

use std::borrow::Cow;

use bytes::Bytes;

use crate::{Position, Version};

/// The type and id of an aggregate.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Aggregate {
    /// The type's number in the contract.
    pub kind: i32,
    /// Unique among the aggregates of the same type.
    pub id: String,
}

/// An event to append.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEvent {
    /// The aggregate that the event belongs to.
    pub aggregate: Aggregate,
    /// The aggregate's version with this event.
    pub version: Version,
    /// The type of the event. Together with `schema_version`, the type selects an upcast.
    pub event_type: Cow<'static, str>,
    /// The version of the schema that the record was written with.
    pub schema_version: u32,
    /// The encoded event without its position.
    pub record: Vec<u8>,
}

/// An event that [`Appender::load`](crate::Appender::load) returns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEvent {
    /// The aggregate that the event belongs to.
    pub aggregate: Aggregate,
    /// The aggregate's version with this event.
    pub version: Version,
    /// The event's position.
    pub position: Position,
    /// The encoded event with its position, or an error text if its schema version is unknown. The
    /// event then blocks the commands on its aggregate, and no others.
    pub record: Result<Bytes, String>,
}

/// An event as the store holds it, valid or not, for verification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InspectedEvent {
    /// The event's position.
    pub position: Position,
    /// The aggregate that the event belongs to.
    pub aggregate: Aggregate,
    /// The aggregate's version with this event.
    pub version: Version,
    /// The position of the aggregate's event of the version before, if the log has one.
    pub previous: Option<Position>,
    /// The encoded event with its position, or an error text if its schema version is unknown.
    pub record: Result<Bytes, String>,
}

/// Limits the bytes of a page, unless one event is larger: 256 KiB. A slow subscriber holds pages
/// for long, and larger pages do not stream faster.
pub const MAX_PAGE_BYTES: usize = 256 << 10;

/// Encoded events in order. [`Reader::page`](crate::Reader::page) returns consecutive positions, and
/// [`Reader::history`](crate::Reader::history) returns consecutive versions of one aggregate.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// The position of the first event; without events, the position has no meaning.
    pub first: Position,
    /// The encoded events with their positions.
    pub records: Vec<Bytes>,
}
