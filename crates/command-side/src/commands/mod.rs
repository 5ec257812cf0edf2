//! CommandService: requests in, events appended, replies out.
//!
//! One file for each command checks its fields ([`create_order`], ...). [`Command::new`] checks what
//! all have in common. The [`service`] queues commands to the [`writer`], which lets [`decide`]
//! decide a whole batch in memory.

mod cancel_order;
mod create_order;
pub mod decide;
mod deliver_order;
mod register_customer;
mod register_product;
mod service;
mod ship_order;
mod writer;

use contract::orders::v1::{AggregateType, execute_commands_request::Command as Request};
use domain::{limits, order};
use event_log::Aggregate;
use prost_types::Timestamp;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;
use wire::Violations;

pub use service::Commands;
pub(crate) use writer::QUEUE_CAPACITY;
pub use writer::Writer;

/// Characters in a request id.
const MAX_REQUEST_ID_CHARS: usize = 64;

/// Bytes of a SHA-256 that tell two commands of one client apart.
const FINGERPRINT_BYTES: usize = 16;

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
        violations.at_most("request_id", &request_id, MAX_REQUEST_ID_CHARS);
        let fields = request.check(&mut violations);
        let occurred_at = fields
            .occurred_at
            .and_then(|time| occurred_at(&time, now, &mut violations));
        let (id, fresh) = match fields.id {
            Id::Given(field, id) => {
                violations.id(field, &id);
                (id, false)
            }
            Id::Generated => (Uuid::now_v7().to_string(), true),
        };
        violations.finish()?;
        Ok(Self {
            aggregate: Aggregate {
                kind: fields.kind.into(),
                id,
            },
            fresh,
            // Without an action there was a violation.
            action: fields.action.ok_or(wire::Error::Internal)?,
            request_id,
            fingerprint,
            occurred_at,
            origin: origin.clone(),
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

/// A request whose fields can be checked.
trait Check {
    /// Checks the fields that are its own, and reports each one that breaks a rule.
    fn check(self, violations: &mut Violations) -> Fields;
}

impl Check for Request {
    fn check(self, violations: &mut Violations) -> Fields {
        match self {
            Self::CreateOrder(request) => request.check(violations),
            Self::ShipOrder(request) => request.check(violations),
            Self::DeliverOrder(request) => request.check(violations),
            Self::CancelOrder(request) => request.check(violations),
            Self::RegisterCustomer(request) => request.check(violations),
            Self::RegisterProduct(request) => request.check(violations),
        }
    }
}

/// The id of an aggregate.
enum Id {
    /// The client gave it, in this field.
    Given(&'static str, String),
    /// The server generates it.
    Generated,
}

/// The fields of a request, as far as they are sound.
struct Fields {
    kind: AggregateType,
    id: Id,
    /// `None` after a violation.
    action: Option<Action>,
    occurred_at: Option<Timestamp>,
}

impl Fields {
    /// Of a command to an order that exists.
    fn of_order(
        order_id: String,
        command: order::Command,
        expected_version: Option<u64>,
        occurred_at: Option<Timestamp>,
    ) -> Self {
        Self {
            kind: AggregateType::Order,
            id: Id::Given("order_id", order_id),
            action: Some(Action::Order {
                command,
                expected_version,
            }),
            occurred_at,
        }
    }

    /// Of a command that names a customer or product.
    fn of_name(
        kind: AggregateType,
        id: Id,
        name: String,
        occurred_at: Option<Timestamp>,
        violations: &mut Violations,
    ) -> Self {
        violations.text("name", &name, limits::MAX_NAME_CHARS);
        Self {
            kind,
            id,
            action: Some(Action::Register { name }),
            occurred_at,
        }
    }
}

/// Checks `occurred_at`, in nanoseconds since 1970 like `now`.
fn occurred_at(time: &Timestamp, now: i64, violations: &mut Violations) -> Option<i64> {
    let time = violations.time("occurred_at", time)?;
    violations.check(
        time >= limits::EARLIEST_NANOS,
        "occurred_at",
        "must not be before the year 1700",
    );
    violations.check(
        time <= now.saturating_add(limits::MAX_NANOS_AHEAD),
        "occurred_at",
        "must be at most 5 minutes ahead",
    );
    Some(time)
}

/// Takes the request id out of a request, and digests the rest.
fn fingerprint(request: &mut Request) -> Option<(String, Vec<u8>)> {
    let id = std::mem::take(request.request_id_mut());
    if id.is_empty() {
        return None;
    }
    // With its kind in front: two kinds of request may have the same fields.
    let mut content = Vec::with_capacity(request.encoded_len());
    request.encode(&mut content);
    let digest = Sha256::digest(&content);
    Some((id, digest[..FINGERPRINT_BYTES].to_vec()))
}

#[cfg(test)]
mod tests;
