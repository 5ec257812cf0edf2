//! Requests, checked.

use contract::orders::v1::{
    AggregateType, CancelOrderRequest, CreateOrderItem, CreateOrderRequest, DeliverOrderRequest,
    RegisterCustomerRequest, RegisterProductRequest, ShipOrderRequest,
    execute_commands_request::Command as Request,
};
use domain::{
    items::{self, Broken, Item, Items},
    money::{Amount, Currency},
    order,
};
use event_log::Aggregate;
use prost_types::Timestamp;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;
use wire::{Violations, convert};

/// Characters in a request id.
const REQUEST_ID: usize = 64;

/// Characters in the name of a customer or product.
const NAME: usize = 200;

/// Characters in a shipping address or in a reason.
const TEXT: usize = 500;

/// Characters in a tracking number.
const TRACKING_NUMBER: usize = 100;

/// How far ahead of our clock something may have happened.
const FUTURE: i64 = 5 * 60 * 1_000_000_000;

/// 1700-01-01, in nanoseconds since 1970.
const OLDEST: i64 = -8_520_336_000 * 1_000_000_000;

/// Bytes of a SHA-256 that tell two commands of one client apart.
const FINGERPRINT: usize = 16;

/// A command whose every field keeps its rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// What it is about.
    pub aggregate: Aggregate,
    /// True when the id was made here, just now: there can be nothing with it.
    pub fresh: bool,
    /// What is wanted of it.
    pub action: Action,
    /// Empty if the client gave none.
    pub request_id: String,
    /// Empty without a request id.
    pub fingerprint: Vec<u8>,
    /// Nanoseconds since 1970; `None` is now.
    pub occurred_at: Option<i64>,
    /// Where it comes from.
    pub origin: Origin,
}

/// What is wanted of an aggregate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Something of an order.
    Order {
        /// What.
        command: order::Command,
        /// Only if the order is at this version.
        expected_version: Option<u64>,
    },
    /// That a customer or product has this name.
    Register {
        /// Which.
        name: String,
    },
}

/// Where a command comes from, as its call's metadata say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin {
    /// `x-correlation-id`, or empty.
    pub correlation_id: String,
    /// `traceparent`, or empty.
    pub traceparent: String,
}

impl Command {
    /// Checks a request, at `now` (nanoseconds since 1970).
    ///
    /// # Errors
    /// [`wire::Error::InvalidFields`] with every field that breaks a rule.
    pub fn new(mut request: Request, origin: &Origin, now: i64) -> Result<Self, wire::Error> {
        let fingerprint = fingerprint(&mut request);
        let mut violations = Violations::default();
        let (request_id, fingerprint) = fingerprint.unwrap_or_default();
        violations.at_most("request_id", &request_id, REQUEST_ID);
        let parts = match request {
            Request::CreateOrder(request) => create(request, &mut violations),
            Request::ShipOrder(request) => ship(request, &mut violations),
            Request::DeliverOrder(request) => deliver(request, &mut violations),
            Request::CancelOrder(request) => cancel(request, &mut violations),
            Request::RegisterCustomer(request) => {
                let RegisterCustomerRequest {
                    customer_id,
                    name,
                    occurred_at,
                    ..
                } = request;
                let id = Id::Given("customer_id", customer_id);
                register(
                    AggregateType::Customer,
                    id,
                    name,
                    occurred_at,
                    &mut violations,
                )
            }
            Request::RegisterProduct(request) => {
                let RegisterProductRequest {
                    product_id,
                    name,
                    occurred_at,
                    ..
                } = request;
                let id = Id::Given("product_id", product_id);
                register(
                    AggregateType::Product,
                    id,
                    name,
                    occurred_at,
                    &mut violations,
                )
            }
        };
        let occurred_at = parts.occurred_at.and_then(|time| {
            let time = violations.time("occurred_at", &time)?;
            violations.check(
                time >= OLDEST,
                "occurred_at",
                "must not be before the year 1700",
            );
            let latest = now.saturating_add(FUTURE);
            violations.check(
                time <= latest,
                "occurred_at",
                "must be at most 5 minutes ahead",
            );
            Some(time)
        });
        let (id, fresh) = match parts.id {
            Id::Given(field, id) => {
                violations.id(field, &id);
                (id, false)
            }
            Id::Made => (Uuid::now_v7().to_string(), true),
        };
        violations.finish()?;
        let aggregate = Aggregate {
            kind: parts.kind.into(),
            id,
        };
        // Without an action there is a violation.
        let action = parts.action.ok_or(wire::Error::Internal)?;
        let origin = origin.clone();
        Ok(Self {
            aggregate,
            fresh,
            action,
            request_id,
            fingerprint,
            occurred_at,
            origin,
        })
    }

    /// Whether it makes an order.
    pub(crate) fn creates(&self) -> bool {
        matches!(
            self.action,
            Action::Order {
                command: order::Command::Create { .. },
                ..
            }
        )
    }
}

/// An id as the client gave it, in which field, or one that is made.
enum Id {
    Given(&'static str, String),
    Made,
}

/// What the requests have in common once they are checked.
struct Parts {
    kind: AggregateType,
    id: Id,
    action: Option<Action>,
    occurred_at: Option<Timestamp>,
}

fn of_order(
    order_id: String,
    command: order::Command,
    expected_version: Option<u64>,
    occurred_at: Option<Timestamp>,
) -> Parts {
    Parts {
        kind: AggregateType::Order,
        id: Id::Given("order_id", order_id),
        action: Some(Action::Order {
            command,
            expected_version,
        }),
        occurred_at,
    }
}

fn create(request: CreateOrderRequest, violations: &mut Violations) -> Parts {
    let CreateOrderRequest {
        order_id,
        customer_id,
        items,
        occurred_at,
        ..
    } = request;
    violations.id("customer_id", &customer_id);
    let action = lines(items, violations).map(|items| Action::Order {
        command: order::Command::Create { customer_id, items },
        expected_version: None,
    });
    let id = if order_id.is_empty() {
        Id::Made
    } else {
        Id::Given("order_id", order_id)
    };
    Parts {
        kind: AggregateType::Order,
        id,
        action,
        occurred_at,
    }
}

fn ship(request: ShipOrderRequest, violations: &mut Violations) -> Parts {
    let ShipOrderRequest {
        order_id,
        shipping_address,
        tracking_number,
        ..
    } = request;
    violations.text("shipping_address", &shipping_address, TEXT);
    violations.text("tracking_number", &tracking_number, TRACKING_NUMBER);
    let command = order::Command::Ship {
        shipping_address,
        tracking_number,
    };
    of_order(
        order_id,
        command,
        request.expected_version,
        request.occurred_at,
    )
}

fn deliver(request: DeliverOrderRequest, _: &mut Violations) -> Parts {
    let DeliverOrderRequest {
        order_id,
        expected_version,
        occurred_at,
        ..
    } = request;
    of_order(
        order_id,
        order::Command::Deliver,
        expected_version,
        occurred_at,
    )
}

fn cancel(request: CancelOrderRequest, violations: &mut Violations) -> Parts {
    let CancelOrderRequest {
        order_id,
        reason,
        expected_version,
        occurred_at,
        ..
    } = request;
    violations.text("reason", &reason, TEXT);
    of_order(
        order_id,
        order::Command::Cancel { reason },
        expected_version,
        occurred_at,
    )
}

fn register(
    kind: AggregateType,
    id: Id,
    name: String,
    occurred_at: Option<Timestamp>,
    violations: &mut Violations,
) -> Parts {
    violations.text("name", &name, NAME);
    Parts {
        kind,
        id,
        action: Some(Action::Register { name }),
        occurred_at,
    }
}

/// The lines of an order; `None` if a violation was noted.
fn lines(items: Vec<CreateOrderItem>, violations: &mut Violations) -> Option<Items> {
    if !items::COUNT.contains(&items.len()) {
        violations.add("items", Broken::Count.to_string());
        return None;
    }
    let mut order_currency = None;
    let mut sound = true;
    let mut lines = Vec::with_capacity(items.len());
    for (index, item) in items.into_iter().enumerate() {
        violations.id(format!("items[{index}].product_id"), &item.product_id);
        let field = format!("items[{index}].unit_price");
        let amount = match item.unit_price {
            None => {
                violations.add(field, "is required");
                None
            }
            Some(price) => {
                let currency = Currency::new(&price.currency_code);
                let rule = match (currency, order_currency) {
                    (None, _) => Some("must be three capital letters, as in ISO 4217"),
                    (Some(currency), Some(first)) if currency != first => {
                        Some("must be the same on every item")
                    }
                    _ => None,
                };
                if let Some(rule) = rule {
                    violations.add(format!("{field}.currency_code"), rule);
                    sound = false;
                }
                order_currency = order_currency.or(currency);
                let amount = convert::amount(&price);
                violations.check(
                    amount.is_some(),
                    field,
                    "must be an amount with at most 4 decimals that fits into 64 bits with them",
                );
                amount
            }
        };
        sound &= amount.is_some();
        lines.push(Item {
            product_id: item.product_id,
            quantity: item.quantity,
            // What cannot be read counts as nothing, so that the other rules are checked too.
            unit_price: Amount::new(amount.unwrap_or_default()),
        });
    }
    match Items::new(lines, order_currency.unwrap_or(Currency::NONE)) {
        Ok(items) => Some(items).filter(|_| sound),
        Err(broken) => {
            for rule in broken {
                let field = match rule {
                    Broken::Count | Broken::Total => "items".to_owned(),
                    Broken::Quantity(index) => format!("items[{index}].quantity"),
                    Broken::Price(index) => format!("items[{index}].unit_price"),
                };
                violations.add(field, rule.to_string());
            }
            None
        }
    }
}

/// The request's id, which is taken out of it, and what tells its content from others.
fn fingerprint(request: &mut Request) -> Option<(String, Vec<u8>)> {
    let id = match request {
        Request::CreateOrder(request) => &mut request.request_id,
        Request::ShipOrder(request) => &mut request.request_id,
        Request::DeliverOrder(request) => &mut request.request_id,
        Request::CancelOrder(request) => &mut request.request_id,
        Request::RegisterCustomer(request) => &mut request.request_id,
        Request::RegisterProduct(request) => &mut request.request_id,
    };
    let id = std::mem::take(id);
    if id.is_empty() {
        return None;
    }
    // With its kind in front: two kinds of request may have the same fields.
    let mut content = Vec::with_capacity(request.encoded_len());
    request.encode(&mut content);
    let digest = Sha256::digest(&content);
    Some((id, digest[..FINGERPRINT].to_vec()))
}

#[cfg(test)]
mod tests;
