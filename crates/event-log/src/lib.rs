//! The event log: every event of every aggregate, at positions 1, 2, 3, ... in commit order.
//!
//! # The path of an event
//!
//! 1. [`open`] opens the store at a [`Location`] and returns a [`Log`]. [`sqlite`] keeps a log in a
//!    file; [`postgres`] keeps a log in a database that several nodes share.
//! 2. [`Appender::load`] returns the events of the aggregates that commands concern, and the
//!    recorded replies to their request ids ([`Loaded`]).
//! 3. [`Appender::append`] writes a [`Batch`] of [`NewEvent`]s and [`NewRequest`]s in one durable
//!    transaction.
//! 4. [`Notifications::send`] notifies the other nodes, and [`Notifications::next`] wakes a node
//!    after their appends.
//! 5. Any number of [`Reader`]s return the events in [`Page`]s. [`Schema`] upcasts records of other
//!    schema versions, and [`Encoder`] writes the position in front of each record.
//!
//! [`copy`] copies a log to another store, exports a log to a file, and restores a log from a file.
//!
//! # Records
//!
//! A *record* is an encoded protobuf message whose field 1 is the position of the event. The store
//! keeps a record without field 1, and a read puts the field in front. Field 2 is the event's id, which
//! tells histories apart ([`Point`]). The log decodes nothing else of a record: the store has columns for the aggregate, the version, the event type and the
//! schema.

mod batch;
#[cfg(test)]
mod contract_suite;
pub mod copy;
mod encoder;
mod error;
mod event;
mod log;
mod long_reads;
mod notifications;
mod point;
mod position;
pub mod postgres;
mod request;
mod rows;
mod schema;
pub mod sqlite;
mod statements;

use std::{
    fmt::{self, Display},
    path::PathBuf,
};

pub use batch::{Batch, Loaded, Needed};
pub use encoder::Encoder;
pub use error::Error;
pub use event::{Aggregate, InspectedEvent, MAX_PAGE_BYTES, NewEvent, Page, StoredEvent};
pub use log::{Appender, Log, Reader};
pub use notifications::Notifications;
pub use point::Point;
pub use position::{PendingPosition, Position, Version};
pub use request::{InspectedRequest, NewRequest, StoredRequest};
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
