//! Wakes only the subscribers whose filter an event may match. An idle subscriber's cost is
//! independent of the rate of appends. The rate is independent of the number of idle subscribers.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::{
    codec::header::Header,
    events::{filter::Interest, tail::Tail},
};

/// Limits the events of one step. The dispatch yields to other tasks after each step.
const STEP: usize = 1000;

/// The value of [`Sleeper::cleared`] while no event has woken the subscriber.
const ASLEEP: u64 = u64::MAX;

#[derive(Debug)]
struct Sleeper {
    /// The position before the first event that woke the subscriber since the last
    /// [`Registration::cleared`]; [`ASLEEP`] if there is none.
    cleared: AtomicU64,
    notify: Notify,
}

impl Sleeper {
    fn wake(&self, cleared: u64) {
        // Keeps the earliest position until the subscriber reads it. `Relaxed` is enough, because
        // every access holds the dispatcher's lock.
        self.cleared.fetch_min(cleared, Ordering::Relaxed);
        self.notify.notify_one();
    }
}

#[derive(Debug, Default)]
struct Registered {
    /// The dispatch has woken the subscribers for every event at or below this position.
    position: u64,
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
    pub(crate) fn new(head: u64) -> Arc<Self> {
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
    pub(crate) fn register(self: &Arc<Self>, interests: Vec<Interest>) -> (Registration, u64) {
        let sleeper = Arc::new(Sleeper {
            cleared: AtomicU64::new(ASLEEP),
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

    fn step(&self, tail: &Tail, newest: u64) {
        let position = self.position();
        let records = tail.after(position, STEP);
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
    pub(crate) fn position(&self) -> u64 {
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

    /// Returns two positions for a subscriber that has read the log up to `looked`:
    /// - No event after `looked`, at or below the first, matches the subscriber's filter.
    /// - The subscriber must read on to the second: only later events wake it.
    pub(crate) fn cleared(&self, looked: u64) -> (u64, u64) {
        // Reads both under the lock, because a wake after the first read would be lost.
        let registered = self.dispatcher.lock();
        let position = registered.position.max(looked);
        let cleared = self.sleeper.cleared.swap(ASLEEP, Ordering::Relaxed);
        if cleared == ASLEEP {
            (position, position)
        } else {
            (cleared.max(looked), position)
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
            position,
            customer_id,
            ..RecordedEvent::default()
        };
        tail.push(position, vec![Bytes::from(event.encode_to_vec())]);
    }

    fn customer(id: &str) -> Vec<Interest> {
        vec![Interest::Customer(id.to_owned())]
    }

    #[tokio::test]
    async fn g6_a_subscriber_is_woken_by_what_concerns_it_and_cleared_of_the_rest() {
        let tail = Tail::new(0);
        let dispatcher = Dispatcher::new(0);
        push(&tail, "ann");
        dispatcher.step(&tail, tail.head());
        let (ann, from) = dispatcher.register(customer("ann"));
        assert_eq!(from, 1, "what lies before is for it to look at");
        for customer in ["bob", "bob", "ann", "bob", "ann"] {
            push(&tail, customer);
        }
        let (bob, _) = dispatcher.register(customer("bob"));
        let (eve, _) = dispatcher.register(customer("eve"));
        dispatcher.step(&tail, tail.head());
        assert_eq!(ann.woken().now_or_never(), Some(()));
        assert_eq!(ann.cleared(1), (3, 6), "its first event is at 4");
        assert_eq!(ann.cleared(6), (6, 6), "it has looked");
        assert_eq!(bob.cleared(0), (1, 6));
        assert_eq!(eve.woken().now_or_never(), None);
        assert_eq!(eve.cleared(0), (6, 6), "it need not look at all");
    }

    #[tokio::test]
    async fn g11_a_registration_ends_with_its_subscriber() {
        let dispatcher = Dispatcher::new(0);
        let (first, _) = dispatcher.register(customer("ann"));
        let (second, _) = dispatcher.register(customer("ann"));
        drop(first);
        assert_eq!(dispatcher.lock().sleepers.len(), 1);
        drop(second);
        assert_eq!(dispatcher.lock().sleepers.len(), 0);
    }
}
