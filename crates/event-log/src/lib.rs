//! The log: every event of every aggregate, in the order of commits, at positions 1, 2, 3, ...
//!
//! [`sqlite`] keeps it in a file, [`postgres`] in a database that several nodes share. An
//! [`Appender`] writes a [`Batch`] of events and of the requests that led to them in one durable
//! transaction; any number of [`Reader`]s read; [`News`] tells what other nodes append; [`copy`] moves
//! a log to another store. What an event
//! says is opaque here but for what the log itself needs: which
//! aggregate it belongs to, at which version. A `record` is an encoded message whose field 1, the
//! position, is left out when it is stored and written in front when it is read.

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

/// Where a log is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// In this file.
    File(PathBuf),
    /// In this database.
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

/// Opens the log, making it if it is missing. `runtime` is what it is read on, whoever reads: a
/// connection to a database answers on the runtime that it was made on.
///
/// # Errors
/// When it cannot be used; it is unchanged then.
pub async fn open(location: &Location, schema: Schema, runtime: &Handle) -> Result<Log, Error> {
    match location {
        Location::File(path) => sqlite::open(path, schema).await,
        Location::Database(database) => postgres::open(database, schema, runtime).await,
    }
}

/// An open log.
#[derive(Debug)]
pub struct Log {
    /// Writes it.
    pub appender: Box<dyn Appender>,
    /// Reads it.
    pub reader: Arc<dyn Reader>,
    /// Reads it too, when there is news, and does not wait for those who read much.
    pub follower: Arc<dyn Reader>,
    /// What others write.
    pub news: News,
}

/// The one writer of a node.
#[async_trait]
pub trait Appender: fmt::Debug + Send + Sync {
    /// The position of the newest event; 0 if there is none.
    ///
    /// # Errors
    /// When the store does not answer.
    async fn head(&mut self) -> Result<u64, Error>;

    /// Whether it can be appended to: commits something that changes nothing. A full disk can be read.
    ///
    /// # Errors
    /// When the store does not answer, or takes nothing.
    async fn probe(&mut self) -> Result<(), Error>;

    /// The newest state of aggregates, and what was answered to request ids. `exclusively`: nobody
    /// else appends from now on until the next [`Appender::append`] of this one, so that what is
    /// loaded stays the newest.
    ///
    /// # Errors
    /// When the store does not answer, or holds what cannot be understood.
    async fn load(
        &mut self,
        aggregates: &[&Aggregate],
        request_ids: &[&str],
        exclusively: bool,
    ) -> Result<Loaded, Error>;

    /// Appends a batch in one transaction, and returns the position of its first event. When it
    /// returns, the batch is durable. Do not drop the future half-way.
    ///
    /// # Errors
    /// [`Error::Conflict`] when the batch is not in the log because of what is; any other when it
    /// is not, or perhaps not.
    async fn append(&mut self, batch: &Batch) -> Result<u64, Error>;

    /// Lets go of the store.
    async fn close(self: Box<Self>);
}

/// Reads a log; any number may, at the same time, while it is written.
#[async_trait]
pub trait Reader: fmt::Debug + Send + Sync {
    /// The log's id: made with it, and kept with it.
    fn log_id(&self) -> &str;

    /// The position of the newest event, whoever appended it; 0 if there is none.
    ///
    /// # Errors
    /// When the store does not answer.
    async fn head(&self) -> Result<u64, Error>;

    /// The events after `after`, up to `upto` and at most `limit`.
    ///
    /// # Errors
    /// When the store does not answer, or holds what cannot be understood.
    async fn page(&self, after: u64, upto: u64, limit: usize) -> Result<Page, Error>;

    /// All events of one aggregate, in the order of versions; none if there is no such aggregate.
    ///
    /// # Errors
    /// When the store does not answer, or holds what cannot be understood.
    async fn history(&self, kind: i32, aggregate_id: &str) -> Result<Page, Error>;

    /// What is stored of the events after `after`, up to `upto` and at most `limit`, right or wrong.
    ///
    /// # Errors
    /// When the store does not answer.
    async fn inspect(&self, after: u64, upto: u64, limit: usize) -> Result<Vec<Inspected>, Error>;

    /// What is stored of these request ids.
    ///
    /// # Errors
    /// When the store does not answer.
    async fn requests(&self, ids: &[String]) -> Result<Vec<Answer>, Error>;

    /// What is stored of the request ids after one, by id and at most `limit`.
    ///
    /// # Errors
    /// When the store does not answer.
    async fn requests_after(&self, after: &str, limit: usize) -> Result<Vec<Answer>, Error>;
}

/// An event as the store has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspected {
    /// Where it is.
    pub position: u64,
    /// Whose event it is.
    pub aggregate: Aggregate,
    /// Which one of that aggregate.
    pub version: u64,
    /// Where the one of the version before is, if there is one.
    pub before: Option<u64>,
    /// The event as it is sent, if it is of a schema that is known here.
    pub record: Result<Bytes, String>,
}

/// What the store has of a request id, without what tells commands apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The client's id of it.
    pub request_id: String,
    /// The aggregate that was answered.
    pub aggregate_id: String,
    /// The version that was answered.
    pub version: u64,
    /// The position that was answered.
    pub position: u64,
    /// Whether there is such an event.
    pub fits: bool,
}

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
    pub event_type: Cow<'static, str>,
    /// The version of the schema that the record was written with.
    pub schema_version: u32,
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
    /// The file cannot be opened.
    #[error(transparent)]
    File(#[from] ::sqlite::Error),
    /// The database cannot be opened.
    #[error(transparent)]
    Database(#[from] postgres::OpenError),
    /// It does not answer, or refuses.
    #[error("the event store failed: {0}")]
    Store(#[source] sqlx::Error),
    /// It was copied here, and not to the end.
    #[error(
        "the log is a copy that is not finished: run `orderlog copy` or `orderlog restore` again"
    )]
    NotWhole,
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
            // A page that cannot be read: the others can, and so it is no outage.
            Some(refused) if is_corrupt(refused) => Self::Damaged(error.to_string()),
            _ => Self::Store(error),
        }
    }
}

/// Whether SQLite says SQLITE_CORRUPT: the low byte of its codes is the kind.
fn is_corrupt(error: &dyn sqlx::error::DatabaseError) -> bool {
    const CORRUPT: u32 = 11;
    let is_sqlite = error
        .try_downcast_ref::<sqlx::sqlite::SqliteError>()
        .is_some();
    let code = error.code().and_then(|code| code.parse::<u32>().ok());
    is_sqlite && code.is_some_and(|code| code & 0xff == CORRUPT)
}
