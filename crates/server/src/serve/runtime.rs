//! Who runs where.
//!
//! Commands have a thread of their own, the one that `serve` is called on: answers from another
//! thread would fragment the HTTP/2 writes and double what a call costs. Queries and streams share
//! a few threads, and the projections have one each, of lower priority: they may fall behind, but
//! never take time from a command.

use std::{io, thread};

use tokio::{
    runtime::{Builder, Handle, Runtime},
    sync::oneshot,
};

/// Threads for queries and streams.
const READ_THREADS: usize = 2;

/// A runtime for queries and streams.
pub(super) fn for_reading() -> io::Result<Runtime> {
    Builder::new_multi_thread()
        .worker_threads(READ_THREADS)
        .thread_name("read")
        .enable_all()
        .build()
}

/// A thread of lower priority with a runtime of its own, until it is dropped.
#[derive(Debug)]
pub(super) struct Background {
    handle: Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Background {
    /// Starts it, `niceness` (0 to 19) below the others. What its tasks start inherits that.
    pub(super) fn start(name: &'static str, niceness: i32) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().thread_name(name).build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = thread::Builder::new().name(name.to_owned()).spawn(move || {
            // On Linux, this is the priority of the calling thread. A system that refuses it still
            // does the work, at the priority of the others.
            if let Err(error) = rustix::process::setpriority_process(None, niceness) {
                tracing::debug!(%error, name, "no lower priority");
            }
            // Ends when the sender is dropped.
            let _ = runtime.block_on(stopped);
        })?;
        Ok(Self { handle, stop: Some(stop), thread: Some(thread) })
    }

    /// Where to spawn.
    pub(super) fn handle(&self) -> &Handle {
        &self.handle
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            // A panic in it has been told already.
            let _ = thread.join();
        }
    }
}
