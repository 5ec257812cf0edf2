//! Folds the events of one order, customer or product, as commands are decided: by the rules of
//! `domain`, and without the code that projects documents. So a fault of the projection is a
//! difference.

use contract::{
    google::r#type::Money,
    orders::v1::{
        AggregateType, Order, OrderCreated, OrderItem, OrderStatus, RecordedEvent,
        recorded_event::Payload,
    },
};
use domain::{
    money::Amount,
    order::{self, Change, Status},
};
use prost_types::Timestamp;
use wire::convert;

/// A reason why an event cannot be applied, as the predicate of the event.
type Fault = &'static str;

/// The events of one aggregate up to the first that cannot be applied.
#[derive(Debug, Default)]
pub(super) struct Fold {
    /// The order; `None` before its first event, and of a customer or product.
    pub(super) order: Option<FoldedOrder>,
    /// The newest name of a customer or product.
    pub(super) name: Option<GivenName>,
    /// Why the order, customer or product is parked.
    pub(super) fault: Option<String>,
}

/// An order in the state that its events lead to.
#[derive(Debug)]
pub(super) struct FoldedOrder {
    /// The position of the event that created the order.
    pub(super) row: u64,
    /// The state that commands are decided on.
    state: order::Order,
    /// The values that events record beside it. Its status, version and customer are unset.
    recorded: Order,
}

/// A name, and the position of the event that gave it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct GivenName {
    pub(super) text: String,
    pub(super) position: u64,
}

impl Fold {
    /// Applies the next event of the aggregate.
    pub(super) fn add(&mut self, event: RecordedEvent) {
        let position = event.position;
        let faulty = match event.aggregate_type() {
            // The later events of a parked order wait behind the faulty one.
            AggregateType::Order if self.fault.is_some() => return,
            AggregateType::Order => self.add_to_order(event),
            AggregateType::Customer | AggregateType::Product => self.add_to_name(event),
            // A newer contract may add aggregates that this version does not show.
            AggregateType::Unspecified => return,
        };
        if let Err(fault) = faulty {
            self.fault = Some(format!("event {position} {fault}"));
        }
    }

    fn add_to_order(&mut self, event: RecordedEvent) -> Result<(), Fault> {
        let at = time(&event)?;
        let before = self.order.as_ref().map(|order| order.state.clone());
        let expected = before.as_ref().map_or(1, |order| order.version + 1);
        let state = match change(event.payload.as_ref())? {
            Some(Change::Created { .. }) if before.is_some() => {
                return Err("creates an order that exists");
            }
            Some(change) => order::evolve(before, change),
            // The event is of a newer contract: it changes nothing that this version knows.
            None => before.map(|order| order::Order {
                version: order.version + 1,
                ..order
            }),
        };
        let state = state.ok_or("is of an order that does not exist")?;
        if event.version != expected {
            return Err("does not have the next version of its order");
        }
        match self.order.as_mut() {
            Some(order) => {
                order.state = state;
                record(&mut order.recorded, event, at);
            }
            None => {
                let row = event.position;
                let recorded = created(event, at)?;
                self.order = Some(FoldedOrder {
                    row,
                    state,
                    recorded,
                });
            }
        }
        Ok(())
    }

    /// A name replaces all earlier ones, so that it also ends the wait behind a faulty event.
    fn add_to_name(&mut self, event: RecordedEvent) -> Result<(), Fault> {
        time(&event)?;
        let position = event.position;
        let text = match (event.aggregate_type(), event.payload) {
            // The event is of a newer contract.
            (_, None) => return Ok(()),
            (AggregateType::Customer, Some(Payload::CustomerRegistered(event))) => event.name,
            (AggregateType::Customer, Some(Payload::CustomerRenamed(event))) => event.name,
            (AggregateType::Product, Some(Payload::ProductRegistered(event))) => event.name,
            (AggregateType::Product, Some(Payload::ProductRenamed(event))) => event.name,
            _ => return Err("is of another kind than its customer or product"),
        };
        if text.is_empty() {
            return Err("has no name");
        }
        self.name = Some(GivenName { text, position });
        self.fault = None;
        Ok(())
    }
}

impl FoldedOrder {
    /// Returns the document that the order must have, without names.
    pub(super) fn document(self) -> Order {
        let status = match self.state.status {
            Status::Created => OrderStatus::Created,
            Status::Shipped => OrderStatus::Shipped,
            Status::Delivered => OrderStatus::Delivered,
            Status::Cancelled => OrderStatus::Cancelled,
        };
        Order {
            customer_id: self.state.customer_id,
            status: status.into(),
            version: self.state.version,
            ..self.recorded
        }
    }
}

/// Returns the sum of the prices of an order's items; `None` if they have several currencies, or if
/// the sum does not fit.
pub(super) fn sum_of_items(order: &Order) -> Option<Money> {
    let currency = &order.total_amount.as_ref()?.currency_code;
    let amounts = order.items.iter().map(|item| {
        let price = item.unit_price.as_ref()?;
        let amount = Amount::new(convert::amount(price)?).times(item.quantity);
        amount.filter(|_| price.currency_code == *currency)
    });
    Amount::sum(amounts).map(|sum| convert::money(sum.get(), currency))
}

fn time(event: &RecordedEvent) -> Result<Timestamp, Fault> {
    let time = event.occurred_at;
    time.filter(|time| convert::nanoseconds(time).is_some())
        .ok_or("has no time, or cannot be read")
}

/// Returns the change of an order; `None` for an event of a newer contract.
fn change(payload: Option<&Payload>) -> Result<Option<Change>, Fault> {
    Ok(Some(match payload {
        None => return Ok(None),
        Some(Payload::OrderCreated(created)) => Change::Created {
            customer_id: created.customer_id.clone(),
        },
        Some(Payload::OrderShipped(_)) => Change::Shipped,
        Some(Payload::OrderDelivered(_)) => Change::Delivered,
        Some(Payload::OrderCancelled(_)) => Change::Cancelled,
        Some(_) => return Err("is of no order"),
    }))
}

/// Records what an event after the first says.
fn record(order: &mut Order, event: RecordedEvent, at: Timestamp) {
    match event.payload {
        Some(Payload::OrderShipped(shipped)) => {
            order.shipping_address = shipped.shipping_address;
            order.tracking_number = shipped.tracking_number;
            order.shipped_at = Some(at);
        }
        Some(Payload::OrderDelivered(_)) => order.delivered_at = Some(at),
        Some(Payload::OrderCancelled(cancelled)) => {
            order.cancellation_reason = cancelled.reason;
            order.cancelled_at = Some(at);
        }
        _ => {}
    }
    order.updated_at = Some(at);
    order.position = event.position;
}

/// Records what the first event says.
fn created(event: RecordedEvent, at: Timestamp) -> Result<Order, Fault> {
    let Some(Payload::OrderCreated(OrderCreated {
        items,
        total_amount,
        ..
    })) = event.payload
    else {
        return Err("is of an order that does not exist");
    };
    let total = total_amount.filter(|total| convert::amount(total).is_some());
    let items = items.into_iter().map(|item| {
        let price = item.unit_price.unwrap_or_default();
        let amount = Amount::new(convert::amount(&price)?).times(item.quantity)?;
        Some(OrderItem {
            product_id: item.product_id,
            product_name: String::new(),
            quantity: item.quantity,
            line_total: Some(convert::money(amount.get(), &price.currency_code)),
            unit_price: Some(price),
        })
    });
    let items: Option<Vec<_>> = items.collect();
    let items = items.ok_or("has a price that is none")?;
    Ok(Order {
        order_id: event.aggregate_id,
        item_count: u32::try_from(items.len()).map_err(|_| "has too many items")?,
        items,
        total_amount: Some(total.ok_or("has no total")?),
        created_at: Some(at),
        updated_at: Some(at),
        position: event.position,
        ..Order::default()
    })
}
