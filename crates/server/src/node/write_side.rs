//! The command side of a node: the writer of the log and the services that read it.

use std::io;

use command_side::{CommandSide, Commands, Events};
use event_log::Location;
use tokio::{runtime::Handle, sync::watch, task::JoinHandle};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::Error;

/// The running role `command`.
#[derive(Debug)]
pub(crate) struct WriteSide {
    pub(crate) commands: Commands,
    pub(crate) events: Events,
    /// True while the log answers: the first for its writer, the second for its readers.
    pub(crate) available: [watch::Receiver<bool>; 2],
    writer: JoinHandle<()>,
    no_more_commands: CancellationToken,
}

impl WriteSide {
    /// Opens the log and starts its writer on this thread. Everything else runs on `readers` and
    /// ends with `streams`.
    pub(super) async fn start(
        log: &Location,
        readers: &Handle,
        streams: &CancellationToken,
        tasks: &TaskTracker,
    ) -> Result<Self, Error> {
        let CommandSide {
            commands,
            events,
            writer,
            dispatch,
            follow,
            available,
        } = command_side::open(log, readers, streams.clone()).await?;
        let no_more_commands = CancellationToken::new();
        let writer = tokio::spawn(writer.run(no_more_commands.clone()));
        tasks.spawn_on(dispatch.run(), readers);
        tasks.spawn_on(follow.run(), readers);
        Ok(Self {
            commands,
            events,
            available,
            writer,
            no_more_commands,
        })
    }

    /// Waits until the writer fails. It never ends by itself before [`WriteSide::end`], so an end is
    /// a panic: commands would wait forever.
    pub(super) async fn failed(&mut self) -> Error {
        match (&mut self.writer).await {
            Ok(()) => Error::Thread(io::Error::other("the writer has ended")),
            Err(error) => Error::Thread(error.into()),
        }
    }

    /// Stops the writer and waits for its end. Calls that the drain timeout has cut off could
    /// otherwise keep the writer busy forever.
    ///
    /// # Errors
    /// [`Error::Thread`] if the writer panics.
    pub(super) async fn end(self) -> Result<(), Error> {
        self.no_more_commands.cancel();
        let ended = self.writer.await;
        ended.map_err(|error| Error::Thread(error.into()))
    }
}
