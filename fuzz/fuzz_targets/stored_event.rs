//! Fuzzes the stored events of an order, as the log, the projector and the command side read them.
//!
//! The first byte is the schema version. The records follow, with [`BETWEEN`] between them.

#![no_main]

use bytes::Bytes;
use command_side::{
    codec::record::{self, Known, SCHEMA},
    commands::decide::Decider,
    commands::{Command, Origin},
    events::filter::Filter,
};
use contract::orders::v1::{
    AggregateType, CancelOrderRequest, DeliverOrderRequest, EventFilter, Order, OrderStatus,
    RecordedEvent, ShipOrderRequest, execute_commands_request::Command as Sent,
    recorded_event::Payload,
};
use domain::order::{self, Status};
use event_log::{Aggregate, Encoder, Loaded, StoredEvent};
use libfuzzer_sys::fuzz_target;
use prost::Message as _;
use read_model::projection;
use wire::{Violations, convert};

/// Valid records never contain these bytes: neither text nor shortest-form numbers have them.
const BETWEEN: [u8; 2] = [0xff, 0x00];

/// The time of the decisions: 2027-01-15, in nanoseconds since 1970.
const NOW: i64 = 1_800_000_000_000_000_000;

fuzz_target!(|data: &[u8]| {
    let Some((schema_version, data)) = data.split_first() else {
        return;
    };
    let mut stored = Vec::new();
    let mut document = None;
    let mut order = None;
    let mut in_step = true;
    for (position, record) in (1_u64..).zip(records(data)) {
        let Some(sent) = read(position, u32::from(*schema_version), record) else {
            return;
        };
        stored.push(StoredEvent {
            aggregate: aggregate(),
            version: position.into(),
            position: position.into(),
            record: Ok(sent.clone()),
        });
        let Some(event) = decoded(position, &sent) else {
            in_step = false;
            continue;
        };
        let projected = is_projected_or_refused(&mut document, &event);
        let known = record::known(event.clone());
        assert_eq!(known.is_some(), event.payload.is_some());
        match known {
            Some(Known::Order(change)) => order = order::evolve(order, change),
            _ => in_step = false,
        }
        in_step &= projected && event.aggregate_type == AggregateType::Order as i32;
    }
    let decider = Decider::new(
        Loaded {
            events: stored,
            requests: Vec::new(),
        },
        NOW,
    );
    if !in_step {
        return;
    }
    let (Some(document), Some(order)) = (document, order) else {
        return;
    };
    assert_eq!(document.status(), status(order.status));
    assert_eq!(document.version, order.version);
    assert_eq!(document.customer_id, order.customer_id);
    leads_on(decider, document);
});

fn records(mut data: &[u8]) -> Vec<&[u8]> {
    let mut records = Vec::new();
    while let Some(end) = data.windows(2).position(|pair| pair == BETWEEN) {
        records.push(&data[..end]);
        data = &data[end + BETWEEN.len()..];
    }
    records.push(data);
    records
}

fn aggregate() -> Aggregate {
    Aggregate {
        kind: AggregateType::Order.into(),
        id: "o-1".to_owned(),
    }
}

/// Returns the record as the log sends it, or `None` if this program does not know its schema.
fn read(position: u64, schema_version: u32, record: &[u8]) -> Option<Bytes> {
    let event = RecordedEvent::decode(record).unwrap_or_default();
    let event_type = event
        .payload
        .as_ref()
        .map_or("OrderLost", record::event_type);
    match SCHEMA.read(position.into(), event_type, schema_version, record.to_vec()) {
        Ok(record) => Some(Encoder::with_capacity(1, record.len()).push(position.into(), &record)),
        Err(error) => {
            assert_ne!(schema_version, SCHEMA.current, "{error}");
            None
        }
    }
}

/// Decodes an event as the projector does. Returns `None` if the bytes are not an event of this
/// log.
fn decoded(position: u64, sent: &[u8]) -> Option<RecordedEvent> {
    let decoded = projector::stream::decode(sent);
    let Ok(event) = RecordedEvent::decode(sent) else {
        // The projector parks the order of such an event, whatever its document is.
        if let Ok(event) = decoded {
            assert!(projection::evolve(&mut None, &event).is_err());
            assert!(projection::evolve(&mut Some(Order::default()), &event).is_err());
            assert_eq!(record::known(event), None);
        }
        return None;
    };
    assert_eq!(decoded.expect("can be decoded"), event);
    let encoded = event.encode_to_vec();
    assert_eq!(RecordedEvent::decode(&*encoded).as_ref(), Ok(&event));
    is_found_by_its_own_filter(&event, &encoded);
    // This log never writes a record with a position of its own.
    Some(event).filter(|event| event.position == position)
}

fn is_found_by_its_own_filter(event: &RecordedEvent, encoded: &[u8]) {
    let Some(payload) = &event.payload else {
        return;
    };
    let mut violations = Violations::default();
    let filter = EventFilter {
        aggregate_types: vec![event.aggregate_type],
        aggregate_ids: vec![event.aggregate_id.clone()],
        event_types: vec![record::event_type(payload).to_owned()],
        customer_ids: vec![event.customer_id.clone()],
    };
    let filter = Filter::new(filter, &mut violations);
    // A filter with an invalid id is never used.
    if violations.finish().is_ok() {
        assert!(filter.matches(encoded));
    }
}

fn is_projected_or_refused(document: &mut Option<Order>, event: &RecordedEvent) -> bool {
    let before = document.clone();
    if let Err(error) = projection::evolve(document, event) {
        assert_eq!(*document, before);
        assert_eq!(error.position, event.position);
        return false;
    }
    let document = document.as_ref().expect("is there after any event");
    assert_eq!(
        (document.version, document.position),
        (event.version, event.position)
    );
    for item in &document.items {
        let price = item.unit_price.clone().unwrap_or_default();
        let price = i128::from(convert::amount(&price).expect("fits"));
        let total = item.line_total.clone().unwrap_or_default();
        let total = i128::from(convert::amount(&total).expect("fits"));
        assert_eq!(total, price * i128::from(item.quantity));
    }
    if let Some(Payload::OrderCreated(created)) = &event.payload {
        assert_eq!(document.total_amount, created.total_amount);
    }
    true
}

fn status(status: Status) -> OrderStatus {
    match status {
        Status::Created => OrderStatus::Created,
        Status::Shipped => OrderStatus::Shipped,
        Status::Delivered => OrderStatus::Delivered,
        Status::Cancelled => OrderStatus::Cancelled,
    }
}

/// Checks that the projection accepts every event that follows from a decision on stored events.
fn leads_on(mut decider: Decider, mut document: Order) {
    let order_id = aggregate().id;
    let commands = [
        Sent::ShipOrder(ShipOrderRequest {
            order_id: order_id.clone(),
            shipping_address: "1 Harbour Street".to_owned(),
            tracking_number: "T-4711".to_owned(),
            ..ShipOrderRequest::default()
        }),
        Sent::DeliverOrder(DeliverOrderRequest {
            order_id: order_id.clone(),
            ..DeliverOrderRequest::default()
        }),
        Sent::CancelOrder(CancelOrderRequest {
            order_id,
            reason: "no more".to_owned(),
            ..CancelOrderRequest::default()
        }),
    ];
    for sent in commands {
        let command = Command::new(sent, &Origin::default(), NOW).expect("is right");
        // The decider may reject the command because of the order status.
        let _ = decider.decide(command);
    }
    let first = document.position + 1;
    for (position, event) in (first..).zip(decider.finish().events) {
        let mut encoder = Encoder::with_capacity(1, event.record.len());
        let sent = encoder.push(position.into(), &event.record);
        let event = projector::stream::decode(&sent).expect("was written just now");
        let mut next = Some(document);
        projection::evolve(&mut next, &event).expect("an event of the rules");
        document = next.expect("is there still");
    }
}
