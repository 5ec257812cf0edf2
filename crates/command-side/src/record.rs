//! Between the domain's events and what the log keeps of them.

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
    name, order,
};
use event_log::Schema;
use wire::convert;

/// How records are written. There has been no other version: nothing can be upcast yet.
pub const SCHEMA: Schema = Schema {
    current: 1,
    upcast: |_, _, _| None,
};

/// An event's name in filters and in the log: that of its payload's message.
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

/// What the log keeps of an order's event.
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

/// What the log keeps of the event of a customer or product.
#[must_use]
pub fn of_name(kind: AggregateType, event: name::Event) -> Payload {
    match (kind, event) {
        (AggregateType::Product, name::Event::Registered(name)) => {
            Payload::ProductRegistered(ProductRegistered { name })
        }
        (AggregateType::Product, name::Event::Renamed(name)) => {
            Payload::ProductRenamed(ProductRenamed { name })
        }
        (_, name::Event::Registered(name)) => {
            Payload::CustomerRegistered(CustomerRegistered { name })
        }
        (_, name::Event::Renamed(name)) => Payload::CustomerRenamed(CustomerRenamed { name }),
    }
}

/// An event that was written by the rules, read again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Known {
    /// Of an order.
    Order(order::Event),
    /// Of a customer or product, which has this name since.
    Name(String),
}

/// What a stored event says; `None` if it was not written by this system's rules.
#[must_use]
pub fn known(event: RecordedEvent) -> Option<Known> {
    Some(match event.payload? {
        Payload::OrderCreated(OrderCreated {
            customer_id,
            items,
            total_amount,
        }) => {
            let currency = Currency::new(&total_amount?.currency_code)?;
            let lines: Option<Vec<_>> = items.into_iter().map(line).collect();
            let items = Items::new(lines?, currency).ok()?;
            Known::Order(order::Event::Created { customer_id, items })
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

fn line(item: OrderCreatedItem) -> Option<Item> {
    let price: Money = item.unit_price?;
    Some(Item {
        product_id: item.product_id,
        quantity: item.quantity,
        unit_price: Amount::new(convert::amount(&price)?),
    })
}
