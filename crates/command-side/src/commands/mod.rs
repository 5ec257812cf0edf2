//! CommandService: takes requests, appends events, and replies.
//!
//! One file for each command checks its fields ([`create_order`], ...). [`Command::new`] checks the
//! fields that all commands have. The [`service`] queues commands to the [`writer`], and [`decide`]
//! decides the writer's batch in memory.

mod cancel_order;
mod create_order;
pub mod decide;
mod deliver_order;
mod messages;
mod register_customer;
mod register_product;
mod service;
mod ship_order;
mod writer;

use contract::orders::v1::{AggregateType, execute_commands_request::Command as Request};
use domain::{limits, order, text};
use event_log::Aggregate;
use prost_types::Timestamp;
use sha2::{Digest as _, Sha256};
use tracing::Span;
use uuid::Uuid;
use wire::{Limit, Violations};

pub use service::Commands;
pub(crate) use writer::QUEUE_CAPACITY;
pub use writer::Writer;

/// Limits the characters of a `request_id`. A longer one is an invalid field.
const MAX_REQUEST_ID_CHARS: usize = 64;

/// The length of a fingerprint, which is the start of a SHA-256. The fingerprint detects a
/// `request_id` that a client reuses for another command.
const FINGERPRINT_BYTES: usize = 16;

pub(crate) const LIMITS: [Limit; 5] = [
    Limit::new(
        "characters of a `request_id`",
        MAX_REQUEST_ID_CHARS as u64,
        "`INVALID_FIELD`",
    ),
    Limit::new(
        "characters of `x-correlation-id`",
        service::MAX_CORRELATION_ID_CHARS as u64,
        "`INVALID_FIELD`",
    ),
    Limit::new(
        "commands that wait in the queue",
        QUEUE_CAPACITY as u64,
        "single calls get `OVERLOADED`",
    ),
    Limit::new(
        "commands of all streams in the queue",
        service::MAX_QUEUED_BY_STREAMS as u64,
        "the streams wait",
    ),
    Limit::new(
        "commands of one `ExecuteCommands` stream in flight",
        service::MAX_IN_FLIGHT_COMMANDS as u64,
        "the server stops reading the stream",
    ),
];

/// A command with checked fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// The aggregate that the command changes.
    pub aggregate: Aggregate,
    /// True if the server generated the aggregate's id for this command: no event has this id.
    pub fresh: bool,
    /// The change that the command asks for.
    pub action: Action,
    /// Empty if the client gave none.
    pub request_id: String,
    /// Empty without a request id.
    pub fingerprint: Vec<u8>,
    /// Nanoseconds since 1970. `None` stands for the time of the decision.
    pub occurred_at: Option<i64>,
    /// The call that sent the command; its events carry this.
    pub origin: Origin,
}

/// The change of an aggregate that a command asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Changes an order.
    Order {
        /// The domain's command.
        command: order::Command,
        /// If set, the order must be at this version.
        expected_version: Option<u64>,
    },
    /// Registers or renames a customer or product.
    Register {
        /// The new name.
        name: String,
        /// If set, the customer or product must be at this version, which is 0 before its first name.
        expected_version: Option<u64>,
    },
}

/// The metadata of the call that sent a command.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin {
    /// The value of `x-correlation-id`, or empty.
    pub correlation_id: String,
    /// The value of `traceparent`, or empty.
    pub traceparent: String,
    /// The owner of the call's credential, or empty.
    pub actor: String,
}

impl Command {
    /// Makes a command of a request and checks every field. `now` is in nanoseconds since 1970.
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
            // A missing action implies a violation, so that `finish` has returned.
            action: fields
                .action
                .ok_or_else(|| wire::Error::internal("a sound command has no action"))?,
            request_id,
            fingerprint,
            occurred_at,
            origin: origin.clone(),
        })
    }

    /// Returns the span of log lines about this command, with its request id and trace id. The span
    /// is for failures only, because commands must cost least.
    pub(crate) fn log_span(&self) -> Span {
        let request_id = Some(&*self.request_id).filter(|id| !id.is_empty());
        let trace = self.origin.traceparent.split('-').nth(1);
        tracing::error_span!("command", request_id, trace)
    }

    /// Returns whether the command creates an order.
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
    /// Checks the fields that only this request has, and reports each one that breaks a rule.
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

/// The source of an aggregate's id.
enum Id {
    /// The client gave the id in the field of this name.
    Given(&'static str, String),
    /// The server generates the id.
    Generated,
}

/// The fields of a request in the form that all requests share.
struct Fields {
    kind: AggregateType,
    id: Id,
    /// `None` after a violation.
    action: Option<Action>,
    occurred_at: Option<Timestamp>,
}

impl Fields {
    /// Makes the fields of a command to an existing order.
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

    /// Makes the fields of a command that registers a customer or product, and checks the name.
    fn of_name(
        kind: AggregateType,
        id: Id,
        name: String,
        expected_version: Option<u64>,
        occurred_at: Option<Timestamp>,
        violations: &mut Violations,
    ) -> Self {
        violations.text("name", &name, limits::MAX_NAME_CHARS);
        Self {
            kind,
            id,
            action: Some(Action::Register {
                name: text::composed(&name),
                expected_version,
            }),
            occurred_at,
        }
    }
}

/// Checks `occurred_at` and returns it in nanoseconds since 1970, the unit of `now`.
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

/// Takes the request id out of a request, and returns it with a digest of the other fields. Returns
/// `None` without a request id.
fn fingerprint(request: &mut Request) -> Option<(String, Vec<u8>)> {
    let id = std::mem::take(request.request_id_mut());
    if id.is_empty() {
        return None;
    }
    // The encoding includes the kind of the request, because two kinds may have the same fields.
    let mut content = Vec::with_capacity(request.encoded_len());
    request.encode(&mut content);
    let digest = Sha256::digest(&content);
    Some((id, digest[..FINGERPRINT_BYTES].to_vec()))
}

#[cfg(test)]
mod tests;
