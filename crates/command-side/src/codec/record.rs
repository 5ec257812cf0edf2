//! Converts the domain's events to the payloads that the log stores, and reads the stored ones.

use contract::orders::v1::{
    AggregateType, CustomerRegistered, CustomerRenamed, OrderCancelled, OrderCreated,
    OrderCreatedItem, OrderDelivered, OrderShipped, ProductRegistered, ProductRenamed,
    RecordedEvent, recorded_event::Payload,
};
use domain::{money::Amount, name::NameEvent, order};
use event_log::Schema;
use wire::convert;

/// The schema of stored records. Version 1 is the only one so far, so that `upcast` converts
/// nothing.
pub const SCHEMA: Schema = Schema {
    current: 1,
    upcast: |_, _, _| None,
};

/// Returns the event type that filters and the log use: the name of the payload's message.
#[must_use]
pub fn event_type(payload: &Payload) -> &'static str {
    match payload {
        Payload::OrderCreated(_) => "OrderCreated",
        Payload::OrderShipped(_) => "OrderShipped",
        Payload::OrderDelivered(_) => "OrderDelivered",
        Payload::OrderCancelled(_) => "OrderCancelled",
        Payload::CustomerRegistered(_) => "CustomerRegistered",
        Payload::CustomerRenamed(_) => "CustomerRenamed",
        Payload::ProductRegistered(_) => "ProductRegistered",
        Payload::ProductRenamed(_) => "ProductRenamed",
    }
}

/// Converts an order's event to the payload that the log stores.
#[must_use]
pub fn of_order(event: order::Event) -> Payload {
    match event {
        order::Event::Created { customer_id, items } => {
            let currency = items.currency();
            let money = |amount: Amount| Some(convert::money(amount.get(), currency.code()));
            let total_amount = money(items.total());
            let lines = items.lines().iter().map(|line| OrderCreatedItem {
                product_id: line.product_id.clone(),
                quantity: line.quantity,
                unit_price: money(line.unit_price),
            });
            Payload::OrderCreated(OrderCreated {
                customer_id,
                items: lines.collect(),
                total_amount,
            })
        }
        order::Event::Shipped {
            shipping_address,
            tracking_number,
        } => Payload::OrderShipped(OrderShipped {
            shipping_address,
            tracking_number,
        }),
        order::Event::Delivered => Payload::OrderDelivered(OrderDelivered {}),
        order::Event::Cancelled { reason } => Payload::OrderCancelled(OrderCancelled { reason }),
    }
}

/// Converts a customer's or product's event to the payload that the log stores.
#[must_use]
pub fn of_name(kind: AggregateType, event: NameEvent) -> Payload {
    match (kind, event) {
        (AggregateType::Product, NameEvent::Registered(name)) => {
            Payload::ProductRegistered(ProductRegistered { name })
        }
        (AggregateType::Product, NameEvent::Renamed(name)) => {
            Payload::ProductRenamed(ProductRenamed { name })
        }
        (_, NameEvent::Registered(name)) => {
            Payload::CustomerRegistered(CustomerRegistered { name })
        }
        (_, NameEvent::Renamed(name)) => Payload::CustomerRenamed(CustomerRenamed { name }),
    }
}

/// The part of a stored event that commands are decided on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Known {
    /// The change of an order.
    Order(order::Change),
    /// The name that a customer's or product's event gives it.
    Name(String),
}

/// Reads the part of a stored event that commands are decided on, without the rules for commands: an
/// event that was accepted once stays valid. Returns `None` if the event has no known payload.
#[must_use]
pub fn known(event: RecordedEvent) -> Option<Known> {
    Some(match event.payload? {
        Payload::OrderCreated(OrderCreated { customer_id, .. }) => {
            Known::Order(order::Change::Created { customer_id })
        }
        Payload::OrderShipped(_) => Known::Order(order::Change::Shipped),
        Payload::OrderDelivered(_) => Known::Order(order::Change::Delivered),
        Payload::OrderCancelled(_) => Known::Order(order::Change::Cancelled),
        Payload::CustomerRegistered(CustomerRegistered { name })
        | Payload::CustomerRenamed(CustomerRenamed { name })
        | Payload::ProductRegistered(ProductRegistered { name })
        | Payload::ProductRenamed(ProductRenamed { name }) => Known::Name(name),
    })
}

#[cfg(test)]
mod tests {
    use domain::{
        items::{Item, Items},
        money::Currency,
    };

    use super::*;

    #[test]
    fn a_stored_event_is_read_as_the_change_that_it_was() {
        let item = Item {
            product_id: "tea".into(),
            quantity: 2,
            unit_price: Amount::new(12_500),
        };
        let items = Items::new(vec![item], Currency::new("EUR").unwrap()).unwrap();
        let text = || "x".to_owned();
        let events = [
            order::Event::Created {
                customer_id: "ann".into(),
                items,
            },
            order::Event::Shipped {
                shipping_address: text(),
                tracking_number: text(),
            },
            order::Event::Delivered,
            order::Event::Cancelled { reason: text() },
        ];
        for event in events {
            let stored = RecordedEvent {
                payload: Some(of_order(event.clone())),
                ..RecordedEvent::default()
            };
            assert_eq!(known(stored), Some(Known::Order(event.change())));
        }
        assert_eq!(known(RecordedEvent::default()), None);
    }
}
