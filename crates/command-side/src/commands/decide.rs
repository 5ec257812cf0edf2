//! Decides a batch of commands in memory. Each command sees the state after the ones before it.
//! [`aggregate`] decides one command on the state of its aggregate.

mod aggregate;

use std::collections::{HashMap, HashSet};

use aggregate::{Event, State, Times};
use contract::orders::v1::RecordedEvent;
use event_log::{
    Aggregate, Batch, Loaded, Needed, NewEvent, NewRequest, PendingPosition, Position,
    StoredRequest, Version,
};
use prost::Message as _;
use uuid::Uuid;
use wire::{Error, convert};

use crate::{
    codec::record,
    commands::{Action, Command, Origin},
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
    /// An event of the aggregate cannot be read, for this reason.
    Unreadable(String),
}

impl Rejection {
    /// Returns the client's error for `command`. `first` is the position of the batch's first event.
    pub(crate) fn error(self, command: &Command, first: Position) -> Error {
        match self {
            Self::Refused(error) => error,
            Self::Unreadable(why) => command.log_span().in_scope(|| Error::internal(why)),
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
/// with a fresh id needs no load, because it has no events. An order has three events at most. A
/// customer or product may have any number, but its newest event alone has its name.
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
) -> (Vec<Needed<'a>>, Vec<&'a str>) {
    let known = commands
        .clone()
        .filter(|command| !(command.fresh || optimistic && command.creates()));
    let needed: HashSet<_> = known
        .map(|command| Needed {
            aggregate: &command.aggregate,
            newest_only: matches!(command.action, Action::Register { .. }),
        })
        .collect();
    if optimistic && needed.is_empty() {
        return (Vec::new(), Vec::new());
    }
    let ids = commands.map(|command| command.request_id.as_str());
    let ids: HashSet<_> = ids.filter(|id| !id.is_empty()).collect();
    (needed.into_iter().collect(), ids.into_iter().collect())
}

/// Decides the commands of one batch, and collects their events and replies.
#[derive(Debug)]
pub struct Decider {
    now: i64,
    states: HashMap<Aggregate, State>,
    /// The aggregates with an event that cannot be read, and the reason.
    unreadable: HashMap<Aggregate, String>,
    /// The fingerprint of the command and its reply, by request id.
    replies: HashMap<String, (Vec<u8>, Outcome)>,
    batch: Batch,
}

impl Decider {
    /// Builds the states of the loaded aggregates. `now` is in nanoseconds since 1970.
    #[must_use]
    pub fn new(loaded: Loaded, now: i64) -> Self {
        let mut states: HashMap<Aggregate, State> = HashMap::new();
        let mut unreadable = HashMap::new();
        for stored in loaded.events {
            let aggregate = stored.aggregate.clone();
            let position = stored.position;
            match State::after(states.remove(&aggregate), stored) {
                Ok(state) => {
                    states.insert(aggregate, state);
                }
                Err(why) => {
                    unreadable.insert(aggregate, format!("event {position}: {why}"));
                }
            }
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
        Self {
            now,
            states,
            unreadable,
            replies: replies.collect(),
            batch: Batch::default(),
        }
    }

    /// Decides one command, and adds its event and its request id to the batch. A command with a
    /// known request id adds nothing: it gets the earlier reply.
    ///
    /// # Errors
    /// [`Rejection::Reused`] when the request id belongs to a command with other content,
    /// [`Rejection::Unreadable`] when the aggregate has an event that cannot be read, or
    /// [`Rejection::Refused`] with one of these:
    /// - [`Error::NotFound`] when the order does not exist.
    /// - [`Error::OrderAlreadyExists`] when the order to create exists.
    /// - [`Error::VersionMismatch`] when the aggregate is at another version than expected.
    /// - [`Error::Forbidden`] when the order's status forbids the command.
    /// - [`Error::InvalidFields`] when the order's newest event is later than `occurred_at`.
    pub fn decide(&mut self, command: Command) -> Result<Outcome, Rejection> {
        match self.replies.get(&command.request_id) {
            Some((fingerprint, outcome)) if *fingerprint != command.fingerprint => {
                Err(Rejection::Reused(outcome.clone()))
            }
            Some((_, outcome)) => Ok(outcome.clone()),
            None => match self.unreadable.get(&command.aggregate) {
                Some(why) => Err(Rejection::Unreadable(why.clone())),
                None => self.decide_new(command).map_err(Rejection::Refused),
            },
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
        let times = Times {
            given: occurred_at,
            now: self.now,
        };
        let before = self.states.get(&aggregate);
        let (version, position) =
            before.map_or_else(Default::default, |state| (state.version, state.position));
        let mut outcome = Outcome {
            id: aggregate.id.clone(),
            version,
            position,
        };
        if let Some(decided) = aggregate::decide(&aggregate, before, action, times)? {
            let occurred_at = decided.event.occurred_at;
            outcome.version = version.next();
            outcome.position = PendingPosition::InBatch(self.batch.events.len());
            let recorded = self.record(&aggregate, &outcome, &request_id, origin, decided.event);
            self.batch.events.push(recorded);
            let state = State {
                of: decided.state,
                version: outcome.version,
                position: outcome.position,
                occurred_at: Some(occurred_at),
            };
            // No other command of the batch can have a fresh id: clients learn it from the reply.
            if !fresh {
                self.states.insert(aggregate, state);
            }
        }
        if !request_id.is_empty() {
            self.record_reply(request_id, fingerprint, &outcome);
        }
        Ok(outcome)
    }

    /// Makes the record of an event.
    fn record(
        &self,
        aggregate: &Aggregate,
        outcome: &Outcome,
        request_id: &str,
        origin: Origin,
        event: Event,
    ) -> NewEvent {
        let event_type = record::event_type(&event.payload);
        let record = RecordedEvent {
            // The log adds the position when it knows it.
            position: 0,
            event_id: Uuid::now_v7().to_string(),
            aggregate_type: aggregate.kind,
            aggregate_id: aggregate.id.clone(),
            version: outcome.version.get(),
            customer_id: event.customer_id,
            occurred_at: Some(convert::timestamp(event.occurred_at)),
            recorded_at: Some(convert::timestamp(self.now)),
            request_id: request_id.to_owned(),
            correlation_id: origin.correlation_id,
            traceparent: origin.traceparent,
            actor: origin.actor,
            payload: Some(event.payload),
        };
        NewEvent {
            aggregate: aggregate.clone(),
            version: outcome.version,
            event_type: event_type.into(),
            schema_version: record::SCHEMA.current,
            record: record.encode_to_vec(),
        }
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

#[cfg(test)]
mod tests;
