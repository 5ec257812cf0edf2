//! The write side: commands in, events out, and the stream of them.
//!
//! [`open`] opens the log and makes what runs on it: [`Commands`] (CommandService) checks requests
//! and queues them to the one [`Writer`], which decides each batch in memory, commits it once and
//! answers. What it has committed goes to the tail, from where [`Events`] (EventService) streams it
//! to those at the head; the others read the store. The [`Dispatch`] wakes only those subscribers
//! that an event may concern. [`verify_file`] tells whether a log in a file can be relied on.
//!
//! What needs no I/O is public: [`received`] decodes a request and refuses what it would lose of it,
//! [`command`] checks it, [`batch`] decides it, [`record`] is between its events and the log, and
//! [`filter`] says which events a subscriber wants.

pub mod batch;
pub mod command;
mod command_service;
mod dispatch;
mod event_service;
pub mod filter;
mod follow;
mod header;
pub mod received;
pub mod record;
mod subscription;
mod tail;
mod verify;
mod writer;

use std::sync::Arc;

pub use command_service::Commands;
use dispatch::Dispatcher;
use event_log::{Location, Log};
pub use event_service::Events;
pub use follow::Follow;
use follow::Signals;
use subscription::Sources;
use tail::Tail;
use tokio::{
    runtime::Handle,
    sync::{mpsc, watch},
};
use tokio_util::sync::CancellationToken;
pub use verify::verify_file;
pub use writer::Writer;

/// The write side on one log.
#[derive(Debug)]
pub struct CommandSide {
    /// The command service. When its last clone is gone, the writer ends.
    pub commands: Commands,
    /// The event service.
    pub events: Events,
    /// To be run, and to be run to its end.
    pub writer: Writer,
    /// To be run beside the event service.
    pub dispatch: Dispatch,
    /// To be run beside the event service too.
    pub follow: Follow,
    /// Whether the store answers: those who write, and those who read what others write.
    pub available: [watch::Receiver<bool>; 2],
}

/// Wakes subscribers.
#[derive(Debug)]
pub struct Dispatch {
    dispatcher: Arc<Dispatcher>,
    tail: Arc<Tail>,
    stop: CancellationToken,
}

impl Dispatch {
    /// Works until it is stopped.
    pub async fn run(self) {
        self.dispatcher.run(&self.tail, self.stop).await;
    }
}

/// Opens the log, to be read on `runtime`; `stop` ends the streams, the dispatch and the follow.
///
/// # Errors
/// When the log cannot be used; it is unchanged then.
pub async fn open(
    location: &Location,
    runtime: &Handle,
    stop: CancellationToken,
) -> Result<CommandSide, event_log::Error> {
    let Log {
        mut appender,
        reader,
        follower,
        news,
    } = event_log::open(location, record::SCHEMA, runtime).await?;
    let head = appender.head().await?;
    let tail = Arc::new(Tail::new(head));
    let dispatcher = Dispatcher::new(head);
    let (sender, jobs) = mpsc::channel(writer::QUEUE);
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
            hopeful: true,
        },
        dispatch: Dispatch {
            dispatcher,
            tail: Arc::clone(&tail),
            stop: stop.clone(),
        },
        follow: Follow {
            news,
            reader: follower,
            tail,
            signals,
            available: readable,
            stop,
        },
        available: [is_available, is_readable],
    })
}

/// Logs why the log failed; clients are only told that it did, and whether trying again may help.
fn store_error(error: &event_log::Error) -> wire::Error {
    tracing::error!(%error, "the event store failed");
    match error {
        event_log::Error::Damaged(_) | event_log::Error::UnknownSchema { .. } => {
            wire::Error::Internal
        }
        _ => wire::Error::StoreUnavailable,
    }
}
