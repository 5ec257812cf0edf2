//! The event log: every event of every aggregate, at positions 1, 2, 3, ... in commit order.
//!
//! # The path of an event
//!
//! 1. [`open`] opens the store at a [`Location`] and returns a [`Log`]. [`sqlite`] keeps a log in a
//!    file; [`postgres`] keeps a log in a database that several nodes share.
//! 2. [`Appender::load`] returns the events of the aggregates that commands concern, and the
//!    recorded replies to their request ids ([`Loaded`]).
//! 3. [`Appender::append`] writes a [`Batch`] of new [`Event`]s and [`Request`]s in one durable
//!    transaction.
//! 4. [`News::tell`] notifies the other nodes, and [`News::next`] wakes a node after their appends.
//! 5. Any number of [`Reader`]s return the events in [`Page`]s. [`Schema`] upcasts records of other
//!    schema versions, and [`Encoder`] writes the position in front of each record.
//!
//! [`copy`] copies a log to another store, exports a log to a file, and restores a log from a file.
//!
//! # Records
//!
//! A *record* is an encoded protobuf message whose field 1 is the position of the event. The store
//! keeps a record without field 1, and a read puts the field in front. The log decodes nothing else
//! of a record: the store has columns for the aggregate, the version, the event type and the
//! schema.

#[cfg(test)]
mod contract_suite;
pub mod copy;
mod news;
mod position;
pub mod postgres;
mod rows;
mod schema;
pub mod sqlite;

use std::{
    borrow::Cow,
    fmt::{self, Display},
    path::PathBuf,
    sync::Arc,
};

use async_trait::async_trait;
use bytes::Bytes;
pub use news::News;
pub use position::Encoder;
pub use schema::Schema;
use tokio::runtime::Handle;

/// The place of a log: a file or a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// A SQLite file.
    File(PathBuf),
    /// A Postgres database.
    Database(postgres::Database),
}

impl Display for Location {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(file) => write!(to, "sqlite:{}", file.display()),
            Self::Database(database) => Display::fmt(database, to),
        }
    }
}

/// Opens the log at `location` and creates the store if it is missing.
///
/// The readers of a database open their connections on `runtime`, because a connection works only
/// on the runtime that opened it. A log in a file does not use `runtime`.
///
/// # Errors
/// - [`Error::File`] or [`Error::Database`]: the store cannot be opened. A store of another program
///   or of a newer orderlog stays unchanged.
/// - [`Error::NotWhole`]: the log is an unfinished copy.
/// - [`Error::Store`]: the store does not answer, or a copy has the log to itself.
/// - [`Error::Damaged`]: SQLite reports that the file is corrupt.
pub async fn open(location: &Location, schema: Schema, runtime: &Handle) -> Result<Log, Error> {
    match location {
        Location::File(path) => sqlite::open(path, schema).await,
        Location::Database(database) => postgres::open(database, schema, runtime).await,
    }
}

/// An open log.
#[derive(Debug)]
pub struct Log {
    /// Appends the events of this node.
    pub appender: Box<dyn Appender>,
    /// Serves the reads of calls and of subscribers.
    pub reader: Arc<dyn Reader>,
    /// Reads the events that other nodes append. On Postgres, a pool of its own keeps other reads
    /// from delaying these; on SQLite, the follower is [`Log::reader`].
    pub follower: Arc<dyn Reader>,
    /// Announces this node's appends, and receives the announcements of other nodes.
    pub news: News,
}

/// Appends to a log. A node has one appender.
#[async_trait]
pub trait Appender: fmt::Debug + Send + Sync {
    /// Returns the position of the newest event, or 0 if the log is empty.
    ///
    /// # Errors
    /// [`Error::Store`] when the store does not answer; [`Error::Damaged`] when SQLite reports
    /// corruption.
    async fn head(&mut self) -> Result<u64, Error>;

    /// Checks that the store accepts appends, with a commit that changes nothing. A read is not
    /// enough of a check: a store on a full disk still answers reads.
    ///
    /// # Errors
    /// [`Error::Store`] when the store does not answer or rejects the write; [`Error::Damaged`]
    /// when SQLite reports corruption.
    async fn probe(&mut self) -> Result<(), Error>;

    /// Loads the events of `aggregates`, and the recorded replies to `request_ids`.
    ///
    /// With `exclusively`, no other node appends before this appender's next [`Appender::append`]
    /// or [`Appender::load`], so that the loaded state stays the newest.
    ///
    /// # Errors
    /// - [`Error::Store`]: the store does not answer.
    /// - [`Error::UnknownSchema`]: an event has a schema version without an upcast.
    /// - [`Error::Damaged`]: SQLite reports corruption.
    async fn load(
        &mut self,
        aggregates: &[&Aggregate],
        request_ids: &[&str],
        exclusively: bool,
    ) -> Result<Loaded, Error>;

    /// Appends a batch in one transaction, and returns the position of the batch's first event.
    ///
    /// The batch is durable when the call returns. Without events in the batch, the returned number
    /// has no meaning. An empty batch only ends an exclusive load. The future must run to
    /// completion: do not drop it.
    ///
    /// # Errors
    /// - [`Error::Conflict`]: the log already has a version or request id of the batch; nothing is
    ///   appended.
    /// - Any other error: nothing is appended, or the outcome is unknown.
    async fn append(&mut self, batch: &Batch) -> Result<u64, Error>;

    /// Closes the appender's connection to the store.
    async fn close(self: Box<Self>);
}

/// Reads a log. Any number of readers work at the same time, while an appender writes.
#[async_trait]
pub trait Reader: fmt::Debug + Send + Sync {
    /// Returns the log's id, which was created together with the log.
    fn log_id(&self) -> &str;

    /// Returns the position of the newest event of any node, or 0 if the log is empty.
    ///
    /// # Errors
    /// [`Error::Store`] when the store does not answer; [`Error::Damaged`] when SQLite reports
    /// corruption.
    async fn head(&self) -> Result<u64, Error>;

    /// Returns up to `limit` events, from position `after + 1` through position `upto`.
    ///
    /// # Errors
    /// - [`Error::Store`]: the store does not answer.
    /// - [`Error::Damaged`]: positions are missing, or SQLite reports corruption.
    /// - [`Error::UnknownSchema`]: an event has a schema version without an upcast.
    async fn page(&self, after: u64, upto: u64, limit: usize) -> Result<Page, Error>;

    /// Returns all events of one aggregate in version order, or no events if the aggregate is
    /// unknown.
    ///
    /// # Errors
    /// - [`Error::Store`]: the store does not answer.
    /// - [`Error::Damaged`]: SQLite reports corruption.
    /// - [`Error::UnknownSchema`]: an event has a schema version without an upcast.
    async fn history(&self, kind: i32, aggregate_id: &str) -> Result<Page, Error>;

    /// Returns up to `limit` stored events after position `after` through position `upto`, valid or
    /// not. Verification reads a damaged log with this method.
    ///
    /// # Errors
    /// [`Error::Store`] when the store does not answer; [`Error::Damaged`] when SQLite reports
    /// corruption.
    async fn inspect(&self, after: u64, upto: u64, limit: usize) -> Result<Vec<Inspected>, Error>;

    /// Returns the recorded replies to these request ids, and nothing for an unknown id.
    ///
    /// # Errors
    /// [`Error::Store`] when the store does not answer; [`Error::Damaged`] when SQLite reports
    /// corruption.
    async fn requests(&self, ids: &[String]) -> Result<Vec<Answer>, Error>;

    /// Returns up to `limit` recorded replies to request ids after `after`, in the order of the
    /// ids.
    ///
    /// # Errors
    /// [`Error::Store`] when the store does not answer; [`Error::Damaged`] when SQLite reports
    /// corruption.
    async fn requests_after(&self, after: &str, limit: usize) -> Result<Vec<Answer>, Error>;
}

/// An event as the store holds it, for verification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspected {
    /// The event's position.
    pub position: u64,
    /// The aggregate that the event belongs to.
    pub aggregate: Aggregate,
    /// The aggregate's version with this event.
    pub version: u64,
    /// The position of the aggregate's event of the version before, if the log has one.
    pub before: Option<u64>,
    /// The encoded event with its position, or an error text if its schema version is unknown.
    pub record: Result<Bytes, String>,
}

/// A recorded reply to a request id, for verification. The command's fingerprint is left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The client's request id.
    pub request_id: String,
    /// The aggregate id in the reply.
    pub aggregate_id: String,
    /// The version in the reply.
    pub version: u64,
    /// The position in the reply.
    pub position: u64,
    /// True if the event at `position` has this aggregate id and version.
    pub fits: bool,
}

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
pub struct Event {
    /// The aggregate that the event belongs to.
    pub aggregate: Aggregate,
    /// The aggregate's version with this event: 1, 2, 3, ...
    pub version: u64,
    /// The type of the event. Together with `schema_version`, the type selects an upcast.
    pub event_type: Cow<'static, str>,
    /// The version of the schema that the record was written with.
    pub schema_version: u32,
    /// The encoded event without its position.
    pub record: Vec<u8>,
}

/// A request id to record, with the reply to its command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The client's request id.
    pub id: String,
    /// Differs for commands with different content.
    pub fingerprint: Vec<u8>,
    /// The aggregate id in the reply.
    pub aggregate_id: String,
    /// The version in the reply.
    pub version: u64,
    /// The position in the reply.
    pub position: Position,
}

/// A position that may depend on where the batch is appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Position {
    /// The position of an event in the log.
    Of(u64),
    /// The position of the batch's event with this index, from 0.
    InBatch(usize),
}

/// The position before the first event.
impl Default for Position {
    fn default() -> Self {
        Self::Of(0)
    }
}

impl Position {
    /// Returns the position, for a batch whose first event is at position `first`.
    #[must_use]
    pub fn resolve(self, first: u64) -> u64 {
        match self {
            Self::Of(position) => position,
            Self::InBatch(index) => first + index as u64,
        }
    }
}

/// Events and request ids that commit in one transaction.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    /// The events in the order of their positions.
    pub events: Vec<Event>,
    /// The request ids to record, in any order.
    pub requests: Vec<Request>,
}

/// An event that [`Appender::load`] returns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// The aggregate that the event belongs to.
    pub aggregate: Aggregate,
    /// The aggregate's version with this event.
    pub version: u64,
    /// The event's position.
    pub position: u64,
    /// The encoded event with its position.
    pub record: Bytes,
}

/// A recorded reply to a request id, with the fingerprint of its command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    /// The client's request id.
    pub request_id: String,
    /// Differs for commands with different content.
    pub fingerprint: Vec<u8>,
    /// The aggregate id in the reply.
    pub aggregate_id: String,
    /// The version in the reply.
    pub version: u64,
    /// The position in the reply.
    pub position: u64,
}

/// The state that commands are decided on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Loaded {
    /// All events of the requested aggregates, in version order for each aggregate.
    pub events: Vec<Stored>,
    /// The recorded replies to those of the requested ids that are known.
    pub requests: Vec<Answered>,
}

/// Encoded events in order. [`Reader::page`] returns consecutive positions, and [`Reader::history`]
/// returns consecutive versions of one aggregate.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// The position of the first event; without events, the number has no meaning.
    pub first: u64,
    /// The encoded events with their positions.
    pub records: Vec<Bytes>,
}

/// A failure of the log or of its store.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be opened.
    #[error(transparent)]
    File(#[from] ::sqlite::Error),
    /// The database cannot be opened.
    #[error(transparent)]
    Database(#[from] postgres::OpenError),
    /// The store does not answer, or rejects a statement.
    #[error("the event store failed: {0}")]
    Store(#[source] sqlx::Error),
    /// The log is the target of a copy or restore that has not finished.
    #[error(
        "the log is a copy that is not finished: run `orderlog copy` or `orderlog restore` again"
    )]
    NotWhole,
    /// The log already has a version or request id of the batch.
    #[error("the log has a version or request id of the batch already")]
    Conflict,
    /// The store lacks rows that it must have, or SQLite reports corruption.
    #[error("the event store is damaged: {0}")]
    Damaged(String),
    /// The program has no upcast for an event of this schema version.
    #[error("event {position} has schema version {found} of {event_type}, which is not known here")]
    UnknownSchema {
        /// The event's position.
        position: u64,
        /// The event's type.
        event_type: String,
        /// The event's schema version.
        found: u32,
    },
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        match error.as_database_error() {
            Some(refused) if refused.is_unique_violation() => Self::Conflict,
            // One page is unreadable and the others are not, so the error is no outage.
            Some(refused) if is_corrupt(refused) => Self::Damaged(error.to_string()),
            _ => Self::Store(error),
        }
    }
}

/// Returns true for SQLITE_CORRUPT. The low byte of SQLite's codes is the primary code.
fn is_corrupt(error: &dyn sqlx::error::DatabaseError) -> bool {
    const CORRUPT: u32 = 11;
    let is_sqlite = error
        .try_downcast_ref::<sqlx::sqlite::SqliteError>()
        .is_some();
    let code = error.code().and_then(|code| code.parse::<u32>().ok());
    is_sqlite && code.is_some_and(|code| code & 0xff == CORRUPT)
}
