//! Tests of the dispatch: each subscriber wakes for its events only.

use contract::orders::v1::{
    AggregateType, EventFilter, OrderCreated, RecordedEvent, recorded_event::Payload,
};
use event_log::Point;
use futures_util::FutureExt as _;
use prost::Message as _;
use wire::Violations;

use super::*;
use crate::events::{filter::Filter, tail::Divergence};

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

#[tokio::test]
async fn g12_step_that_began_before_a_restart_passes_no_event_of_the_new_history() {
    let tail = Tail::new(Point::START);
    let dispatcher = Dispatcher::new(Position::START);
    push(&tail, "ann");
    let (ann, _) = dispatcher.register(customer("ann"));
    let began = dispatcher.begin();
    let records = tail.after(began.position, MAX_STEP_EVENTS).unwrap();
    // The log goes back to the position of the dispatch.
    let divergence = Divergence {
        seen: tail.head(),
        shared: None,
    };
    tail.restart(Point::START, divergence);
    dispatcher.restart(Position::START);
    dispatcher.wake(
        &began,
        records.len(),
        &first_events(began.position, &records),
    );
    dispatcher.wake_all(&began, 1.into());
    assert_eq!(dispatcher.position(), Position::START);
    assert_eq!(ann.woken().now_or_never(), None);
    push(&tail, "ann");
    dispatcher.step(&tail);
    assert_eq!(ann.woken().now_or_never(), Some(()));
    assert_eq!(cleared(&ann, 0), (0, 1));
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
