//! The tasks of the HTTP/2 streams of a connection, one for each call.

use std::{
    cell::Cell,
    future::poll_fn,
    pin::{Pin, pin},
    task::{Context, Poll},
};

use futures_util::FutureExt as _;
use tokio::task_local;

use super::{
    Runtimes,
    peer::{Peer, Runtime},
};

type End = Pin<Box<dyn Future<Output = ()> + Send>>;

task_local! {
    /// The future at whose end the stream of this task is reset, once a layer has set one.
    static END: Cell<Option<End>>;
}

/// Resets the HTTP/2 stream of the current call when `end` resolves, even if the client does not
/// read. A body alone cannot end such a stream, because nothing polls it until there is room.
///
/// Returns false on HTTP/1.1, where the connection has to close instead.
pub(crate) fn reset_at(end: impl Future<Output = ()> + Send + 'static) -> bool {
    END.try_with(|slot| slot.set(Some(Box::pin(end)))).is_ok()
}

/// Spawns each stream of a connection on the runtime that serves the connection.
#[derive(Debug, Clone)]
pub(super) struct Streams {
    pub(super) peer: Peer,
    pub(super) runtimes: Runtimes,
}

impl<F> hyper::rt::Executor<F> for Streams
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        let task = END.scope(Cell::new(None), until_end(stream));
        if !self.peer.is_stranger() {
            tokio::spawn(task);
            return;
        }
        // The answers of a burst would take memory until the client has read them.
        if self.peer.is_closing() {
            return;
        }
        // Most calls of strangers are refused at once. Without a task of its own, such a call takes
        // no memory that waits for its turn.
        let mut call = Moving {
            call: Some(Box::pin(task)),
            runtime: Runtime::Lobby,
            streams: self.clone(),
        };
        if Pin::new(&mut call).now_or_never().is_none() {
            tokio::spawn(call);
        }
    }
}

/// A call of a stranger. It moves out of the lobby as soon as it is admitted.
struct Moving<F> {
    /// `None` after the call has ended or moved.
    call: Option<Pin<Box<F>>>,
    runtime: Runtime,
    streams: Streams,
}

impl<F> Future for Moving<F>
where
    F: Future<Output = ()> + Send + 'static,
{
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        let Some(call) = &mut this.call else {
            return Poll::Ready(());
        };
        if call.as_mut().poll(context).is_ready() {
            this.call = None;
            return Poll::Ready(());
        }
        let runtime = this.streams.peer.runtime();
        if runtime == this.runtime {
            return Poll::Pending;
        }
        let moved = Self {
            call: this.call.take(),
            runtime,
            streams: this.streams.clone(),
        };
        this.streams.runtimes.of(runtime).spawn(moved);
        Poll::Ready(())
    }
}

/// Runs a stream until it ends, or until the end that a layer has set for it.
async fn until_end(stream: impl Future<Output = ()>) {
    let mut stream = pin!(stream);
    poll_fn(|context| {
        if stream.as_mut().poll(context).is_ready() {
            return Poll::Ready(());
        }
        END.with(|slot| {
            let mut end = slot.take();
            let ended = end
                .as_mut()
                .map_or(Poll::Pending, |end| end.as_mut().poll(context));
            slot.set(end);
            ended
        })
    })
    .await;
}
