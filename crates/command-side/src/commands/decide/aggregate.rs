//! Decides one command on the state of its aggregate.

use contract::orders::v1::{AggregateType, RecordedEvent, recorded_event::Payload};
use domain::{
    name::{self, Named, OtherVersion},
    order::{self, Order, Refusal, TooEarly},
};
use event_log::{Aggregate, PendingPosition, StoredEvent, Version};
use prost::Message as _;
use wire::{Error, OrderAction, Resource, convert};

use crate::{
    codec::record::{self, Known},
    commands::Action,
};

/// The newest state of an aggregate, and the version and position of its last event.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) of: Kind,
    pub(super) version: Version,
    pub(super) position: PendingPosition,
    /// In nanoseconds since 1970. `None` without an event.
    pub(super) occurred_at: Option<i64>,
}

#[derive(Debug, Default)]
pub(super) enum Kind {
    /// The aggregate does not exist.
    #[default]
    Absent,
    Order(Order),
    /// The name of a customer or product.
    Name(String),
}

impl From<Option<Order>> for Kind {
    fn from(order: Option<Order>) -> Self {
        order.map_or(Self::Absent, Self::Order)
    }
}

impl State {
    /// Returns the state after one more stored event. The first event that is loaded of a name need not
    /// be its first.
    ///
    /// # Errors
    /// The reason why the event cannot be decoded, is of an unknown type, or is not of its aggregate.
    pub(super) fn after(state: Option<Self>, stored: StoredEvent) -> Result<Self, String> {
        let event = RecordedEvent::decode(stored.record?).map_err(|error| error.to_string())?;
        let occurred_at = event.occurred_at.as_ref().and_then(convert::nanoseconds);
        let known = record::known(event).ok_or("has no known payload")?;
        let of = match (known, state.map(|state| state.of)) {
            (Known::Name(name), None | Some(Kind::Name(_))) => Kind::Name(name),
            (Known::Order(change), None | Some(Kind::Absent)) => order::evolve(None, change).into(),
            (Known::Order(change), Some(Kind::Order(order))) => {
                order::evolve(Some(order), change).into()
            }
            _ => return Err("is not of its aggregate".to_owned()),
        };
        Ok(Self {
            of,
            version: stored.version,
            position: PendingPosition::Known(stored.position),
            occurred_at,
        })
    }
}

/// The time that a command gives its event, and the time of the decision, in nanoseconds since 1970.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    pub(super) given: Option<i64>,
    pub(super) now: i64,
}

/// The event that a command leads to, and the state of its aggregate afterwards.
pub(super) struct Decided {
    pub(super) event: Event,
    pub(super) state: Kind,
}

/// The parts of an event that depend on the aggregate and the command.
pub(super) struct Event {
    pub(super) payload: Payload,
    pub(super) customer_id: String,
    /// In nanoseconds since 1970.
    pub(super) occurred_at: i64,
}

/// Decides an action on the state of its aggregate. Returns `None` if the action changes nothing.
pub(super) fn decide(
    aggregate: &Aggregate,
    state: Option<&State>,
    action: Action,
    times: Times,
) -> Result<Option<Decided>, Error> {
    match action {
        Action::Order {
            command,
            expected_version,
        } => decide_order(aggregate, state, (expected_version, command), times).map(Some),
        Action::Register {
            name,
            expected_version,
        } => decide_name(aggregate, state, (expected_version, name), times),
    }
}

fn decide_order(
    aggregate: &Aggregate,
    state: Option<&State>,
    (expected_version, command): (Option<u64>, order::Command),
    times: Times,
) -> Result<Decided, Error> {
    let order = match state {
        Some(State {
            of: Kind::Order(order),
            ..
        }) => Some(order),
        _ => None,
    };
    let event = order::decide(order, expected_version, command)
        .map_err(|refusal| refused(refusal, &aggregate.id))?;
    let newest = state.and_then(|state| state.occurred_at);
    let occurred_at = order::occurred_at(newest, times.given, times.now).map_err(too_early)?;
    let order = order::evolve(order.cloned(), event.change());
    Ok(Decided {
        event: Event {
            payload: record::of_order(event),
            customer_id: order
                .as_ref()
                .map_or_else(String::new, |order| order.customer_id.clone()),
            occurred_at,
        },
        state: order.into(),
    })
}

fn decide_name(
    aggregate: &Aggregate,
    state: Option<&State>,
    (expected_version, name): (Option<u64>, String),
    times: Times,
) -> Result<Option<Decided>, Error> {
    let known = match state {
        Some(State {
            of: Kind::Name(name),
            version,
            ..
        }) => Some(Named {
            name,
            version: version.get(),
        }),
        _ => None,
    };
    let event = name::decide(known, expected_version, name.clone())
        .map_err(|OtherVersion { expected, actual }| Error::VersionMismatch { expected, actual })?;
    let kind = AggregateType::try_from(aggregate.kind).unwrap_or_default();
    Ok(event.map(|event| Decided {
        event: Event {
            payload: record::of_name(kind, event),
            customer_id: match kind {
                AggregateType::Customer => aggregate.id.clone(),
                _ => String::new(),
            },
            occurred_at: times.given.unwrap_or(times.now),
        },
        state: Kind::Name(name),
    }))
}

fn too_early(TooEarly { newest }: TooEarly) -> Error {
    let newest = convert::timestamp(newest);
    Error::invalid_field(
        "occurred_at",
        format!("must not be before the order's newest event, which is at {newest}"),
    )
}

fn refused(refusal: Refusal, order_id: &str) -> Error {
    let order_id = order_id.to_owned();
    let forbidden = |action, status: order::Status| Error::Forbidden {
        action,
        order_id: order_id.clone(),
        status: status.name(),
    };
    match refusal {
        Refusal::Unknown => Error::NotFound(Resource::Order, order_id),
        Refusal::Exists => Error::OrderAlreadyExists(order_id),
        Refusal::Version { expected, actual } => Error::VersionMismatch { expected, actual },
        Refusal::NotShippable(status) => forbidden(OrderAction::Ship, status),
        Refusal::NotDeliverable(status) => forbidden(OrderAction::Deliver, status),
        Refusal::NotCancellable(status) => forbidden(OrderAction::Cancel, status),
    }
}
