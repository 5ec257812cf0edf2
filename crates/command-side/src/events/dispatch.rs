//! Wakes only the subscribers whose filter an event may match. An idle subscriber's cost is
//! independent of the rate of appends. The rate is independent of the number of idle subscribers.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

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
    sleepers: HashMap<Interest, Vec<Arc<Sleeper>>>,
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
    interests: Vec<Interest>,
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
    pub(crate) fn register(self: &Arc<Self>, interests: Vec<Interest>) -> (Registration, Position) {
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
            let newest = *head.borrow_and_update();
            while self.position() < newest {
                self.step(tail, newest);
                tokio::task::yield_now().await;
            }
            tokio::select! {
                () = stop.cancelled() => return,
                changed = head.changed() => if changed.is_err() { return },
            }
        }
    }

    fn step(&self, tail: &Tail, newest: Position) {
        let position = self.position();
        let records = tail.after(position, MAX_STEP_EVENTS);
        let mut registered = self.lock();
        let Some(records) = records else {
            // The tail no longer holds these events, so that every subscriber must read the store.
            for sleeper in registered.sleepers.values().flatten() {
                sleeper.wake(position);
            }
            registered.position = newest;
            return;
        };
        registered.wake(&Interest::All);
        for record in &records {
            registered.wake_for(record);
            registered.position += 1;
        }
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

impl Registered {
    fn wake_for(&self, record: &[u8]) {
        if self.sleepers.len() == usize::from(self.sleepers.contains_key(&Interest::All)) {
            return;
        }
        let header = Header::of(record);
        self.wake(&Interest::Payload(header.payload));
        self.wake(&Interest::AggregateType(header.aggregate_type));
        self.wake(&Interest::Aggregate(header.aggregate_id.to_owned()));
        self.wake(&Interest::Customer(header.customer_id.to_owned()));
    }

    fn wake(&self, interest: &Interest) {
        for sleeper in self.sleepers.get(interest).into_iter().flatten() {
            sleeper.wake(self.position);
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
mod tests {
    use bytes::Bytes;
    use contract::orders::v1::RecordedEvent;
    use futures_util::FutureExt as _;
    use prost::Message as _;

    use super::*;

    /// Pushes an event of the customer at the next position.
    fn push(tail: &Tail, customer_id: &str) {
        let position = tail.head() + 1;
        let customer_id = customer_id.to_owned();
        let event = RecordedEvent {
            position: position.get(),
            customer_id,
            ..RecordedEvent::default()
        };
        tail.push(position, vec![Bytes::from(event.encode_to_vec())]);
    }

    fn customer(id: &str) -> Vec<Interest> {
        vec![Interest::Customer(id.to_owned())]
    }

    fn cleared(registration: &Registration, read: u64) -> (u64, u64) {
        let (cleared, upto) = registration.cleared(read.into());
        (cleared.get(), upto.get())
    }

    #[tokio::test]
    async fn g6_dispatch_wakes_a_subscriber_for_matching_events_only() {
        let tail = Tail::new(Position::START);
        let dispatcher = Dispatcher::new(Position::START);
        push(&tail, "ann");
        dispatcher.step(&tail, tail.head());
        let (ann, from) = dispatcher.register(customer("ann"));
        assert_eq!(
            from,
            1.into(),
            "the subscriber reads the earlier events itself"
        );
        for customer in ["bob", "bob", "ann", "bob", "ann"] {
            push(&tail, customer);
        }
        let (bob, _) = dispatcher.register(customer("bob"));
        let (eve, _) = dispatcher.register(customer("eve"));
        dispatcher.step(&tail, tail.head());
        assert_eq!(ann.woken().now_or_never(), Some(()));
        assert_eq!(cleared(&ann, 1), (3, 6), "its first event is at 4");
        assert_eq!(cleared(&ann, 6), (6, 6), "it has read its events");
        assert_eq!(cleared(&bob, 0), (1, 6));
        assert_eq!(eve.woken().now_or_never(), None);
        assert_eq!(cleared(&eve, 0), (6, 6), "it has no event to read");
    }

    #[tokio::test]
    async fn g11_dropped_registration_leaves_the_dispatcher() {
        let dispatcher = Dispatcher::new(Position::START);
        let (first, _) = dispatcher.register(customer("ann"));
        let (second, _) = dispatcher.register(customer("ann"));
        drop(first);
        assert_eq!(dispatcher.lock().sleepers.len(), 1);
        drop(second);
        assert_eq!(dispatcher.lock().sleepers.len(), 0);
    }
}
