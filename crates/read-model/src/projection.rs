//! Applies one event to an order's document, or reads the name that it gives, without I/O.
//!
//! Documents carry no names here (`customer_name`, `product_name`): [`crate::store`] adds the names
//! when it reads.

use contract::{
    google::r#type::Money,
    orders::v1::{
        AggregateType, CustomerRegistered, CustomerRenamed, Order, OrderCreated, OrderItem,
        OrderStatus, ProductRegistered, ProductRenamed, RecordedEvent, recorded_event::Payload,
    },
};
use prost_types::Timestamp;
use wire::convert;

use crate::AggregateId;

/// An event that does not fit the document or the name, and that would make a wrong one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("event {position} of {aggregate}: {fault}")]
pub struct Error {
    /// The event's position in the log.
    pub position: u64,
    /// The event's aggregate.
    pub aggregate: AggregateId,
    /// The rule that the event breaks.
    pub fault: Fault,
}

/// A reason why an event does not fit the document or the name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The order does not exist, and the event does not create it.
    #[error("the order does not exist")]
    Missing,
    /// A second event creates the order.
    #[error("the order exists already")]
    Exists,
    /// The event's version is not the next one: an earlier event is missing, or a later one came
    /// first.
    #[error("version {expected} was expected, not {actual}")]
    Version {
        /// The next version of the document.
        expected: u64,
        /// The version of the event.
        actual: u64,
    },
    /// A field is missing or holds an impossible value; the text names the field.
    #[error("{0} is missing or impossible")]
    Malformed(&'static str),
}

/// The version of the projection that made a document. Raise it with every change to the documents
/// that events make; every node then rebuilds its documents.
pub const SCHEMA: u32 = 1;

/// Applies an event to the document of its order; `None` is an order that does not exist yet.
///
/// An event of a type that this version of the contract does not know still sets the version, the
/// update time and the position.
///
/// # Errors
/// [`Fault`] names each case. The document stays unchanged.
pub fn evolve(order: &mut Option<Order>, event: &RecordedEvent) -> Result<(), Error> {
    next(order, event).map_err(|fault| error(event, fault))
}

/// Returns the name that an event gives to its customer or product.
///
/// Returns `None` for an event of a type that this version of the contract does not know. Such an
/// event has a time. A damaged event has none: only its header could be decoded.
///
/// # Errors
/// [`Fault::Malformed`]: the time or the name is missing, or the payload is that of another
/// aggregate.
pub fn name(event: &RecordedEvent) -> Result<Option<&str>, Error> {
    given(event).map_err(|fault| error(event, fault))
}

fn given(event: &RecordedEvent) -> Result<Option<&str>, Fault> {
    time(event)?;
    let name = match (event.aggregate_type(), &event.payload) {
        (_, None) => return Ok(None),
        (
            AggregateType::Customer,
            Some(
                Payload::CustomerRegistered(CustomerRegistered { name })
                | Payload::CustomerRenamed(CustomerRenamed { name }),
            ),
        )
        | (
            AggregateType::Product,
            Some(
                Payload::ProductRegistered(ProductRegistered { name })
                | Payload::ProductRenamed(ProductRenamed { name }),
            ),
        ) => name,
        _ => return Err(Fault::Malformed("payload")),
    };
    match name.is_empty() {
        true => Err(Fault::Malformed("name")),
        false => Ok(Some(name.as_str())),
    }
}

fn error(event: &RecordedEvent, fault: Fault) -> Error {
    Error {
        position: event.position,
        aggregate: AggregateId::of(event),
        fault,
    }
}

fn time(event: &RecordedEvent) -> Result<Timestamp, Fault> {
    event
        .occurred_at
        .filter(|time| convert::nanoseconds(time).is_some())
        .ok_or(Fault::Malformed("occurred_at"))
}

fn next(order: &mut Option<Order>, event: &RecordedEvent) -> Result<(), Fault> {
    let expected = order.as_ref().map_or(1, |order| order.version + 1);
    let at = time(event)?;
    if let (Some(_), Some(Payload::OrderCreated(_))) = (&order, &event.payload) {
        return Err(Fault::Exists);
    }
    if order.is_none() && !matches!(event.payload, Some(Payload::OrderCreated(_))) {
        return Err(Fault::Missing);
    }
    if event.version != expected {
        return Err(Fault::Version {
            expected,
            actual: event.version,
        });
    }
    if let Some(
        Payload::CustomerRegistered(_)
        | Payload::CustomerRenamed(_)
        | Payload::ProductRegistered(_)
        | Payload::ProductRenamed(_),
    ) = event.payload
    {
        return Err(Fault::Malformed("payload"));
    }
    // After these checks only the creation of a document can fail.
    if let Some(Payload::OrderCreated(created)) = &event.payload {
        *order = Some(document(event, created, at)?);
    }
    if let Some(order) = order {
        change(order, event, at);
    }
    Ok(())
}

fn change(order: &mut Order, event: &RecordedEvent, at: Timestamp) {
    match &event.payload {
        None
        | Some(
            Payload::OrderCreated(_)
            | Payload::CustomerRegistered(_)
            | Payload::CustomerRenamed(_)
            | Payload::ProductRegistered(_)
            | Payload::ProductRenamed(_),
        ) => {}
        Some(Payload::OrderShipped(shipped)) => {
            order.set_status(OrderStatus::Shipped);
            order.shipping_address.clone_from(&shipped.shipping_address);
            order.tracking_number.clone_from(&shipped.tracking_number);
            order.shipped_at = Some(at);
        }
        Some(Payload::OrderDelivered(_)) => {
            order.set_status(OrderStatus::Delivered);
            order.delivered_at = Some(at);
        }
        Some(Payload::OrderCancelled(cancelled)) => {
            order.set_status(OrderStatus::Cancelled);
            order.cancellation_reason.clone_from(&cancelled.reason);
            order.cancelled_at = Some(at);
        }
    }
    order.updated_at = Some(at);
    order.version = event.version;
    order.position = event.position;
}

fn document(event: &RecordedEvent, created: &OrderCreated, at: Timestamp) -> Result<Order, Fault> {
    let total = created
        .total_amount
        .as_ref()
        .filter(|total| convert::amount(total).is_some())
        .ok_or(Fault::Malformed("total_amount"))?;
    let items = created
        .items
        .iter()
        .map(|item| {
            let price = item.unit_price.clone().unwrap_or_default();
            Ok(OrderItem {
                product_id: item.product_id.clone(),
                product_name: String::new(),
                quantity: item.quantity,
                line_total: Some(line_total(&price, item.quantity)?),
                unit_price: Some(price),
            })
        })
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Order {
        order_id: event.aggregate_id.clone(),
        customer_id: created.customer_id.clone(),
        status: OrderStatus::Created.into(),
        item_count: u32::try_from(items.len()).map_err(|_| Fault::Malformed("items"))?,
        items,
        total_amount: Some(total.clone()),
        created_at: Some(at),
        ..Order::default()
    })
}

fn line_total(price: &Money, quantity: u32) -> Result<Money, Fault> {
    convert::amount(price)
        .and_then(|amount| amount.checked_mul(i64::from(quantity)))
        .map(|amount| convert::money(amount, &price.currency_code))
        .ok_or(Fault::Malformed("unit_price"))
}

#[cfg(test)]
mod tests;
