//! The order aggregate: CREATED -> SHIPPED -> DELIVERED, or CREATED -> CANCELLED.

use crate::items::Items;

/// The state of an order that its commands and events depend on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// The customer who ordered.
    pub customer_id: String,
    /// The status that decides which commands are allowed.
    pub status: Status,
    /// The number of the order's events.
    pub version: u64,
}

/// The status of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// The order can be shipped or cancelled.
    Created,
    /// The order can be delivered.
    Shipped,
    /// Final: every further command is refused.
    Delivered,
    /// Final: every further command is refused.
    Cancelled,
}

impl Status {
    /// Returns the name that error messages use.
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

/// A command to an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Creates the order.
    Create {
        /// The customer who orders.
        customer_id: String,
        /// The order's lines.
        items: Items,
    },
    /// Ships the order.
    Ship {
        /// The address of the recipient.
        shipping_address: String,
        /// The carrier's number.
        tracking_number: String,
    },
    /// Records the arrival of the order.
    Deliver,
    /// Cancels the order.
    Cancel {
        /// The reason of the cancellation.
        reason: String,
    },
}

/// An event of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The customer created the order.
    Created {
        /// The customer who ordered.
        customer_id: String,
        /// The order's lines.
        items: Items,
    },
    /// The order was shipped.
    Shipped {
        /// The address of the recipient.
        shipping_address: String,
        /// The carrier's number.
        tracking_number: String,
    },
    /// The order arrived.
    Delivered,
    /// The order was cancelled.
    Cancelled {
        /// The reason of the cancellation.
        reason: String,
    },
}

/// The part of an event that an order's state depends on. It has no rules: a stored event stays
/// valid when the rules for commands change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The order was created.
    Created {
        /// The customer who ordered.
        customer_id: String,
    },
    /// The order was shipped.
    Shipped,
    /// The order arrived.
    Delivered,
    /// The order was cancelled.
    Cancelled,
}

impl Event {
    /// Returns the change of the order.
    #[must_use]
    pub fn change(&self) -> Change {
        match self {
            Self::Created { customer_id, .. } => Change::Created {
                customer_id: customer_id.clone(),
            },
            Self::Shipped { .. } => Change::Shipped,
            Self::Delivered => Change::Delivered,
            Self::Cancelled { .. } => Change::Cancelled,
        }
    }
}

/// The reason for which a command is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The order does not exist.
    #[error("there is no such order")]
    Unknown,
    /// The order to create already exists.
    #[error("the order exists")]
    Exists,
    /// The order is at another version than the command expects.
    #[error("expected version {expected}, but the order is at {actual}")]
    Version {
        /// The version that the command expects.
        expected: u64,
        /// The version of the order.
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

/// Returns the event that a command leads to.
///
/// # Errors
/// In this order of precedence:
/// 1. [`Refusal::Exists`] when the order to create exists, or [`Refusal::Unknown`] when the order
///    of any other command does not exist.
/// 2. [`Refusal::Version`] when the order is at another version than `expected_version`. The client
///    should read the order before it retries.
/// 3. [`Refusal::NotShippable`], [`Refusal::NotDeliverable`] or [`Refusal::NotCancellable`] when
///    the order's status forbids the command.
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

/// Applies a change to an order. Without an order, only [`Change::Created`] returns one.
#[must_use]
pub fn evolve(order: Option<Order>, change: Change) -> Option<Order> {
    let status = match change {
        Change::Created { customer_id } => {
            return Some(Order {
                customer_id,
                status: Status::Created,
                version: 1,
            });
        }
        Change::Shipped => Status::Shipped,
        Change::Delivered => Status::Delivered,
        Change::Cancelled => Status::Cancelled,
    };
    order.map(|order| Order {
        status,
        version: order.version + 1,
        ..order
    })
}

/// The given time of an order's event is before the time of its event before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an order's events are in the order of their times, and the newest one is at {newest}")]
pub struct TooEarly {
    /// The time of the order's newest event, in nanoseconds since 1970.
    pub newest: i64,
}

/// Returns the time of an order's next event: the given one, else `now`, but not before the
/// `newest` event, whose time may be ahead of this clock. All are in nanoseconds since 1970.
///
/// # Errors
/// [`TooEarly`] when the given time is before the `newest` event.
pub fn occurred_at(newest: Option<i64>, given: Option<i64>, now: i64) -> Result<i64, TooEarly> {
    let newest = newest.unwrap_or(i64::MIN);
    match given {
        Some(given) if given < newest => Err(TooEarly { newest }),
        Some(given) => Ok(given),
        None => Ok(now.max(newest)),
    }
}

#[cfg(test)]
mod tests;
