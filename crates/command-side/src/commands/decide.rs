//! Decides a batch of commands in memory. Each command sees the state after the ones before it.

use std::collections::{HashMap, HashSet};

use contract::orders::v1::{AggregateType, RecordedEvent, recorded_event::Payload};
use domain::{
    name,
    order::{self, Order, Refusal},
};
use event_log::{Aggregate, Answered, Batch, Event, Loaded, Position, Request};
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
    pub version: u64,
    /// The position of the event with this version.
    pub position: Position,
}

/// Returns the aggregates and request ids that the commands need loaded, each once. An aggregate
/// with a fresh id needs no load, because it has no events.
///
/// A `hopeful` load also leaves out the items that most likely do not exist:
/// - the orders that commands create;
/// - the request ids, if there is no aggregate to load.
///
/// If one exists, the log rejects the batch with [`event_log::Error::Conflict`], and the writer
/// decides the batch with everything loaded.
pub(crate) fn needs<'a>(
    commands: impl Iterator<Item = &'a Command> + Clone,
    hopeful: bool,
) -> (Vec<&'a Aggregate>, Vec<&'a str>) {
    let known = commands
        .clone()
        .filter(|command| !(command.fresh || hopeful && command.creates()));
    let aggregates: HashSet<_> = known.map(|command| &command.aggregate).collect();
    if hopeful && aggregates.is_empty() {
        return (Vec::new(), Vec::new());
    }
    let ids = commands.map(|command| command.request_id.as_str());
    let ids: HashSet<_> = ids.filter(|id| !id.is_empty()).collect();
    (aggregates.into_iter().collect(), ids.into_iter().collect())
}

/// The newest state of an aggregate, and the position of its last event.
#[derive(Debug)]
struct State {
    of: Kind,
    version: u64,
    position: Position,
}

#[derive(Debug)]
enum Kind {
    Order(Option<Order>),
    Name(Option<String>),
}

/// Decides the commands of one batch, and collects their events and replies.
#[derive(Debug)]
pub struct Decider {
    now: i64,
    states: HashMap<Aggregate, State>,
    answered: HashMap<String, (Vec<u8>, Outcome)>,
    batch: Batch,
}

impl Decider {
    /// Builds the states of the loaded aggregates. `now` is in nanoseconds since 1970.
    ///
    /// # Errors
    /// [`event_log::Error::Damaged`] when a loaded event cannot be decoded, breaks the domain's
    /// rules, or does not belong to its aggregate.
    pub fn new(loaded: Loaded, now: i64) -> Result<Self, event_log::Error> {
        let mut states: HashMap<Aggregate, State> = HashMap::new();
        for stored in loaded.events {
            let damaged = |what: &dyn std::fmt::Display| {
                event_log::Error::Damaged(format!("event {}: {what}", stored.position))
            };
            let event = RecordedEvent::decode(stored.record).map_err(|error| damaged(&error))?;
            let known = record::known(event).ok_or_else(|| damaged(&"breaks the rules"))?;
            let state = states.remove(&stored.aggregate).map(|state| state.of);
            let of = match (known, state) {
                (Known::Name(name), None | Some(Kind::Name(_))) => Kind::Name(Some(name)),
                (Known::Order(event), None) => Kind::Order(order::evolve(None, &event)),
                (Known::Order(event), Some(Kind::Order(order))) => {
                    Kind::Order(order::evolve(order, &event))
                }
                _ => return Err(damaged(&"is not of its aggregate")),
            };
            let position = Position::Of(stored.position);
            states.insert(
                stored.aggregate,
                State {
                    of,
                    version: stored.version,
                    position,
                },
            );
        }
        let answered = loaded.requests.into_iter().map(|answered| {
            let Answered {
                request_id,
                fingerprint,
                aggregate_id,
                version,
                position,
            } = answered;
            let position = Position::Of(position);
            (
                request_id,
                (
                    fingerprint,
                    Outcome {
                        id: aggregate_id,
                        version,
                        position,
                    },
                ),
            )
        });
        Ok(Self {
            now,
            states,
            answered: answered.collect(),
            batch: Batch::default(),
        })
    }

    /// Decides one command, and adds its event and its request id to the batch. A command with a
    /// known request id adds nothing: it gets the earlier reply.
    ///
    /// # Errors
    /// - [`Error::RequestIdReused`] when the request id belongs to a command with other content.
    /// - [`Error::NotFound`] when the order does not exist.
    /// - [`Error::OrderAlreadyExists`] when the order to create exists.
    /// - [`Error::VersionMismatch`] when the order is at another version than expected.
    /// - [`Error::Forbidden`] when the order's status forbids the command.
    pub fn decide(&mut self, command: Command) -> Result<Outcome, Error> {
        if let Some((fingerprint, outcome)) = self.answered.get(&command.request_id) {
            return if *fingerprint == command.fingerprint {
                Ok(outcome.clone())
            } else {
                Err(Error::RequestIdReused)
            };
        }
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
        let (payload, customer_id, state) = match decide(&aggregate, state, action) {
            Ok(decided) => decided,
            Err((state, error)) => {
                if let Some(state) = state {
                    self.states.insert(aggregate, state);
                }
                return Err(error);
            }
        };
        let (version, position) = match &payload {
            None => (state.version, state.position),
            Some(_) => (
                state.version + 1,
                Position::InBatch(self.batch.events.len()),
            ),
        };
        if let Some(payload) = payload {
            let event_type = record::event_type(&payload);
            let record = RecordedEvent {
                // The log adds the position when it knows it.
                position: 0,
                event_id: Uuid::now_v7().to_string(),
                aggregate_type: aggregate.kind,
                aggregate_id: aggregate.id.clone(),
                version,
                customer_id,
                occurred_at: Some(convert::timestamp(occurred_at.unwrap_or(self.now))),
                recorded_at: Some(convert::timestamp(self.now)),
                request_id: request_id.clone(),
                correlation_id: origin.correlation_id,
                traceparent: origin.traceparent,
                payload: Some(payload),
            };
            let record = record.encode_to_vec();
            self.batch.events.push(Event {
                aggregate: aggregate.clone(),
                version,
                event_type: event_type.into(),
                schema_version: record::SCHEMA.current,
                record,
            });
        }
        let outcome = Outcome {
            id: aggregate.id.clone(),
            version,
            position,
        };
        if !request_id.is_empty() {
            self.batch.requests.push(Request {
                id: request_id.clone(),
                fingerprint: fingerprint.clone(),
                aggregate_id: outcome.id.clone(),
                version,
                position,
            });
            self.answered
                .insert(request_id, (fingerprint, outcome.clone()));
        }
        // No other command of the batch can have a fresh id: clients learn it from the reply.
        if !fresh {
            self.states.insert(
                aggregate,
                State {
                    version,
                    position,
                    ..state
                },
            );
        }
        Ok(outcome)
    }

    /// Returns the batch to append.
    #[must_use]
    pub fn finish(self) -> Batch {
        self.batch
    }
}

/// The event, its customer's id, and the state of the aggregate after the event. The state still
/// has the version and position from before the event.
type Decided = (Option<Payload>, String, State);

/// Decides an action on the state of its aggregate. A refusal returns the state unchanged.
fn decide(
    aggregate: &Aggregate,
    state: Option<State>,
    action: Action,
) -> Result<Decided, (Option<State>, Error)> {
    let (version, position) = state.as_ref().map_or((0, Position::Of(0)), |state| {
        (state.version, state.position)
    });
    match action {
        Action::Order {
            command,
            expected_version,
        } => {
            let known = match &state {
                Some(State {
                    of: Kind::Order(order),
                    ..
                }) => order.as_ref(),
                _ => None,
            };
            let event = match order::decide(known, expected_version, command) {
                Ok(event) => event,
                Err(refusal) => return Err((state, refused(refusal, &aggregate.id))),
            };
            let order = match state {
                Some(State {
                    of: Kind::Order(order),
                    ..
                }) => order,
                _ => None,
            };
            let order = order::evolve(order, &event);
            let customer_id = order
                .as_ref()
                .map_or_else(String::new, |order| order.customer_id.clone());
            let state = State {
                of: Kind::Order(order),
                version,
                position,
            };
            Ok((Some(record::of_order(event)), customer_id, state))
        }
        Action::Register { name } => {
            let known = match &state {
                Some(State {
                    of: Kind::Name(known),
                    ..
                }) => known.as_deref(),
                _ => None,
            };
            let event = name::decide(known, name.clone());
            let kind = AggregateType::try_from(aggregate.kind).unwrap_or_default();
            let customer_id = match kind {
                AggregateType::Customer => aggregate.id.clone(),
                _ => String::new(),
            };
            let payload = event.map(|event| record::of_name(kind, event));
            Ok((
                payload,
                customer_id,
                State {
                    of: Kind::Name(Some(name)),
                    version,
                    position,
                },
            ))
        }
    }
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
