//! Events for tests.

use contract::orders::v1::{AggregateType, OrderCreated, RecordedEvent, recorded_event::Payload};
use wire::convert;

/// Returns an event of an order. Its id is of its position.
pub(crate) fn event(
    position: u64,
    order_id: &str,
    version: u64,
    payload: Payload,
) -> RecordedEvent {
    RecordedEvent {
        position,
        aggregate_type: AggregateType::Order.into(),
        aggregate_id: order_id.into(),
        version,
        event_id: format!("event-{position}"),
        occurred_at: Some(convert::timestamp(0)),
        payload: Some(payload),
        ..RecordedEvent::default()
    }
}

/// Returns the payload of an event that creates an order.
pub(crate) fn created() -> Payload {
    Payload::OrderCreated(OrderCreated {
        total_amount: Some(convert::money(1, "EUR")),
        ..OrderCreated::default()
    })
}
