//! The client at the other end of a connection, as the layers see it.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use tokio::sync::{Mutex, MutexGuard, OwnedSemaphorePermit, Semaphore, watch};

use super::strangers::{Newcomer, Strangers};

/// Maximum number of calls in a row that the server refuses on one connection before it closes the
/// connection. A client with a credential of its own meets this only if the credential is wrong.
pub(super) const MAX_REFUSALS_IN_A_ROW: u32 = 100;

/// Maximum number of open calls of one connection that need no credential.
pub(crate) const MAX_OPEN_CALLS: usize = 4;

/// Maximum number of calls of one connection whose credential is not verified yet.
pub(crate) const MAX_UNVERIFIED_CALLS: usize = 100;

/// The runtime that serves a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Runtime {
    /// The thread of connections that have made no admitted call yet.
    Lobby,
    /// The thread that decides commands, for connections that carry only commands.
    Commands,
    /// The threads of queries and streams, for every other connection.
    Reading,
}

/// The orders of the layers to the task that serves the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Orders {
    pub(super) runtime: Runtime,
    pub(super) close: Option<Close>,
}

/// The way to close a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Close {
    /// Calls in progress may finish for a short time.
    Gently,
    /// The connection is dropped.
    AtOnce,
}

/// A connected client. Every request carries it in its extensions.
#[derive(Debug, Clone)]
pub(crate) struct Peer(Arc<Connected>);

#[derive(Debug)]
struct Connected {
    address: SocketAddr,
    /// Whether the connection has a place that is kept for operators.
    is_kept: bool,
    orders: watch::Sender<Orders>,
    refusals_in_a_row: AtomicU32,
    open_calls: Arc<Semaphore>,
    unverified: Arc<Semaphore>,
    verifying: Mutex<()>,
    newcomer: Newcomer,
    strangers: Strangers,
}

impl Peer {
    /// Describes a new connection from `address`. The oldest stranger leaves if there are too many.
    /// `is_kept` is true for a place that is kept for operators.
    pub(crate) fn arrive(address: SocketAddr, strangers: &Strangers, is_kept: bool) -> Self {
        let (orders, _) = watch::channel(Orders {
            runtime: Runtime::Lobby,
            close: None,
        });
        let newcomer = strangers.enter(orders.clone());
        Self(Arc::new(Connected {
            address,
            is_kept,
            orders,
            refusals_in_a_row: AtomicU32::new(0),
            open_calls: Arc::new(Semaphore::new(MAX_OPEN_CALLS)),
            unverified: Arc::new(Semaphore::new(MAX_UNVERIFIED_CALLS)),
            verifying: Mutex::new(()),
            newcomer,
            strangers: strangers.clone(),
        }))
    }

    /// Returns the address of the client.
    pub(crate) fn address(&self) -> SocketAddr {
        self.0.address
    }

    /// Returns whether the connection has a place that is kept for operators.
    pub(crate) fn is_kept(&self) -> bool {
        self.0.is_kept
    }

    /// Returns whether the connection has made no admitted call yet.
    pub(crate) fn is_stranger(&self) -> bool {
        self.runtime() == Runtime::Lobby
    }

    /// Returns the runtime that serves the connection.
    pub(super) fn runtime(&self) -> Runtime {
        self.0.orders.borrow().runtime
    }

    /// Records an admitted call. Its connection is served on the commands' thread as long as it
    /// carries commands only, and on the reading threads from its first other call on.
    pub(crate) fn admitted(&self, is_command: bool) {
        if self.0.refusals_in_a_row.swap(0, Ordering::Relaxed) > 0 {
            self.0.strangers.forgive(self.0.address);
        }
        let runtime = match (is_command, self.runtime()) {
            (true, Runtime::Lobby) => Runtime::Commands,
            (false, Runtime::Lobby | Runtime::Commands) => Runtime::Reading,
            // The connection is where it belongs.
            _ => return,
        };
        self.0.strangers.leave(&self.0.newcomer, self.0.address);
        self.0.orders.send_modify(|orders| orders.runtime = runtime);
    }

    /// Records a refused call. The connection closes after [`MAX_REFUSALS_IN_A_ROW`].
    pub(crate) fn refused(&self) {
        self.0.strangers.refused(self.0.address);
        let before = self.0.refusals_in_a_row.fetch_add(1, Ordering::Relaxed);
        if before + 1 >= MAX_REFUSALS_IN_A_ROW {
            self.close();
        }
    }

    /// Closes the connection: its calls may finish for a short time.
    pub(crate) fn close(&self) {
        self.order(Close::Gently);
    }

    /// Drops the connection.
    pub(crate) fn cut_off(&self) {
        self.order(Close::AtOnce);
    }

    fn order(&self, how: Close) {
        self.0.orders.send_if_modified(|orders| {
            let is_new = orders.close < Some(how);
            orders.close = orders.close.max(Some(how));
            is_new
        });
    }

    /// Reserves a call that needs no credential. Returns `None` if the connection has
    /// [`MAX_OPEN_CALLS`] of them already.
    pub(crate) fn open_call(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.0.open_calls).try_acquire_owned().ok()
    }

    /// Reserves a call whose credential has to be verified. Returns `None` if
    /// [`MAX_UNVERIFIED_CALLS`] of the connection wait for that already.
    pub(crate) fn unverified_call(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.0.unverified).try_acquire_owned().ok()
    }

    /// Waits until no other credential of this connection is being verified.
    pub(crate) async fn verifying(&self) -> MutexGuard<'_, ()> {
        self.0.verifying.lock().await
    }

    /// Returns whether the connection is to close.
    pub(super) fn is_closing(&self) -> bool {
        self.0.orders.borrow().close.is_some()
    }

    /// Waits until the connection is to close.
    pub(super) async fn is_closed(&self) {
        // The sender lives as long as `self`, so an error cannot occur.
        let _ = self
            .orders()
            .wait_for(|orders| orders.close.is_some())
            .await;
    }

    /// Returns the orders to the task that serves the connection.
    pub(super) fn orders(&self) -> watch::Receiver<Orders> {
        self.0.orders.subscribe()
    }
}
