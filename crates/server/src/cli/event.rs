//! Formats events as text for people.

use command_side::codec::record;
use contract::orders::v1::{AggregateType, RecordedEvent, recorded_event::Payload};

use super::{money, text::printable, time};

/// Returns the type of an event: the name of its payload's message.
pub(super) fn kind(event: &RecordedEvent) -> &'static str {
    event.payload.as_ref().map_or("unknown", record::event_type)
}

/// Describes the payload in one line. The line is empty if the payload has no details.
pub(super) fn details(event: &RecordedEvent) -> String {
    match &event.payload {
        None | Some(Payload::OrderDelivered(_)) => String::new(),
        Some(Payload::OrderCreated(created)) => format!(
            "{} by customer {}, lines: {}",
            money::text(created.total_amount.as_ref()),
            created.customer_id,
            created.items.len()
        ),
        Some(Payload::OrderShipped(shipped)) => format!(
            "to {}, tracking number {}",
            shipped.shipping_address, shipped.tracking_number
        ),
        Some(Payload::OrderCancelled(cancelled)) => cancelled.reason.clone(),
        Some(Payload::CustomerRegistered(registered)) => registered.name.clone(),
        Some(Payload::CustomerRenamed(renamed)) => renamed.name.clone(),
        Some(Payload::ProductRegistered(registered)) => registered.name.clone(),
        Some(Payload::ProductRenamed(renamed)) => renamed.name.clone(),
    }
}

/// Describes who sent the event's command. Empty on a node without credentials.
pub(super) fn by(event: &RecordedEvent) -> String {
    match event.actor.as_str() {
        "" => String::new(),
        actor => format!("  by {actor}"),
    }
}

/// Formats the whole event as one line.
pub(super) fn line(event: &RecordedEvent) -> String {
    let aggregate = match event.aggregate_type() {
        AggregateType::Unspecified => "unknown",
        AggregateType::Order => "order",
        AggregateType::Customer => "customer",
        AggregateType::Product => "product",
    };
    let line = format!(
        "{}  {}  {aggregate} {} version {}  {}  {}{}",
        event.position,
        time::text(event.occurred_at.as_ref()),
        event.aggregate_id,
        event.version,
        kind(event),
        details(event),
        by(event)
    );
    printable(line.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_shows_who_sent_its_command() {
        let mut event = RecordedEvent {
            actor: "shop".to_owned(),
            ..RecordedEvent::default()
        };
        assert!(line(&event).ends_with("  by shop"), "{}", line(&event));
        event.actor.clear();
        assert!(!line(&event).contains("by"), "{}", line(&event));
    }
}
