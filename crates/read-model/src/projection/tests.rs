//! Tests of [`evolve`] and [`name`]: one event against one document or name.

use contract::orders::v1::{
    CustomerRegistered, OrderCancelled, OrderCreatedItem, OrderDelivered, OrderShipped,
};

use super::*;

fn evolve(mut order: Option<Order>, event: &RecordedEvent) -> Result<Order, Error> {
    let before = order.clone();
    match super::evolve(&mut order, event) {
        Ok(()) => Ok(order.unwrap()),
        Err(error) => {
            assert_eq!(order, before, "a document is not left half changed");
            Err(error)
        }
    }
}

fn event(version: u64, seconds: i64, payload: Payload) -> RecordedEvent {
    RecordedEvent {
        position: 10 + version,
        aggregate_id: "o1".into(),
        version,
        occurred_at: Some(at(seconds)),
        payload: Some(payload),
        ..RecordedEvent::default()
    }
}

fn at(seconds: i64) -> Timestamp {
    Timestamp { seconds, nanos: 0 }
}

fn euro(amount: i64) -> Option<Money> {
    Some(convert::money(amount, "EUR"))
}

fn created() -> RecordedEvent {
    let item = |product: &str, quantity, price| OrderCreatedItem {
        product_id: product.into(),
        quantity,
        unit_price: euro(price),
    };
    event(
        1,
        100,
        Payload::OrderCreated(OrderCreated {
            customer_id: "c1".into(),
            items: vec![item("p1", 3, 3_333), item("p2", 1, 20_001)],
            total_amount: euro(30_000),
        }),
    )
}

fn shipped() -> RecordedEvent {
    event(
        2,
        200,
        Payload::OrderShipped(OrderShipped {
            shipping_address: "1 Main St".into(),
            tracking_number: "T1".into(),
        }),
    )
}

fn delivered() -> RecordedEvent {
    event(3, 300, Payload::OrderDelivered(OrderDelivered {}))
}

fn cancelled() -> RecordedEvent {
    let reason = "changed my mind".into();
    event(2, 200, Payload::OrderCancelled(OrderCancelled { reason }))
}

fn given(events: &[RecordedEvent]) -> Option<Order> {
    events
        .iter()
        .fold(None, |order, event| Some(evolve(order, event).unwrap()))
}

fn fault(given: Option<Order>, when: &RecordedEvent) -> Fault {
    evolve(given, when).unwrap_err().fault
}

fn document_of_created() -> Order {
    let item = |product: &str, quantity, price, total| OrderItem {
        product_id: product.into(),
        product_name: String::new(),
        quantity,
        unit_price: euro(price),
        line_total: euro(total),
    };
    Order {
        order_id: "o1".into(),
        customer_id: "c1".into(),
        status: OrderStatus::Created.into(),
        items: vec![item("p1", 3, 3_333, 9_999), item("p2", 1, 20_001, 20_001)],
        total_amount: euro(30_000),
        item_count: 2,
        created_at: Some(at(100)),
        updated_at: Some(at(100)),
        version: 1,
        position: 11,
        ..Order::default()
    }
}

#[test]
fn a_created_order_is_a_new_document() {
    assert_eq!(evolve(None, &created()), Ok(document_of_created()));
}

#[test]
fn a_shipped_order_shows_address_and_time() {
    let after = Order {
        status: OrderStatus::Shipped.into(),
        shipping_address: "1 Main St".into(),
        tracking_number: "T1".into(),
        updated_at: Some(at(200)),
        shipped_at: Some(at(200)),
        version: 2,
        position: 12,
        ..document_of_created()
    };
    assert_eq!(evolve(given(&[created()]), &shipped()), Ok(after));
}

#[test]
fn a_delivered_order_keeps_its_shipping_details() {
    let before = given(&[created(), shipped()]);
    let after = Order {
        status: OrderStatus::Delivered.into(),
        updated_at: Some(at(300)),
        delivered_at: Some(at(300)),
        version: 3,
        position: 13,
        ..before.clone().unwrap()
    };
    assert_eq!(evolve(before, &delivered()), Ok(after));
}

#[test]
fn a_cancelled_order_shows_reason_and_time() {
    let after = Order {
        status: OrderStatus::Cancelled.into(),
        cancellation_reason: "changed my mind".into(),
        updated_at: Some(at(200)),
        cancelled_at: Some(at(200)),
        version: 2,
        position: 12,
        ..document_of_created()
    };
    assert_eq!(evolve(given(&[created()]), &cancelled()), Ok(after));
}

#[test]
fn an_unknown_event_gives_the_order_its_version_and_time_only() {
    let unknown = RecordedEvent {
        payload: None,
        ..shipped()
    };
    let after = Order {
        updated_at: Some(at(200)),
        version: 2,
        position: 12,
        ..document_of_created()
    };
    assert_eq!(evolve(given(&[created()]), &unknown), Ok(after));
}

#[test]
fn an_event_that_is_not_the_next_one_is_refused() {
    assert_eq!(fault(None, &shipped()), Fault::Missing);
    assert_eq!(fault(given(&[created()]), &created()), Fault::Exists);
    let (expected, actual) = (2, 3);
    assert_eq!(
        fault(given(&[created()]), &delivered()),
        Fault::Version { expected, actual }
    );
    let (expected, actual) = (3, 2);
    assert_eq!(
        fault(given(&[created(), shipped()]), &shipped()),
        Fault::Version { expected, actual }
    );
    let late = RecordedEvent {
        version: 2,
        ..created()
    };
    let (expected, actual) = (1, 2);
    assert_eq!(fault(None, &late), Fault::Version { expected, actual });
}

#[test]
fn a_malformed_event_is_refused() {
    let timeless = RecordedEvent {
        occurred_at: None,
        ..created()
    };
    assert_eq!(fault(None, &timeless), Fault::Malformed("occurred_at"));
    let with = |change: fn(&mut OrderCreated)| {
        let mut event = created();
        if let Some(Payload::OrderCreated(created)) = &mut event.payload {
            change(created);
        }
        fault(None, &event)
    };
    assert_eq!(
        with(|created| created.total_amount = None),
        Fault::Malformed("total_amount")
    );
    assert_eq!(
        with(|created| created.items[0].unit_price = euro(i64::MAX / 2)),
        Fault::Malformed("unit_price")
    );
    let customer = Payload::CustomerRegistered(CustomerRegistered::default());
    assert_eq!(
        fault(given(&[created()]), &event(2, 200, customer)),
        Fault::Malformed("payload")
    );
}

#[test]
fn a_name_is_read_from_an_event_of_its_own_kind_of_aggregate_only() {
    let of = |kind: AggregateType, payload| RecordedEvent {
        aggregate_type: kind.into(),
        ..event(2, 200, payload)
    };
    let text = || "Ann".to_owned();
    let (customer, product) = (AggregateType::Customer, AggregateType::Product);
    let registered = Payload::CustomerRegistered(CustomerRegistered { name: text() });
    let renamed = Payload::CustomerRenamed(CustomerRenamed { name: text() });
    let listed = Payload::ProductRegistered(ProductRegistered { name: text() });
    let relabelled = Payload::ProductRenamed(ProductRenamed { name: text() });
    for (kind, payload) in [
        (customer, &registered),
        (customer, &renamed),
        (product, &listed),
        (product, &relabelled),
    ] {
        assert_eq!(name(&of(kind, payload.clone())), Ok(Some("Ann")));
    }
    let delivered = Payload::OrderDelivered(OrderDelivered {});
    for (kind, payload) in [
        (customer, listed),
        (product, renamed),
        (customer, delivered),
    ] {
        let refused = name(&of(kind, payload)).unwrap_err();
        assert_eq!(refused.fault, Fault::Malformed("payload"));
    }
}

#[test]
fn an_event_that_could_not_be_decoded_or_has_no_name_is_refused_and_an_unknown_type_is_not() {
    let empty = Payload::CustomerRenamed(CustomerRenamed::default());
    let nameless = RecordedEvent {
        aggregate_type: AggregateType::Customer.into(),
        ..event(2, 200, empty)
    };
    let refused = name(&nameless).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "event 12 of customer o1: name is missing or impossible"
    );
    let unknown = RecordedEvent {
        payload: None,
        ..nameless
    };
    assert_eq!(name(&unknown), Ok(None));
    let undecodable = RecordedEvent {
        occurred_at: None,
        ..unknown
    };
    let refused = name(&undecodable).unwrap_err();
    assert_eq!(refused.fault, Fault::Malformed("occurred_at"));
}
