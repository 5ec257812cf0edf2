//! The write side: it takes commands, appends events to the log, and streams the events.
//!
//! [`open`] opens the log and makes the services that run on it.
//!
//! The path of a command:
//! 1. [`Commands`], the CommandService, receives it, and [`codec::request`] decodes it and rejects
//!    unknown fields.
//! 2. One file of [`commands`] for each kind of command checks its fields.
//! 3. The service queues it. The one [`Writer`] takes all queued commands as a batch.
//! 4. [`commands::decide`] decides each command of the batch in memory.
//! 5. The log commits the batch in one transaction, and every caller gets its reply.
//!
//! The path of an event:
//! 1. The writer pushes committed events to the in-memory tail. [`Follow`] pushes the events that
//!    other nodes append.
//! 2. [`Dispatch`] wakes only the subscribers whose filter an event may match.
//! 3. [`Events`], the EventService, streams it. Subscribers at the head read the tail, and the
//!    others read pages of the log.
//!
//! [`verify_file`] checks every row of an exported log. [`codec`] converts between the domain's
//! events and the stored records.

pub mod codec;
pub mod commands;
mod error;
pub mod events;

use std::sync::Arc;

use event_log::{Location, Log, Point};
use tokio::{
    runtime::Handle,
    sync::{mpsc, watch},
};
use tokio_util::sync::CancellationToken;

use codec::record;
pub use commands::{Commands, Writer};
pub use events::{Dispatch, Events, Follow, verify_file};
use events::{dispatch::Dispatcher, follow::Signals, subscription::Sources, tail::Tail};

/// Returns the limits that clients of CommandService and EventService can meet.
pub fn limits() -> impl Iterator<Item = wire::Limit> {
    commands::LIMITS.into_iter().chain(events::LIMITS)
}

/// The services of one log, and the tasks that the caller has to run for them.
#[derive(Debug)]
pub struct CommandSide {
    /// The CommandService. The writer ends when the last clone is dropped.
    pub commands: Commands,
    /// The EventService.
    pub events: Events,
    /// The caller runs it to its end: dropping it earlier cuts a commit short.
    pub writer: Writer,
    /// The caller runs it for as long as the EventService runs.
    pub dispatch: Dispatch,
    /// The caller runs it for as long as the EventService runs.
    pub follow: Follow,
    /// True while the store answers: first for the writer, second for [`Follow`].
    pub available: [watch::Receiver<bool>; 2],
}

/// Opens the log and makes its services. The log is read on `runtime`. `stop` ends the streams, the
/// dispatch and the follow task.
///
/// # Errors
/// [`event_log::Error`] when the log cannot be opened, or its head cannot be read. The log is
/// unchanged then.
pub async fn open(
    location: &Location,
    runtime: &Handle,
    stop: CancellationToken,
) -> Result<CommandSide, event_log::Error> {
    let Log {
        mut appender,
        reader,
        follower,
        notifications,
    } = event_log::open(location, record::SCHEMA, runtime).await?;
    let head = appender.head().await?;
    let newest = reader.point(head).await?;
    // A log that lacks its newest event is damaged: it can be verified, but not followed.
    let newest = newest.unwrap_or(Point::of(head, &[]));
    let tail = Arc::new(Tail::new(newest));
    let dispatcher = Dispatcher::new(newest.position);
    let (sender, jobs) = mpsc::channel(commands::QUEUE_CAPACITY);
    let (available, is_available) = watch::channel(true);
    let signals = Arc::new(Signals::default());
    let (readable, is_readable) = watch::channel(true);
    let sources = Sources {
        reader: Arc::clone(&reader),
        tail: Arc::clone(&tail),
        dispatcher: Arc::clone(&dispatcher),
        available: is_readable.clone(),
        stop: stop.clone(),
    };
    Ok(CommandSide {
        commands: Commands::new(sender, stop.clone()),
        events: Events::new(sources),
        writer: Writer {
            jobs,
            appender,
            tail: Arc::clone(&tail),
            signals: Arc::clone(&signals),
            available,
            timeouts: 0,
            optimistic: true,
        },
        dispatch: Dispatch {
            dispatcher: Arc::clone(&dispatcher),
            tail: Arc::clone(&tail),
            stop: stop.clone(),
        },
        follow: Follow {
            notifications,
            reader: follower,
            tail,
            dispatcher,
            signals,
            available: readable,
            stop,
        },
        available: [is_available, is_readable],
    })
}
