//! Who runs where.
//!
//! Commands have a thread of their own, the one that `serve` is called on: answers from another
//! thread would fragment the HTTP/2 writes and double what a call costs. Queries and streams share
//! a few threads, and the projections have one each: they may fall behind, but take next to no time
//! from a command.

use std::{io, thread};

use thread_priority::ThreadPriority;
#[cfg(target_os = "linux")]
use thread_priority::{NormalThreadSchedulePolicy, ThreadSchedulePolicy};
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
        let mut runtime = Builder::new_multi_thread();
        Self::start("read", None, runtime.worker_threads(2))
    }

    /// One thread, for what is to give way to others.
    pub(super) fn in_background(name: &'static str, yields: Yields) -> io::Result<Self> {
        Self::start(name, Some(yields), &mut Builder::new_current_thread())
    }

    fn start(
        name: &'static str,
        yields: Option<Yields>,
        runtime: &mut Builder,
    ) -> io::Result<Self> {
        let runtime = runtime.thread_name(name).enable_all().build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                // Also of the threads that this one starts. A system that refuses it still does the
                // work, at the priority of the others.
                if let Some(Err(error)) = yields.map(Yields::apply) {
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

/// How a thread gives way to others.
#[derive(Debug, Clone, Copy)]
pub(super) enum Yields {
    /// It gets little of the processor while others want it: the greatest niceness.
    Mostly,
    /// It works while nobody else wants the processor, who takes it at once.
    Always,
}

impl Yields {
    fn apply(self) -> Result<(), thread_priority::Error> {
        match self {
            #[cfg(target_os = "linux")]
            Self::Always => thread_priority::set_thread_priority_and_policy(
                thread_priority::thread_native_id(),
                ThreadPriority::Min,
                ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle),
            ),
            _ => thread_priority::set_current_thread_priority(ThreadPriority::Min),
        }
    }
}
