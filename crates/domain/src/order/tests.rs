//! Tests of [`decide`] and [`evolve`]: given events, a command leads to an event or a refusal.

use proptest::prelude::*;

use super::*;
use crate::{
    items::Item,
    money::{Amount, Currency},
};

fn items() -> Items {
    let line = Item {
        product_id: "tea".into(),
        quantity: 2,
        unit_price: Amount::new(12_500),
    };
    Items::new(vec![line], Currency::new("EUR").unwrap()).unwrap()
}

fn create() -> Command {
    Command::Create {
        customer_id: "ann".into(),
        items: items(),
    }
}

fn created() -> Event {
    Event::Created {
        customer_id: "ann".into(),
        items: items(),
    }
}

fn ship() -> Command {
    Command::Ship {
        shipping_address: "1 Main St".into(),
        tracking_number: "T1".into(),
    }
}

fn shipped() -> Event {
    Event::Shipped {
        shipping_address: "1 Main St".into(),
        tracking_number: "T1".into(),
    }
}

fn cancel() -> Command {
    Command::Cancel {
        reason: "too late".into(),
    }
}

fn cancelled() -> Event {
    Event::Cancelled {
        reason: "too late".into(),
    }
}

fn given(events: &[Event]) -> Option<Order> {
    let changes = events.iter().map(Event::change);
    changes.fold(None, evolve)
}

/// Checks that a command after the given events leads to an event or a refusal.
fn check(events: &[Event], command: Command, then: Result<Event, Refusal>) {
    assert_eq!(decide(given(events).as_ref(), None, command), then);
}

#[test]
fn order_is_created_once() {
    check(&[], create(), Ok(created()));
    check(&[created()], create(), Err(Refusal::Exists));
    check(&[created(), cancelled()], create(), Err(Refusal::Exists));
}

#[test]
fn unknown_order_rejects_every_other_command() {
    for command in [ship(), Command::Deliver, cancel()] {
        check(&[], command, Err(Refusal::Unknown));
    }
}

#[test]
fn only_a_created_order_is_shipped() {
    check(&[created()], ship(), Ok(shipped()));
    check(
        &[created(), shipped()],
        ship(),
        Err(Refusal::NotShippable(Status::Shipped)),
    );
    let delivered = [created(), shipped(), Event::Delivered];
    check(
        &delivered,
        ship(),
        Err(Refusal::NotShippable(Status::Delivered)),
    );
    check(
        &[created(), cancelled()],
        ship(),
        Err(Refusal::NotShippable(Status::Cancelled)),
    );
}

#[test]
fn only_a_shipped_order_is_delivered() {
    check(
        &[created(), shipped()],
        Command::Deliver,
        Ok(Event::Delivered),
    );
    check(
        &[created()],
        Command::Deliver,
        Err(Refusal::NotDeliverable(Status::Created)),
    );
    let cancelled = [created(), cancelled()];
    check(
        &cancelled,
        Command::Deliver,
        Err(Refusal::NotDeliverable(Status::Cancelled)),
    );
}

#[test]
fn only_a_created_order_is_cancelled() {
    check(&[created()], cancel(), Ok(cancelled()));
    check(
        &[created(), shipped()],
        cancel(),
        Err(Refusal::NotCancellable(Status::Shipped)),
    );
    check(
        &[created(), cancelled()],
        cancel(),
        Err(Refusal::NotCancellable(Status::Cancelled)),
    );
}

#[test]
fn g4_expected_version_is_checked_before_the_status() {
    let order = given(&[created(), shipped()]);
    let at = |version| decide(order.as_ref(), Some(version), ship());
    assert_eq!(
        at(1),
        Err(Refusal::Version {
            expected: 1,
            actual: 2
        })
    );
    assert_eq!(at(2), Err(Refusal::NotShippable(Status::Shipped)));
    assert_eq!(
        decide(order.as_ref(), Some(2), Command::Deliver),
        Ok(Event::Delivered)
    );
    assert_eq!(
        decide(None, Some(2), Command::Deliver),
        Err(Refusal::Unknown)
    );
}

fn any_command() -> impl Strategy<Value = Command> {
    prop_oneof![
        Just(create()),
        Just(ship()),
        Just(Command::Deliver),
        Just(cancel())
    ]
}

proptest! {
    #[test]
    fn g4_versions_are_dense_and_statuses_follow_the_rules_after_any_commands(
        commands in prop::collection::vec(any_command(), 0..20),
    ) {
        let mut order = None;
        let mut path = Vec::new();
        for command in commands {
            let before = order.clone();
            if let Ok(event) = decide(order.as_ref(), None, command) {
                order = evolve(order, event.change());
                let version = before.map_or(0, |before: Order| before.version);
                let now = order.clone().unwrap();
                prop_assert_eq!(now.version, version + 1);
                prop_assert_eq!(&now.customer_id, "ann");
                path.push(now.status);
            }
        }
        use Status::*;
        let allowed: [&[Status]; 2] = [&[Created, Shipped, Delivered], &[Created, Cancelled]];
        prop_assert!(allowed.iter().any(|path_| path_.starts_with(&path)), "{:?}", path);
    }
}

#[test]
fn an_event_is_not_before_the_newest_event() {
    assert_eq!(occurred_at(None, None, 7), Ok(7));
    assert_eq!(occurred_at(None, Some(3), 7), Ok(3));
    assert_eq!(occurred_at(Some(5), Some(5), 7), Ok(5));
    assert_eq!(
        occurred_at(Some(5), Some(4), 7),
        Err(TooEarly { newest: 5 })
    );
    assert_eq!(occurred_at(Some(5), None, 7), Ok(7));
    assert_eq!(occurred_at(Some(9), None, 7), Ok(9), "its clock was ahead");
}
