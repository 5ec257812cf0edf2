//! Converts the domain's events to the payloads that the log stores, and back.

use contract::{
    google::r#type::Money,
    orders::v1::{
        AggregateType, CustomerRegistered, CustomerRenamed, OrderCancelled, OrderCreated,
        OrderCreatedItem, OrderDelivered, OrderShipped, ProductRegistered, ProductRenamed,
        RecordedEvent, recorded_event::Payload,
    },
};
use domain::{
    items::{Item, Items},
    money::{Amount, Currency},
    name::NameEvent,
    order,
};
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

/// The domain's event that a stored event holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Known {
    /// An order's event.
    Order(order::Event),
    /// The name that a customer's or product's event gives it.
    Name(String),
}

/// Converts a stored event to the domain's event. Returns `None` if the event has no payload, or if
/// its items, prices or total break the domain's rules.
#[must_use]
pub fn known(event: RecordedEvent) -> Option<Known> {
    Some(match event.payload? {
        Payload::OrderCreated(OrderCreated {
            customer_id,
            items,
            total_amount,
        }) => {
            let total = total_amount?;
            let currency = Currency::new(&total.currency_code)?;
            let lines: Option<Vec<_>> = items.into_iter().map(|it| line(it, currency)).collect();
            let items = Items::new(lines?, currency).ok()?;
            let is_total = convert::amount(&total) == Some(items.total().get());
            is_total.then_some(Known::Order(order::Event::Created { customer_id, items }))?
        }
        Payload::OrderShipped(OrderShipped {
            shipping_address,
            tracking_number,
        }) => Known::Order(order::Event::Shipped {
            shipping_address,
            tracking_number,
        }),
        Payload::OrderDelivered(OrderDelivered {}) => Known::Order(order::Event::Delivered),
        Payload::OrderCancelled(OrderCancelled { reason }) => {
            Known::Order(order::Event::Cancelled { reason })
        }
        Payload::CustomerRegistered(CustomerRegistered { name })
        | Payload::CustomerRenamed(CustomerRenamed { name })
        | Payload::ProductRegistered(ProductRegistered { name })
        | Payload::ProductRenamed(ProductRenamed { name }) => Known::Name(name),
    })
}

fn line(item: OrderCreatedItem, currency: Currency) -> Option<Item> {
    let price: Money = item.unit_price?;
    let amount = convert::amount(&price).filter(|_| price.currency_code == currency.code())?;
    Some(Item {
        product_id: item.product_id,
        quantity: item.quantity,
        unit_price: Amount::new(amount),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn created(lines: Vec<(u32, i64)>) -> Option<OrderCreated> {
        let lines = lines.into_iter().map(|(quantity, price)| Item {
            product_id: "tea".into(),
            quantity,
            unit_price: Amount::new(price),
        });
        let items = Items::new(lines.collect(), Currency::new("EUR")?).ok()?;
        let customer_id = "ann".into();
        match of_order(order::Event::Created { customer_id, items }) {
            Payload::OrderCreated(created) => Some(created),
            _ => None,
        }
    }

    fn read(created: OrderCreated) -> Option<Payload> {
        let payload = Some(Payload::OrderCreated(created));
        let event = RecordedEvent {
            payload,
            ..RecordedEvent::default()
        };
        match known(event)? {
            Known::Order(event) => Some(of_order(event)),
            Known::Name(_) => None,
        }
    }

    proptest! {
        #[test]
        fn stored_order_is_read_only_if_it_keeps_the_rules(
            lines in prop::collection::vec((1..1000_u32, 0..1_000_000_i64), 1..5),
            total in 0..10_i64,
            currency in "EUR|USD|",
        ) {
            let right = created(lines).unwrap();
            prop_assert_eq!(read(right.clone()), Some(Payload::OrderCreated(right.clone())));
            let mut wrong = right.clone();
            let sum = convert::amount(right.total_amount.as_ref().unwrap()).unwrap();
            wrong.total_amount = Some(convert::money(sum + total, "EUR"));
            prop_assert_eq!(read(wrong).is_some(), total == 0);
            let mut wrong = right;
            wrong.items[0].unit_price.as_mut().unwrap().currency_code.clone_from(&currency);
            prop_assert_eq!(read(wrong).is_some(), currency == "EUR");
        }
    }
}
