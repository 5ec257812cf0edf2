//! Decides a batch of commands in memory. Each command sees the state after the ones before it.

use std::collections::{HashMap, HashSet};

use contract::orders::v1::{AggregateType, RecordedEvent, recorded_event::Payload};
use domain::{
    name::{self, Named, OtherVersion},
    order::{self, Order, Refusal},
};
use event_log::{
    Aggregate, Batch, Loaded, NewEvent, NewRequest, PendingPosition, Position, StoredRequest,
    Version,
};
use prost::Message as _;
use uuid::Uuid;
use wire::{Error, OrderAction, Resource, convert};

use crate::{
    codec::record::{self, Known},
    commands::{Action, Command},
};

/// The result of a command, valid once the batch is committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The aggregate's id.
    pub id: String,
    /// The aggregate's version after the command.
    pub version: Version,
    /// The position of the event with this version.
    pub position: PendingPosition,
}

/// The reason for which a command is rejected, valid once the batch is committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rejection {
    /// The request id belongs to a command with other content, which has this outcome.
    Reused(Outcome),
    /// The command breaks a rule on the newest state.
    Refused(Error),
}

impl Rejection {
    /// Returns the client's error. `first` is the position of the batch's first event.
    pub(crate) fn error(self, first: Position) -> Error {
        match self {
            Self::Refused(error) => error,
            Self::Reused(Outcome {
                id,
                version,
                position,
            }) => Error::RequestIdReused {
                id,
                version: version.get(),
                position: position.resolve(first).get(),
            },
        }
    }
}

/// Returns the aggregates and request ids that the commands need loaded, each once. An aggregate
/// with a fresh id needs no load, because it has no events.
///
/// An `optimistic` load also leaves out the items that most likely do not exist:
/// - the orders that commands create;
/// - the request ids, if there is no aggregate to load.
///
/// If one exists, the log rejects the batch with [`event_log::Error::Conflict`], and the writer
/// decides the batch with everything loaded.
pub(crate) fn needs<'a>(
    commands: impl Iterator<Item = &'a Command> + Clone,
    optimistic: bool,
) -> (Vec<&'a Aggregate>, Vec<&'a str>) {
    let known = commands
        .clone()
        .filter(|command| !(command.fresh || optimistic && command.creates()));
    let aggregates: HashSet<_> = known.map(|command| &command.aggregate).collect();
    if optimistic && aggregates.is_empty() {
        return (Vec::new(), Vec::new());
    }
    let ids = commands.map(|command| command.request_id.as_str());
    let ids: HashSet<_> = ids.filter(|id| !id.is_empty()).collect();
    (aggregates.into_iter().collect(), ids.into_iter().collect())
}

/// The newest state of an aggregate, and the version and position of its last event.
#[derive(Debug, Default)]
struct State {
    of: Kind,
    version: Version,
    position: PendingPosition,
}

#[derive(Debug, Default)]
enum Kind {
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

/// Decides the commands of one batch, and collects their events and replies.
#[derive(Debug)]
pub struct Decider {
    now: i64,
    states: HashMap<Aggregate, State>,
    /// The fingerprint of the command and its reply, by request id.
    replies: HashMap<String, (Vec<u8>, Outcome)>,
    batch: Batch,
}

impl Decider {
    /// Builds the states of the loaded aggregates. `now` is in nanoseconds since 1970.
    ///
    /// # Errors
    /// [`event_log::Error::Damaged`] when a loaded event cannot be decoded, is of an unknown type, or
    /// does not belong to its aggregate.
    pub fn new(loaded: Loaded, now: i64) -> Result<Self, event_log::Error> {
        let mut states: HashMap<Aggregate, State> = HashMap::new();
        for stored in loaded.events {
            let damaged = |what: &dyn std::fmt::Display| {
                event_log::Error::Damaged(format!("event {}: {what}", stored.position))
            };
            let event = RecordedEvent::decode(stored.record).map_err(|error| damaged(&error))?;
            let known = record::known(event).ok_or_else(|| damaged(&"has no known payload"))?;
            let state = states.remove(&stored.aggregate).map(|state| state.of);
            let of = match (known, state) {
                (Known::Name(name), None | Some(Kind::Name(_))) => Kind::Name(name),
                (Known::Order(change), None | Some(Kind::Absent)) => {
                    order::evolve(None, change).into()
                }
                (Known::Order(change), Some(Kind::Order(order))) => {
                    order::evolve(Some(order), change).into()
                }
                _ => return Err(damaged(&"is not of its aggregate")),
            };
            let state = State {
                of,
                version: stored.version,
                position: PendingPosition::Known(stored.position),
            };
            states.insert(stored.aggregate, state);
        }
        let replies = loaded.requests.into_iter().map(|request| {
            let StoredRequest {
                id,
                fingerprint,
                aggregate_id,
                version,
                position,
            } = request;
            let outcome = Outcome {
                id: aggregate_id,
                version,
                position: PendingPosition::Known(position),
            };
            (id, (fingerprint, outcome))
        });
        Ok(Self {
            now,
            states,
            replies: replies.collect(),
            batch: Batch::default(),
        })
    }

    /// Decides one command, and adds its event and its request id to the batch. A command with a
    /// known request id adds nothing: it gets the earlier reply.
    ///
    /// # Errors
    /// [`Rejection::Reused`] when the request id belongs to a command with other content, or
    /// [`Rejection::Refused`] with one of these:
    /// - [`Error::NotFound`] when the order does not exist.
    /// - [`Error::OrderAlreadyExists`] when the order to create exists.
    /// - [`Error::VersionMismatch`] when the aggregate is at another version than expected.
    /// - [`Error::Forbidden`] when the order's status forbids the command.
    pub fn decide(&mut self, command: Command) -> Result<Outcome, Rejection> {
        match self.replies.get(&command.request_id) {
            Some((fingerprint, outcome)) if *fingerprint != command.fingerprint => {
                Err(Rejection::Reused(outcome.clone()))
            }
            Some((_, outcome)) => Ok(outcome.clone()),
            None => self.decide_new(command).map_err(Rejection::Refused),
        }
    }

    /// Decides a command whose request id is unknown.
    fn decide_new(&mut self, command: Command) -> Result<Outcome, Error> {
        let Command {
            aggregate,
            fresh,
            action,
            request_id,
            fingerprint,
            occurred_at,
            origin,
        } = command;
        let state = self.states.remove(&aggregate);
        let (event, mut state) = match decide(&aggregate, state, action) {
            Ok(decided) => decided,
            Err((state, error)) => {
                if let Some(state) = state {
                    self.states.insert(aggregate, state);
                }
                return Err(error);
            }
        };
        if let Some((payload, customer_id)) = event {
            state.version = state.version.next();
            state.position = PendingPosition::InBatch(self.batch.events.len());
            let event_type = record::event_type(&payload);
            let record = RecordedEvent {
                // The log adds the position when it knows it.
                position: 0,
                event_id: Uuid::now_v7().to_string(),
                aggregate_type: aggregate.kind,
                aggregate_id: aggregate.id.clone(),
                version: state.version.get(),
                customer_id,
                occurred_at: Some(convert::timestamp(occurred_at.unwrap_or(self.now))),
                recorded_at: Some(convert::timestamp(self.now)),
                request_id: request_id.clone(),
                correlation_id: origin.correlation_id,
                traceparent: origin.traceparent,
                actor: origin.actor,
                payload: Some(payload),
            };
            self.batch.events.push(NewEvent {
                aggregate: aggregate.clone(),
                version: state.version,
                event_type: event_type.into(),
                schema_version: record::SCHEMA.current,
                record: record.encode_to_vec(),
            });
        }
        let outcome = Outcome {
            id: aggregate.id.clone(),
            version: state.version,
            position: state.position,
        };
        if !request_id.is_empty() {
            self.record_reply(request_id, fingerprint, &outcome);
        }
        // No other command of the batch can have a fresh id: clients learn it from the reply.
        if !fresh {
            self.states.insert(aggregate, state);
        }
        Ok(outcome)
    }

    /// Adds a request id and the reply to its command to the batch.
    fn record_reply(&mut self, request_id: String, fingerprint: Vec<u8>, outcome: &Outcome) {
        self.batch.requests.push(NewRequest {
            id: request_id.clone(),
            fingerprint: fingerprint.clone(),
            aggregate_id: outcome.id.clone(),
            version: outcome.version,
            position: outcome.position,
        });
        self.replies
            .insert(request_id, (fingerprint, outcome.clone()));
    }

    /// Returns the batch to append.
    #[must_use]
    pub fn finish(self) -> Batch {
        self.batch
    }
}

/// The event with its customer's id, unless the command changes nothing, and the state of the
/// aggregate after the event. The caller sets the version and position of the event in the state.
type Decided = (Option<(Payload, String)>, State);

/// Decides an action on the state of its aggregate. A refusal returns the state unchanged.
fn decide(
    aggregate: &Aggregate,
    state: Option<State>,
    action: Action,
) -> Result<Decided, (Option<State>, Error)> {
    match action {
        Action::Order {
            command,
            expected_version,
        } => decide_order(aggregate, state, expected_version, command),
        Action::Register {
            name,
            expected_version,
        } => decide_name(aggregate, state, expected_version, name),
    }
}

fn decide_order(
    aggregate: &Aggregate,
    state: Option<State>,
    expected_version: Option<u64>,
    command: order::Command,
) -> Result<Decided, (Option<State>, Error)> {
    let known = match &state {
        Some(State {
            of: Kind::Order(order),
            ..
        }) => Some(order),
        _ => None,
    };
    let event = match order::decide(known, expected_version, command) {
        Ok(event) => event,
        Err(refusal) => return Err((state, refused(refusal, &aggregate.id))),
    };
    let mut state = state.unwrap_or_default();
    let order = match state.of {
        Kind::Order(order) => Some(order),
        _ => None,
    };
    let order = order::evolve(order, event.change());
    let customer_id = order
        .as_ref()
        .map_or_else(String::new, |order| order.customer_id.clone());
    state.of = order.into();
    Ok((Some((record::of_order(event), customer_id)), state))
}

fn decide_name(
    aggregate: &Aggregate,
    state: Option<State>,
    expected_version: Option<u64>,
    name: String,
) -> Result<Decided, (Option<State>, Error)> {
    let known = match &state {
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
    let event = match name::decide(known, expected_version, name.clone()) {
        Ok(event) => event,
        Err(OtherVersion { expected, actual }) => {
            return Err((state, Error::VersionMismatch { expected, actual }));
        }
    };
    let Some(event) = event else {
        return Ok((None, state.unwrap_or_default()));
    };
    let kind = AggregateType::try_from(aggregate.kind).unwrap_or_default();
    let customer_id = match kind {
        AggregateType::Customer => aggregate.id.clone(),
        _ => String::new(),
    };
    let mut state = state.unwrap_or_default();
    state.of = Kind::Name(name);
    Ok((Some((record::of_name(kind, event), customer_id)), state))
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

#[cfg(test)]
mod tests;
