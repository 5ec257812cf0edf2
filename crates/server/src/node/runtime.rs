//! The threads of a node.
//!
//! Commands have one thread, on which the caller runs [`Serve::run`](super::Serve::run). Answers
//! from another thread would fragment the HTTP/2 writes and double the cost of a call. Queries and
//! streams share two threads. Connections begin in the lobby, on a thread of its own. Each projection has one thread with a low priority: it may lag, but
//! takes little time from commands.

use std::{io, thread};

use thread_priority::{ThreadPriority, set_current_thread_priority};
use tokio::{
    runtime::{Builder, Handle},
    sync::oneshot,
};

use super::Error;

/// A tokio runtime on its own threads. Dropping it ends the runtime and joins the thread.
#[derive(Debug)]
pub(super) struct Threads {
    handle: Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Threads {
    /// Starts a runtime with two worker threads, for queries and streams.
    pub(super) fn for_reading() -> io::Result<Self> {
        let mut runtime = Builder::new_multi_thread();
        Self::start("read", None, runtime.worker_threads(2))
    }

    /// Starts a runtime with one thread, for new connections and for calls that need no credential.
    /// Its niceness of 10 leaves a busy machine to clients with a credential, and is enough for new
    /// ones.
    pub(super) fn for_the_lobby() -> io::Result<Self> {
        // Of 0 to 100, where 50 is usual. All values below 100 are valid.
        let priority = 25_u8.try_into().ok().map(ThreadPriority::Crossplatform);
        Self::start("lobby", priority, &mut Builder::new_current_thread())
    }

    /// Starts a runtime with one thread of the greatest niceness.
    ///
    /// The idle policy of Linux would spare commands more, but its threads stand still for as long
    /// as other processes want every processor.
    pub(super) fn in_background(name: &'static str) -> io::Result<Self> {
        let priority = Some(ThreadPriority::Min);
        Self::start(name, priority, &mut Builder::new_current_thread())
    }

    fn start(
        name: &'static str,
        priority: Option<ThreadPriority>,
        runtime: &mut Builder,
    ) -> io::Result<Self> {
        let runtime = runtime.thread_name(name).enable_all().build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                // Threads that this one starts inherit the priority. If the system rejects the
                // change, the thread works at normal priority.
                if let Some(Err(error)) = priority.map(set_current_thread_priority) {
                    tracing::debug!(%error, name, "no lower priority");
                }
                // Returns when `Threads` drops the sender.
                let _ = runtime.block_on(stopped);
            })?;
        Ok(Self {
            handle,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Runs the task on this runtime and waits for its result.
    ///
    /// # Errors
    /// [`Error::Thread`] if the task panics.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        task: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, Error> {
        let ended = self.handle.spawn(task).await;
        ended.map_err(|error| Error::Thread(error.into()))
    }

    /// Returns the handle that spawns tasks on this runtime.
    pub(super) fn handle(&self) -> &Handle {
        &self.handle
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            // The panic hook has reported a panic of the thread already.
            let _ = thread.join();
        }
    }
}
