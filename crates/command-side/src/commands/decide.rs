//! Deciding a batch of commands in memory, each against what the ones before it lead to.

use std::collections::{HashMap, HashSet};

use contract::orders::v1::{AggregateType, RecordedEvent, recorded_event::Payload};
use domain::{
    name,
    order::{self, Order, Refusal},
};
use event_log::{Aggregate, Answered, Batch, Event, Loaded, Position, Request};
use prost::Message as _;
use uuid::Uuid;
use wire::{Error, Forbidden, Resource, convert};

use crate::{
    codec::record::{self, Known},
    commands::{Action, Command},
};

/// What a command comes to, once the batch is committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The aggregate's id.
    pub id: String,
    /// Its version.
    pub version: u64,
    /// Where the event is that gave it this version.
    pub position: Position,
}

/// What commands need loaded: nothing twice, and nothing that cannot be there.
///
/// `hopeful`: nothing either that is most likely not there, which is an order with the id of a new
/// one, and, unless something has to be loaded anyway, the request ids. If it is there after all,
/// the log refuses the batch, and it is decided again.
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

/// The newest state of an aggregate, with where its last event lies.
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

/// Commands being decided, and all that follows from those decided so far.
#[derive(Debug)]
pub struct Decider {
    now: i64,
    states: HashMap<Aggregate, State>,
    answered: HashMap<String, (Vec<u8>, Outcome)>,
    batch: Batch,
}

impl Decider {
    /// Starts with what is loaded, at `now` (nanoseconds since 1970).
    ///
    /// # Errors
    /// [`event_log::Error::Damaged`] when that was not written by these rules.
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

    /// Decides one command; what follows from it is in the batch, unless it is refused.
    ///
    /// # Errors
    /// Why it is refused.
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
                // Written in front when it is known.
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
        // Nobody can speak of an id before it was answered.
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

    /// What is to be committed.
    #[must_use]
    pub fn finish(self) -> Batch {
        self.batch
    }
}

/// The event, the customer it concerns, and what the aggregate is after it, still at its old
/// version and position.
type Decided = (Option<Payload>, String, State);

/// A refusal leaves the state as it was.
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
        Refusal::NotShippable(status) => forbidden(Forbidden::Ship, status),
        Refusal::NotDeliverable(status) => forbidden(Forbidden::Deliver, status),
        Refusal::NotCancellable(status) => forbidden(Forbidden::Cancel, status),
    }
}

#[cfg(test)]
mod tests;
