//! Who runs where.
//!
//! Commands have a thread of their own, the one that `serve` is called on: answers from another
//! thread would fragment the HTTP/2 writes and double what a call costs. Queries and streams share
//! a few threads, and the projections have one each, of lower priority: they may fall behind, but
//! never take time from a command.

use std::{io, thread};

use tokio::{
    runtime::{Builder, Handle},
    sync::oneshot,
};

use super::Error;

/// Threads with a runtime of their own, until it is dropped.
#[derive(Debug)]
pub(super) struct Threads {
    handle: Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Threads {
    /// Two threads, for queries and streams.
    pub(super) fn for_reading() -> io::Result<Self> {
        Self::start("read", 0, Builder::new_multi_thread().worker_threads(2))
    }

    /// One thread, `niceness` (0 to 19) below the others.
    pub(super) fn in_background(name: &'static str, niceness: i32) -> io::Result<Self> {
        Self::start(name, niceness, &mut Builder::new_current_thread())
    }

    fn start(name: &'static str, niceness: i32, runtime: &mut Builder) -> io::Result<Self> {
        let runtime = runtime.thread_name(name).enable_all().build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                // On Linux, this is the priority of the calling thread, and of those it starts. A
                // system that refuses it still does the work, at the priority of the others.
                if let Err(error) = rustix::process::setpriority_process(None, niceness) {
                    tracing::debug!(%error, name, "no lower priority");
                }
                // Ends when the sender is dropped.
                let _ = runtime.block_on(stopped);
            })?;
        Ok(Self {
            handle,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Runs something there, and waits for it.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        task: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, Error> {
        let ended = self.handle.spawn(task).await;
        ended.map_err(|error| Error::Thread(error.into()))
    }

    /// Where to spawn.
    pub(super) fn handle(&self) -> &Handle {
        &self.handle
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            // A panic in it has been told already.
            let _ = thread.join();
        }
    }
}
