//! The write side: commands in, events out, and the stream of them.
//!
//! [`open`] opens the log and makes the services that run on it.
//!
//! A command comes in at [`commands::Commands`], the CommandService. [`codec::request`] decodes it
//! and refuses unknown fields, one file of [`commands`] for each kind of command checks its fields,
//! and the service queues it. The one [`Writer`] takes all commands that wait, [`commands::decide`]
//! decides each of them in memory, and the log commits the batch once. Then every caller is
//! answered.
//!
//! An event goes out at [`Events`], the EventService. The writer pushes committed events to the tail,
//! which subscribers at the head read; the others read pages of the log. The dispatch wakes only the
//! subscribers whose filter an event may match. [`verify_file`] checks every row of a log.
//!
//! [`codec`] converts between the domain's events and the stored records.

pub mod codec;
pub mod commands;
mod error;
pub mod events;

use std::sync::Arc;

use event_log::{Location, Log};
use tokio::{
    runtime::Handle,
    sync::{mpsc, watch},
};
use tokio_util::sync::CancellationToken;

use codec::record;
pub use commands::{Commands, Writer};
pub use events::{Dispatch, Events, Follow, verify_file};
use events::{dispatch::Dispatcher, follow::Signals, subscription::Sources, tail::Tail};

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
