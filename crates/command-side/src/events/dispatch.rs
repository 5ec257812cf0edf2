//! Wakes only the subscribers whose filter an event may match. An idle subscriber's cost is
//! independent of the rate of appends. The rate is independent of the number of idle subscribers.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use event_log::Position;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::{
    codec::header::Header,
    events::{filter::Interest, tail::Tail},
};

/// Limits the events of one step. The dispatch yields to other tasks after each step.
const MAX_STEP_EVENTS: usize = 1000;

/// The value of [`Sleeper::woken_after`] while no event has woken the subscriber.
const NOT_WOKEN: u64 = u64::MAX;

/// A subscriber that waits for events.
#[derive(Debug)]
struct Sleeper {
    /// The position before the first event that woke the subscriber since the last
    /// [`Registration::cleared`]; [`NOT_WOKEN`] if there is none.
    woken_after: AtomicU64,
    notify: Notify,
}

impl Sleeper {
    fn wake(&self, after: Position) {
        // Keeps the earliest position until the subscriber reads it. `Relaxed` is enough, because
        // every access holds the dispatcher's lock.
        self.woken_after.fetch_min(after.get(), Ordering::Relaxed);
        self.notify.notify_one();
    }
}

#[derive(Debug, Default)]
struct Registered {
    /// The dispatch has woken the subscribers for every event at or below this position.
    position: Position,
    /// The number of restarts. A step that began before a restart has events of another history.
    restarts: u64,
    sleepers: HashMap<Interest<'static>, Vec<Arc<Sleeper>>>,
}

/// The state of the dispatch at the beginning of a step.
#[derive(Debug)]
struct Step {
    position: Position,
    restarts: u64,
    is_selective: bool,
}

/// The registered subscribers by their interests.
#[derive(Debug, Default)]
pub(crate) struct Dispatcher {
    registered: Mutex<Registered>,
}

/// The task that wakes subscribers as the tail grows.
#[derive(Debug)]
pub struct Dispatch {
    pub(crate) dispatcher: Arc<Dispatcher>,
    pub(crate) tail: Arc<Tail>,
    pub(crate) stop: CancellationToken,
}

impl Dispatch {
    /// Wakes subscribers until it is stopped.
    pub async fn run(self) {
        self.dispatcher.run(&self.tail, self.stop).await;
    }
}

/// One subscriber's registration. Dropping it removes the subscriber from the dispatcher.
#[derive(Debug)]
pub(crate) struct Registration {
    dispatcher: Arc<Dispatcher>,
    interests: HashSet<Interest<'static>>,
    sleeper: Arc<Sleeper>,
}

impl Dispatcher {
    pub(crate) fn new(head: Position) -> Arc<Self> {
        let registered = Registered {
            position: head,
            ..Registered::default()
        };
        Arc::new(Self {
            registered: Mutex::new(registered),
        })
    }

    /// Registers a subscriber. Returns the registration and a position: the dispatcher wakes the
    /// subscriber only for events after it, and the subscriber reads the earlier ones itself.
    pub(crate) fn register(
        self: &Arc<Self>,
        interests: HashSet<Interest<'static>>,
    ) -> (Registration, Position) {
        let sleeper = Arc::new(Sleeper {
            woken_after: AtomicU64::new(NOT_WOKEN),
            notify: Notify::new(),
        });
        let mut registered = self.lock();
        for interest in &interests {
            let sleepers = registered.sleepers.entry(interest.clone()).or_default();
            sleepers.push(Arc::clone(&sleeper));
        }
        let registration = Registration {
            dispatcher: Arc::clone(self),
            interests,
            sleeper,
        };
        (registration, registered.position)
    }

    /// Wakes subscribers for each event that the tail receives, until `stop` is cancelled.
    pub(crate) async fn run(&self, tail: &Tail, stop: CancellationToken) {
        let mut head = tail.subscribe();
        loop {
            head.borrow_and_update();
            while self.position() < tail.head() {
                self.step(tail);
                tokio::task::yield_now().await;
            }
            tokio::select! {
                () = stop.cancelled() => return,
                changed = head.changed() => if changed.is_err() { return },
            }
        }
    }

    /// Wakes the subscribers of one page of the tail, each interest once.
    fn step(&self, tail: &Tail) {
        let began = self.begin();
        // Reads the events without the lock.
        let records = tail.after(began.position, MAX_STEP_EVENTS);
        let interests = match &records {
            // The tail no longer holds these events, so that every subscriber must read the store.
            None => return self.wake_all(&began, tail.head()),
            Some(records) if began.is_selective => first_events(began.position, records),
            Some(_) => HashMap::from([(Interest::ALL, began.position)]),
        };
        let count = records.as_ref().map_or(0, Vec::len);
        self.wake(&began, count, &interests);
    }

    fn begin(&self) -> Step {
        let registered = self.lock();
        Step {
            position: registered.position,
            restarts: registered.restarts,
            is_selective: registered.is_selective(),
        }
    }

    /// Wakes the subscribers with one of these interests in the next `count` events.
    fn wake(&self, began: &Step, count: usize, interests: &HashMap<Interest<'_>, Position>) {
        let mut registered = self.lock();
        if registered.is_selective() && !began.is_selective || registered.restarts != began.restarts
        {
            // The first selective subscriber has come since: the next step finds its events. Or the
            // log went back, and the dispatch begins anew.
            return;
        }
        for (interest, before) in interests {
            registered.wake(interest, *before);
        }
        registered.position += count;
    }

    /// Wakes every subscriber, for the events up to `newest`.
    fn wake_all(&self, began: &Step, newest: Position) {
        let mut registered = self.lock();
        if registered.restarts != began.restarts || newest < began.position {
            return;
        }
        for sleeper in registered.sleepers.values().flatten() {
            sleeper.wake(began.position);
        }
        registered.position = newest;
    }

    /// Goes on after this position, because the log went back. The subscribers' streams end.
    pub(crate) fn restart(&self, position: Position) {
        let mut registered = self.lock();
        registered.position = position;
        registered.restarts += 1;
    }

    /// Returns the position up to which the dispatch has woken the subscribers.
    pub(crate) fn position(&self) -> Position {
        self.lock().position
    }

    fn lock(&self) -> MutexGuard<'_, Registered> {
        // No code panics half-way through a change under the lock, so the value is consistent.
        self.registered
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns each interest of the events after `position`, with the position before its first event.
fn first_events(position: Position, records: &[Bytes]) -> HashMap<Interest<'_>, Position> {
    let mut first = HashMap::new();
    for (before, record) in position.onwards().zip(records) {
        for interest in Interest::of(&Header::of(record)) {
            first.entry(interest).or_insert(before);
        }
    }
    first
}

impl Registered {
    /// Returns whether a subscriber has another interest than every event.
    fn is_selective(&self) -> bool {
        self.sleepers.len() > usize::from(self.sleepers.contains_key(&Interest::ALL))
    }

    fn wake(&self, interest: &Interest<'_>, before: Position) {
        // The compiler shortens the lifetime of the map's keys to that of `interest`.
        for sleeper in self.sleepers.get(interest).into_iter().flatten() {
            sleeper.wake(before);
        }
    }
}

impl Registration {
    /// Waits for an event that the subscriber's filter may match.
    pub(crate) async fn woken(&self) {
        self.sleeper.notify.notified().await;
    }

    /// Returns two positions for a subscriber that has read the log up to `read`:
    /// - No event after `read`, at or below the first, matches the subscriber's filter.
    /// - The subscriber must read on to the second: only later events wake it.
    pub(crate) fn cleared(&self, read: Position) -> (Position, Position) {
        // Reads both under the lock, because a wake after the first read would be lost.
        let registered = self.dispatcher.lock();
        let position = registered.position.max(read);
        match self.sleeper.woken_after.swap(NOT_WOKEN, Ordering::Relaxed) {
            NOT_WOKEN => (position, position),
            woken_after => (read.max(woken_after.into()), position),
        }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut registered = self.dispatcher.lock();
        for interest in &self.interests {
            if let Some(sleepers) = registered.sleepers.get_mut(interest) {
                sleepers.retain(|sleeper| !Arc::ptr_eq(sleeper, &self.sleeper));
                if sleepers.is_empty() {
                    registered.sleepers.remove(interest);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
