//! The log: every event of every aggregate, in the order of commits, at positions 1, 2, 3, ...
//!
//! [`sqlite`] keeps it in a file. There is one [`sqlite::Appender`], which writes a [`Batch`] of
//! events and of the requests that led to them in one durable transaction, and any number of
//! [`sqlite::Reader`]s. What an event says is opaque here but for what the log itself needs: which
//! aggregate it belongs to, at which version. A `record` is an encoded message whose field 1, the
//! position, is left out when it is stored and written in front when it is read.

mod position;
mod schema;
pub mod sqlite;

pub use position::Encoder;
pub use schema::Schema;

use bytes::Bytes;

/// Which aggregate: its type as the contract numbers it, and its id.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Aggregate {
    /// The type's number.
    pub kind: i32,
    /// Unique among those of its type.
    pub id: String,
}

/// An event to append.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Whose event it is.
    pub aggregate: Aggregate,
    /// Which one of that aggregate: 1, 2, 3, ...
    pub version: u64,
    /// What kind of event; decides, with the schema's version, how an old one is upcast.
    pub event_type: &'static str,
    /// The event as it is sent, without its position.
    pub record: Vec<u8>,
}

/// What is remembered of a command with a request id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The client's id of it.
    pub id: String,
    /// Tells commands with other content apart.
    pub fingerprint: Vec<u8>,
    /// The aggregate that was answered.
    pub aggregate_id: String,
    /// The version that was answered.
    pub version: u64,
    /// The position that was answered.
    pub position: Position,
}

/// A position that may not be given out yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Position {
    /// That of an event in the log.
    Of(u64),
    /// That of the batch's event with this index.
    InBatch(usize),
}

impl Position {
    /// The position, once the batch's first event has its own.
    #[must_use]
    pub fn resolve(self, first: u64) -> u64 {
        match self {
            Self::Of(position) => position,
            Self::InBatch(index) => first + index as u64,
        }
    }
}

/// What is committed together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    /// In the order of their positions.
    pub events: Vec<Event>,
    /// In any order.
    pub requests: Vec<Request>,
}

/// An event as it was stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Whose event it is.
    pub aggregate: Aggregate,
    /// Which one of that aggregate.
    pub version: u64,
    /// Where in the log.
    pub position: u64,
    /// The event as it is sent, with its position.
    pub record: Bytes,
}

/// What was answered to a request id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    /// The client's id of it.
    pub request_id: String,
    /// That of the command it was given with.
    pub fingerprint: Vec<u8>,
    /// The aggregate that was answered.
    pub aggregate_id: String,
    /// The version that was answered.
    pub version: u64,
    /// The position that was answered.
    pub position: u64,
}

/// What commands need to be decided.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Loaded {
    /// All events of the aggregates asked for, each aggregate's in the order of versions.
    pub events: Vec<Stored>,
    /// Those of the request ids asked for that are known.
    pub requests: Vec<Answered>,
}

/// Consecutive events, as they are sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// The position of the first one; meaningless if there is none.
    pub first: u64,
    /// The events.
    pub records: Vec<Bytes>,
}

/// Why the log cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be opened.
    #[error(transparent)]
    Open(#[from] ::sqlite::Error),
    /// It does not answer, or refuses.
    #[error("the event store failed: {0}")]
    Store(#[source] sqlx::Error),
    /// A version or request id of the batch is in the log already.
    #[error("the log has a version or request id of the batch already")]
    Conflict,
    /// It does not hold what it must.
    #[error("the event store is damaged: {0}")]
    Damaged(String),
    /// An event that this version of the program does not know how to read.
    #[error("event {position} has schema version {found} of {event_type}, which is not known here")]
    UnknownSchema {
        /// Where it is.
        position: u64,
        /// What kind of event it is.
        event_type: String,
        /// Its schema's version.
        found: u32,
    },
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        match error.as_database_error() {
            Some(refused) if refused.is_unique_violation() => Self::Conflict,
            _ => Self::Store(error),
        }
    }
}
