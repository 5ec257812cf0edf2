//! Orders: CREATED -> SHIPPED -> DELIVERED, or CREATED -> CANCELLED.

use crate::items::Items;

/// What an order is like, as far as its commands depend on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// Whose it is.
    pub customer_id: String,
    /// Where it stands.
    pub status: Status,
    /// How many events made it what it is.
    pub version: u64,
}

/// Where an order stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It can be shipped or cancelled.
    Created,
    /// It can be delivered.
    Shipped,
    /// Nothing more happens to it.
    Delivered,
    /// Nothing more happens to it.
    Cancelled,
}

impl Status {
    /// Its name, as people write it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Created => "CREATED",
            Self::Shipped => "SHIPPED",
            Self::Delivered => "DELIVERED",
            Self::Cancelled => "CANCELLED",
        }
    }
}

/// What is wanted of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// That it be.
    Create {
        /// Whose it is.
        customer_id: String,
        /// Its lines.
        items: Items,
    },
    /// That it be sent.
    Ship {
        /// Where to.
        shipping_address: String,
        /// The carrier's number.
        tracking_number: String,
    },
    /// That it has arrived.
    Deliver,
    /// That it be no more.
    Cancel {
        /// Why.
        reason: String,
    },
}

/// What happened to an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// It came to be.
    Created {
        /// Whose it is.
        customer_id: String,
        /// Its lines.
        items: Items,
    },
    /// It was sent.
    Shipped {
        /// Where to.
        shipping_address: String,
        /// The carrier's number.
        tracking_number: String,
    },
    /// It arrived.
    Delivered,
    /// It was cancelled.
    Cancelled {
        /// Why.
        reason: String,
    },
}

/// Why a command is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is no such order.
    #[error("there is no such order")]
    Unknown,
    /// The order is there already.
    #[error("the order exists")]
    Exists,
    /// The order is at another version than the command expects.
    #[error("expected version {expected}, but the order is at {actual}")]
    Version {
        /// What the command expects.
        expected: u64,
        /// Where the order is.
        actual: u64,
    },
    /// Only a created order can be shipped.
    #[error("a {} order cannot be shipped", .0.name())]
    NotShippable(Status),
    /// Only a shipped order can be delivered.
    #[error("a {} order cannot be delivered", .0.name())]
    NotDeliverable(Status),
    /// Only a created order can be cancelled.
    #[error("a {} order cannot be cancelled", .0.name())]
    NotCancellable(Status),
}

/// The event that a command leads to.
///
/// # Errors
/// Why it leads to none. That the order exists comes before its version, and its version before
/// its state: who expects another version should look again before anything else.
pub fn decide(
    order: Option<&Order>,
    expected_version: Option<u64>,
    command: Command,
) -> Result<Event, Refusal> {
    let status = match (&command, order) {
        (Command::Create { .. }, Some(_)) => return Err(Refusal::Exists),
        (Command::Create { .. }, None) => Status::Created,
        (_, None) => return Err(Refusal::Unknown),
        (_, Some(order)) => match expected_version {
            Some(expected) if expected != order.version => {
                return Err(Refusal::Version {
                    expected,
                    actual: order.version,
                });
            }
            _ => order.status,
        },
    };
    match (command, status) {
        (Command::Create { customer_id, items }, _) => Ok(Event::Created { customer_id, items }),
        (
            Command::Ship {
                shipping_address,
                tracking_number,
            },
            Status::Created,
        ) => Ok(Event::Shipped {
            shipping_address,
            tracking_number,
        }),
        (Command::Ship { .. }, status) => Err(Refusal::NotShippable(status)),
        (Command::Deliver, Status::Shipped) => Ok(Event::Delivered),
        (Command::Deliver, status) => Err(Refusal::NotDeliverable(status)),
        (Command::Cancel { reason }, Status::Created) => Ok(Event::Cancelled { reason }),
        (Command::Cancel { .. }, status) => Err(Refusal::NotCancellable(status)),
    }
}

/// What an event makes of an order. Only a created event makes one where there is none.
#[must_use]
pub fn evolve(order: Option<Order>, event: &Event) -> Option<Order> {
    let status = match event {
        Event::Created { customer_id, .. } => {
            let customer_id = customer_id.clone();
            return Some(Order {
                customer_id,
                status: Status::Created,
                version: 1,
            });
        }
        Event::Shipped { .. } => Status::Shipped,
        Event::Delivered => Status::Delivered,
        Event::Cancelled { .. } => Status::Cancelled,
    };
    order.map(|order| Order {
        status,
        version: order.version + 1,
        ..order
    })
}

#[cfg(test)]
mod tests;
