//! Tests of [`Decider`] and [`needs`]: batches of commands, request ids and loaded states.

use contract::orders::v1::{execute_commands_request::Command as Sent, *};
use event_log::{Position, StoredEvent};

use super::*;
use crate::commands::Origin;

const NOW: i64 = 1_800_000_000_000_000_000;

fn command(sent: Sent) -> Command {
    Command::new(sent, &Origin::default(), NOW).unwrap()
}

fn create(order_id: &str, request_id: &str) -> Command {
    let unit_price = Some(convert::money(12_500, "EUR"));
    command(Sent::CreateOrder(CreateOrderRequest {
        request_id: request_id.into(),
        order_id: order_id.into(),
        customer_id: "ann".into(),
        items: vec![CreateOrderItem {
            product_id: "tea".into(),
            quantity: 1,
            unit_price,
        }],
        occurred_at: None,
    }))
}

fn cancel(order_id: &str, expected_version: Option<u64>) -> Command {
    command(Sent::CancelOrder(CancelOrderRequest {
        order_id: order_id.into(),
        reason: "too late".into(),
        expected_version,
        ..CancelOrderRequest::default()
    }))
}

fn register(customer_id: &str, name: &str) -> Command {
    command(Sent::RegisterCustomer(RegisterCustomerRequest {
        customer_id: customer_id.into(),
        name: name.into(),
        ..RegisterCustomerRequest::default()
    }))
}

fn decider(loaded: Loaded) -> Decider {
    Decider::new(loaded, NOW)
}

/// Returns the load that the log would return for a batch whose first event is at `first`.
fn loaded(batch: Batch, first: u64) -> Loaded {
    let first = Position::from(first);
    let positions = first.onwards();
    let events = positions
        .zip(batch.events)
        .map(|(position, event)| StoredEvent {
            aggregate: event.aggregate,
            version: event.version,
            position,
            record: Ok(event.record.into()),
        });
    let requests = batch.requests.into_iter().map(|request| StoredRequest {
        id: request.id,
        fingerprint: request.fingerprint,
        aggregate_id: request.aggregate_id,
        version: request.version,
        position: request.position.resolve(first),
    });
    Loaded {
        events: events.collect(),
        requests: requests.collect(),
    }
}

fn known(position: u64) -> PendingPosition {
    PendingPosition::Known(position.into())
}

#[test]
fn g4_command_is_decided_after_the_ones_before_it_in_the_batch() {
    let mut decider = decider(Loaded::default());
    assert_eq!(decider.decide(create("o", "")).unwrap().version, 1.into());
    let taken = Error::OrderAlreadyExists("o".into());
    assert_eq!(
        decider.decide(create("o", "")),
        Err(Rejection::Refused(taken))
    );
    let mismatch = Error::VersionMismatch {
        expected: 2,
        actual: 1,
    };
    assert_eq!(
        decider.decide(cancel("o", Some(2))),
        Err(Rejection::Refused(mismatch))
    );
    let cancelled = decider.decide(cancel("o", Some(1))).unwrap();
    assert_eq!(
        (cancelled.version, cancelled.position),
        (2.into(), PendingPosition::InBatch(1))
    );
    decider.decide(cancel("o", None)).unwrap_err();
    let batch = decider.finish();
    let versions: Vec<_> = batch
        .events
        .iter()
        .map(|event| event.version.get())
        .collect();
    assert_eq!(versions, [1, 2], "a rejected command adds no event");
}

#[test]
fn g4_command_is_decided_on_the_loaded_events() {
    let mut before = decider(Loaded::default());
    before.decide(create("o", "")).unwrap();
    let mut after = decider(loaded(before.finish(), 41));
    assert_eq!(
        after.decide(cancel("o", Some(1))).unwrap().version,
        2.into()
    );
    let event = RecordedEvent::decode(after.finish().events[0].record.as_slice()).unwrap();
    assert_eq!(event.customer_id, "ann", "on every event of an order");
}

#[test]
fn g5_known_request_id_gets_the_original_reply() {
    let mut before = decider(Loaded::default());
    let first = before.decide(create("o", "r")).unwrap();
    assert_eq!(
        before.decide(create("o", "r")),
        Ok(first.clone()),
        "in the same batch"
    );
    let reused = Err(Rejection::Reused(first.clone()));
    assert_eq!(before.decide(create("p", "r")), reused);
    let batch = before.finish();
    assert_eq!((batch.events.len(), batch.requests.len()), (1, 1));

    let mut after = decider(loaded(batch, 41));
    let again = after.decide(create("o", "r")).unwrap();
    assert_eq!(
        (again.id, again.version, again.position),
        (first.id, 1.into(), known(41))
    );
    let reused = after.decide(create("p", "r")).unwrap_err();
    let recorded = Error::RequestIdReused {
        id: "o".into(),
        version: 1,
        position: 41,
    };
    assert_eq!(reused.error(&create("p", "r"), 99.into()), recorded);
    assert_eq!(after.finish(), Batch::default());
}

#[test]
fn g5_rejected_command_does_not_use_its_request_id() {
    let mut decider = decider(Loaded::default());
    decider.decide(create("o", "r-1")).unwrap();
    decider.decide(create("o", "r-2")).unwrap_err();
    decider.decide(create("p", "r-2")).unwrap();
}

#[test]
fn unchanged_name_is_answered_with_the_version_that_gave_it() {
    let mut before = decider(Loaded::default());
    before.decide(register("ann", "Ann")).unwrap();
    let mut after = decider(loaded(before.finish(), 41));
    let same = after.decide(register("ann", "Ann")).unwrap();
    assert_eq!((same.version, same.position), (1.into(), known(41)));
    let renamed = after.decide(register("ann", "Anna")).unwrap();
    assert_eq!(
        (renamed.version, renamed.position),
        (2.into(), PendingPosition::InBatch(0))
    );
    let same = after.decide(register("ann", "Anna")).unwrap();
    assert_eq!(
        (same.version, same.position),
        (2.into(), PendingPosition::InBatch(0))
    );
    assert_eq!(after.finish().events.len(), 1);
}

#[test]
fn g4_name_is_registered_at_the_expected_version_only() {
    let register_at = |expected_version, name: &str| {
        command(Sent::RegisterCustomer(RegisterCustomerRequest {
            customer_id: "ann".into(),
            name: name.into(),
            expected_version: Some(expected_version),
            ..RegisterCustomerRequest::default()
        }))
    };
    let mismatch = |expected, actual| {
        let error = Error::VersionMismatch { expected, actual };
        Err(Rejection::Refused(error))
    };
    let mut before = decider(Loaded::default());
    assert_eq!(before.decide(register_at(1, "Ann")), mismatch(1, 0));
    before.decide(register_at(0, "Ann")).unwrap();
    assert_eq!(before.decide(register_at(0, "Ann")), mismatch(0, 1));
    let mut after = decider(loaded(before.finish(), 41));
    assert_eq!(after.decide(register_at(0, "Anna")), mismatch(0, 1));
    after.decide(register_at(1, "Anna")).unwrap();
    assert_eq!(after.decide(register_at(1, "Ann")), mismatch(1, 2));
    let same = after.decide(register_at(2, "Anna")).unwrap();
    assert_eq!(same.version, 2.into());
    assert_eq!(after.finish().events.len(), 1);
}

#[test]
fn customer_and_product_with_one_id_are_two_aggregates() {
    let mut decider = decider(Loaded::default());
    decider.decide(register("x", "X")).unwrap();
    let product = command(Sent::RegisterProduct(RegisterProductRequest {
        product_id: "x".into(),
        name: "X".into(),
        ..RegisterProductRequest::default()
    }));
    assert_eq!(decider.decide(product).unwrap().version, 1.into());
    let events = decider.finish().events;
    let types: Vec<_> = events.iter().map(|event| &*event.event_type).collect();
    assert_eq!(types, ["CustomerRegistered", "ProductRegistered"]);
}

#[test]
fn load_names_each_aggregate_once_and_no_generated_id() {
    let commands = [
        create("", "r-1"),
        create("o", "r-2"),
        cancel("o", None),
        register("o", "O"),
    ];
    for optimistic in [false, true] {
        let (needed, mut ids) = needs(commands.iter(), optimistic);
        let mut newest_only: Vec<_> = needed
            .iter()
            .map(|needed| (needed.aggregate.kind, needed.newest_only))
            .collect();
        newest_only.sort_unstable();
        assert_eq!(newest_only, [(1, false), (2, true)], "o is cancelled too");
        ids.sort_unstable();
        assert_eq!(ids, ["r-1", "r-2"]);
    }
}

#[test]
fn optimistic_load_of_new_orders_alone_is_empty() {
    let commands = [create("", "r-1"), create("o", "r-2")];
    let (aggregates, ids) = needs(commands.iter(), false);
    assert_eq!((aggregates.len(), ids.len()), (1, 2));
    assert_eq!(needs(commands.iter(), true), (Vec::new(), Vec::new()));
}

#[test]
fn g13_a_name_is_decided_on_its_newest_event_alone() {
    let mut before = decider(Loaded::default());
    before.decide(register("ann", "Ann")).unwrap();
    before.decide(register("ann", "Anna")).unwrap();
    let mut all = loaded(before.finish(), 41);
    all.events.remove(0);
    let mut after = decider(all);
    let same = after.decide(register("ann", "Anna")).unwrap();
    assert_eq!((same.version, same.position), (2.into(), known(42)));
    let renamed = after.decide(register("ann", "Ann")).unwrap();
    assert_eq!(renamed.version, 3.into());
}

#[test]
fn command_on_an_unreadable_aggregate_is_rejected_and_others_are_not() {
    let mut before = decider(Loaded::default());
    before.decide(create("o", "")).unwrap();
    before.decide(create("p", "")).unwrap();
    let mut all = loaded(before.finish(), 41);
    all.events[0].record = Err("of another schema".into());
    let mut after = decider(all);
    let why = "event 41: of another schema".to_owned();
    assert_eq!(
        after.decide(cancel("o", None)),
        Err(Rejection::Unreadable(why))
    );
    after.decide(cancel("p", None)).unwrap();
    assert_eq!(after.finish().events.len(), 1);
}

#[test]
fn events_of_an_order_are_in_the_order_of_their_times() {
    let at = |nanoseconds: i64, mut command: Command| {
        command.occurred_at = Some(nanoseconds);
        command
    };
    let mut before = decider(Loaded::default());
    before.decide(at(NOW + 60, create("o", ""))).unwrap();
    let mut after = decider(loaded(before.finish(), 41));
    let rule = "must not be before the order's newest event, which is at \
                2027-01-15T08:00:00.000000060Z";
    let early = Error::invalid_field("occurred_at", rule);
    assert_eq!(
        after.decide(at(NOW + 59, cancel("o", None))),
        Err(Rejection::Refused(early))
    );
    let exists = Error::OrderAlreadyExists("o".into());
    assert_eq!(
        after.decide(at(NOW, create("o", ""))),
        Err(Rejection::Refused(exists)),
        "the order's state is checked first"
    );
    after.decide(cancel("o", None)).unwrap();
    let event = RecordedEvent::decode(after.finish().events[0].record.as_slice()).unwrap();
    let time = event.occurred_at.as_ref().and_then(convert::nanoseconds);
    assert_eq!(time, Some(NOW + 60), "not before the event before");
}
