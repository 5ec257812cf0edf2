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
        let (position, restarts, is_selective) = {
            let registered = self.lock();
            let is_selective = registered.is_selective();
            (registered.position, registered.restarts, is_selective)
        };
        let Some(records) = tail.after(position, MAX_STEP_EVENTS) else {
            // The tail no longer holds these events, so that every subscriber must read the store.
            let newest = tail.head();
            let mut registered = self.lock();
            if registered.restarts != restarts || newest < position {
                return;
            }
            for sleeper in registered.sleepers.values().flatten() {
                sleeper.wake(position);
            }
            registered.position = newest;
            return;
        };
        // Reads the events before the lock is taken.
        let interests = if is_selective {
            first_events(position, &records)
        } else {
            HashMap::from([(Interest::ALL, position)])
        };
        let mut registered = self.lock();
        if registered.is_selective() && !is_selective || registered.restarts != restarts {
            // The first selective subscriber has come since: the next step finds its events. Or the
            // log went back, and the dispatch begins anew.
            return;
        }
        for (interest, before) in &interests {
            registered.wake(interest, *before);
        }
        registered.position += records.len();
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
mod tests {
    use contract::orders::v1::{
        AggregateType, EventFilter, OrderCreated, RecordedEvent, recorded_event::Payload,
    };
    use event_log::Point;
    use futures_util::FutureExt as _;
    use prost::Message as _;
    use wire::Violations;

    use super::*;
    use crate::events::filter::Filter;

    /// Pushes the creation of an order of the customer at the next position.
    fn push(tail: &Tail, customer_id: &str) {
        let position = tail.head() + 1;
        let customer_id = customer_id.to_owned();
        let event = RecordedEvent {
            position: position.get(),
            aggregate_type: AggregateType::Order.into(),
            aggregate_id: "o".to_owned(),
            customer_id,
            payload: Some(Payload::OrderCreated(OrderCreated::default())),
            ..RecordedEvent::default()
        };
        tail.push(tail.newest(), vec![Bytes::from(event.encode_to_vec())]);
    }

    fn customer(id: &str) -> HashSet<Interest<'static>> {
        HashSet::from([Interest::Customer(id.to_owned().into())])
    }

    fn of_types(event_types: &[&str], aggregate_type: AggregateType) -> HashSet<Interest<'static>> {
        let filter = EventFilter {
            aggregate_types: vec![aggregate_type.into()],
            event_types: event_types.iter().map(|&it| it.to_owned()).collect(),
            ..EventFilter::default()
        };
        let mut violations = Violations::default();
        let interests = Filter::new(filter, &mut violations).interests();
        violations.finish().unwrap();
        interests
    }

    fn cleared(registration: &Registration, read: u64) -> (u64, u64) {
        let (cleared, upto) = registration.cleared(read.into());
        (cleared.get(), upto.get())
    }

    #[tokio::test]
    async fn g6_dispatch_wakes_a_subscriber_for_matching_events_only() {
        let tail = Tail::new(Point::START);
        let dispatcher = Dispatcher::new(Position::START);
        push(&tail, "ann");
        dispatcher.step(&tail);
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
        dispatcher.step(&tail);
        assert_eq!(ann.woken().now_or_never(), Some(()));
        assert_eq!(cleared(&ann, 1), (3, 6), "its first event is at 4");
        assert_eq!(cleared(&ann, 6), (6, 6), "it has read its events");
        assert_eq!(cleared(&bob, 0), (1, 6));
        assert_eq!(eve.woken().now_or_never(), None);
        assert_eq!(cleared(&eve, 0), (6, 6), "it has no event to read");
    }

    #[test]
    fn g13_a_step_names_each_interest_once_with_its_first_event() {
        let tail = Tail::new(Point::of(4.into(), b""));
        for customer in ["ann", "bob", "ann", "bob"] {
            push(&tail, customer);
        }
        let records = tail.after(4.into(), MAX_STEP_EVENTS).unwrap();
        let first = first_events(4.into(), &records);
        let at = |interest| first.get(&interest).map(|before| before.get());
        assert_eq!(first.len(), 4 + 1 + 2, "types, one order, two customers");
        assert_eq!(at(Interest::ALL), Some(4));
        assert_eq!(at(Interest::Customer("ann".into())), Some(4));
        assert_eq!(at(Interest::Customer("bob".into())), Some(5));
        assert_eq!(at(Interest::Customer("eve".into())), None);
    }

    #[tokio::test]
    async fn g13_dispatch_does_not_wake_for_types_that_match_no_event() {
        let tail = Tail::new(Point::START);
        let dispatcher = Dispatcher::new(Position::START);
        let created = ["OrderCreated", "OrderShipped"];
        let (orders, _) = dispatcher.register(of_types(&created, AggregateType::Order));
        let (names, _) = dispatcher.register(of_types(&created, AggregateType::Customer));
        let (shipped, _) = dispatcher.register(of_types(&["OrderShipped"], AggregateType::Order));
        for _ in 0..3 {
            push(&tail, "ann");
        }
        dispatcher.step(&tail);
        assert_eq!(orders.woken().now_or_never(), Some(()));
        assert_eq!(cleared(&orders, 0), (0, 3));
        for never in [names, shipped] {
            assert_eq!(never.woken().now_or_never(), None);
            assert_eq!(cleared(&never, 0), (3, 3));
        }
    }

    #[test]
    fn g13_filter_that_names_types_many_times_has_each_interest_once() {
        let created = ["OrderCreated"; 1000];
        assert_eq!(of_types(&created, AggregateType::Order).len(), 1);
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
