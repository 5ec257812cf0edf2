//! Reads the changes of the documents once for all watchers, and hands each to those it concerns.

use std::{
    collections::HashMap,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use contract::orders::v1::Order;
use prost::Message as _;
use read_model::{
    request::OrderFilter,
    store::{self, ChangeCursor, Changes, Reader},
};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use wire::Error;

use super::predicates::Predicates;

/// Maximum number of changed orders that are read at once, so that a watcher has time to take them
/// before it is cut.
const MAX_READ_ORDERS: usize = 100;

/// Maximum number of orders that wait for a watcher. Watchers share the orders.
const MAX_WAITING_ORDERS: usize = 400;

/// Maximum encoded bytes of the orders that wait for a watcher, unless one is larger: 512 KiB.
const MAX_WAITING_BYTES: usize = 512 << 10;

/// The time between two attempts to read changes.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// Hands changed orders to the watchers. Clones share the watchers.
#[derive(Debug, Clone)]
pub(crate) struct Dispatch {
    reader: Reader,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// Notified when there is a first watcher.
    watched: Notify,
}

#[derive(Debug, Default)]
struct State {
    last_id: u64,
    inboxes: HashMap<u64, Arc<Inbox>>,
    predicates: Predicates,
    /// The changes up to here are handed out.
    cursor: ChangeCursor,
    /// Every change up to this position is handed out, in the newest state of each order.
    complete: u64,
    /// While new names wait for the index of lists, orders' own changes up to here are handed out ahead.
    /// All changes after the cursor follow when the names can be read.
    ahead: u64,
    /// How often the cursor was set back or ahead. A read that began before is dropped.
    restarts: u64,
}

/// The changed orders that wait for one watcher.
#[derive(Debug)]
struct Inbox {
    /// The watcher's filter without statuses: it also wants to know which orders left it.
    filter: OrderFilter,
    waiting: Mutex<Waiting>,
    filled: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    orders: Vec<Arc<Order>>,
    bytes: usize,
    /// Whether changes are missing, because the watcher was too slow.
    is_cut: bool,
}

/// The changes for a watcher since the last time.
#[derive(Debug, PartialEq)]
pub(super) enum Taken {
    /// Orders that changed, in the order of their changes, and the position up to which these are
    /// all.
    Orders(Vec<Arc<Order>>, u64),
    /// Changes are missing: the watcher reads them itself.
    Cut,
}

/// A watcher's place in the dispatch, which ends when it is dropped.
#[derive(Debug)]
pub(super) struct Registration {
    shared: Arc<Shared>,
    id: u64,
    inbox: Arc<Inbox>,
}

// Each lock is held for work that cannot panic, so none can be poisoned.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Dispatch {
    pub(crate) fn new(reader: Reader) -> Self {
        Self {
            reader,
            shared: Arc::default(),
        }
    }

    /// Registers a watcher. From now on it is handed every change that the documents do not have yet,
    /// and perhaps some of those that they have.
    pub(super) fn register(&self, filter: &OrderFilter) -> Registration {
        let inbox = Arc::new(Inbox {
            filter: in_any_state(filter),
            waiting: Mutex::default(),
            filled: Notify::new(),
        });
        let mut state = lock(&self.shared.state);
        let position = self.reader.position();
        // Nothing was read while nobody watched. A lower position is that of documents that were
        // made again because the log went back.
        if state.inboxes.is_empty() || position < state.cursor.position {
            state.restart(position);
        }
        state.last_id += 1;
        let id = state.last_id;
        state.predicates.insert(id, &inbox.filter);
        state.inboxes.insert(id, Arc::clone(&inbox));
        drop(state);
        self.shared.watched.notify_one();
        let shared = Arc::clone(&self.shared);
        Registration { shared, id, inbox }
    }

    /// Hands out changes until `stop` is cancelled.
    pub(crate) async fn run(self, stop: CancellationToken) {
        stop.run_until_cancelled(self.hand_out()).await;
    }

    async fn hand_out(&self) {
        let mut position = self.reader.subscribe();
        let mut listed = self.reader.listed();
        let mut consistent = self.reader.consistent();
        loop {
            if consistent.has_changed().unwrap_or(false) {
                consistent.mark_unchanged();
                lock(&self.shared.state).restart(self.reader.position());
            }
            let Some((cursor, ahead, restarts)) = self.next_read() else {
                self.shared.watched.notified().await;
                continue;
            };
            // Marks the position as seen before the read, so that any later change ends the wait.
            position.mark_unchanged();
            listed.mark_unchanged();
            let mut read = self.reader.changed_since(cursor, MAX_READ_ORDERS).await;
            let waits_for_lists = matches!(read, Err(store::Error::Unlisted));
            if waits_for_lists {
                let ahead = ahead.max(cursor.position);
                read = self.reader.own_changes_since(ahead, MAX_READ_ORDERS).await;
            }
            let is_all = match read {
                Ok(changes) => {
                    let mut state = lock(&self.shared.state);
                    // A watcher that registered after the log went back is not handed older changes.
                    let is_current = !consistent.has_changed().unwrap_or(false);
                    is_current && state.hand_out(changes, waits_for_lists, restarts)
                }
                Err(error) => {
                    // The watchers find out themselves what is wrong.
                    let _ = Error::from(&error);
                    lock(&self.shared.state).restart(cursor.position);
                    tokio::time::sleep(RETRY_INTERVAL).await;
                    false
                }
            };
            if !is_all {
                // The watchers take what they have been handed.
                tokio::task::yield_now().await;
                continue;
            }
            let changed = tokio::select! {
                changed = position.changed() => changed,
                changed = listed.changed() => changed,
            };
            if changed.is_err() {
                return;
            }
        }
    }

    /// Returns where to read on, also ahead, and the number of restarts; `None` if nobody watches.
    fn next_read(&self) -> Option<(ChangeCursor, u64, u64)> {
        let mut state = lock(&self.shared.state);
        let position = self.reader.position();
        if position < state.cursor.position {
            state.restart(position);
        }
        let read = (state.cursor, state.ahead, state.restarts);
        (!state.inboxes.is_empty()).then_some(read)
    }
}

impl State {
    /// Goes on at a position. Every watcher reads by itself what it lacks.
    fn restart(&mut self, position: u64) {
        self.cursor = ChangeCursor::at(position);
        self.complete = position;
        self.ahead = 0;
        self.restarts += 1;
        for inbox in self.inboxes.values() {
            inbox.cut();
        }
    }

    /// Hands out changes that were read after this many restarts, `ahead` of the cursor or at it. Returns
    /// whether these are all changes so far.
    fn hand_out(&mut self, changes: Changes, ahead: bool, restarts: u64) -> bool {
        if restarts != self.restarts {
            return false;
        }
        for document in changes.documents {
            let order = Arc::new(document.order);
            let bytes = order.encoded_len();
            for id in self.predicates.candidates(&order) {
                if let Some(inbox) = self.inboxes.get(&id)
                    && inbox.filter.matches(&order)
                {
                    inbox.add(&order, bytes);
                }
            }
        }
        let is_all = changes.next.position >= changes.as_of;
        if ahead {
            self.ahead = changes.next.position;
            return is_all;
        }
        (self.cursor, self.ahead) = (changes.next, 0);
        if is_all {
            self.complete = changes.next.position;
        }
        is_all
    }
}

/// Returns a filter without its statuses.
pub(super) fn in_any_state(filter: &OrderFilter) -> OrderFilter {
    OrderFilter {
        statuses: Vec::new(),
        ..filter.clone()
    }
}

impl Inbox {
    fn add(&self, order: &Arc<Order>, bytes: usize) {
        let mut waiting = lock(&self.waiting);
        if waiting.is_cut {
            return;
        }
        let bytes = waiting.bytes + bytes;
        let is_full = waiting.orders.len() >= MAX_WAITING_ORDERS || bytes > MAX_WAITING_BYTES;
        if is_full && !waiting.orders.is_empty() {
            drop(waiting);
            return self.cut();
        }
        waiting.orders.push(Arc::clone(order));
        waiting.bytes = bytes;
        drop(waiting);
        self.filled.notify_one();
    }

    fn cut(&self) {
        *lock(&self.waiting) = Waiting {
            is_cut: true,
            ..Waiting::default()
        };
        self.filled.notify_one();
    }
}

impl Registration {
    /// Waits for changes.
    pub(super) async fn filled(&self) {
        self.inbox.filled.notified().await;
    }

    /// Takes the changes since the last time.
    pub(super) fn take(&self) -> Taken {
        // The position is read first: every change up to there has been handed out by now.
        let complete = lock(&self.shared.state).complete;
        let mut waiting = lock(&self.inbox.waiting);
        match waiting.is_cut {
            true => Taken::Cut,
            false => Taken::Orders(mem::take(&mut *waiting).orders, complete),
        }
    }

    /// Begins anew, after changes were missing. Returns the position after which the watcher is
    /// handed changes.
    pub(super) fn resume(&self) -> u64 {
        let state = lock(&self.shared.state);
        *lock(&self.inbox.waiting) = Waiting::default();
        state.cursor.position
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut state = lock(&self.shared.state);
        state.predicates.remove(self.id, &self.inbox.filter);
        state.inboxes.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn g12_a_read_that_began_before_a_restart_is_dropped() {
        let mut state = State::default();
        let before = state.restarts;
        state.restart(5);
        let read = || Changes {
            documents: Vec::new(),
            next: ChangeCursor::at(9),
            as_of: 9,
            checkpoint: None,
        };
        assert!(!state.hand_out(read(), false, before));
        assert_eq!((state.cursor, state.complete), (ChangeCursor::at(5), 5));
        assert!(state.hand_out(read(), false, state.restarts));
        assert_eq!((state.cursor, state.complete), (ChangeCursor::at(9), 9));
    }
}
