//! Computes in memory everything that a batch of events changes.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use contract::orders::v1::{AggregateType, RecordedEvent};

use super::statistics::Deltas;
use crate::{
    AggregateId, Row,
    projection::{self, evolve},
    search::Document,
};

/// The new state of everything that a batch changes.
#[derive(Debug, Default)]
pub(super) struct Batch<'a> {
    /// Documents without names, by order id.
    pub(super) orders: HashMap<String, Document>,
    pub(super) customer_names: BTreeMap<&'a str, Name<'a>>,
    pub(super) product_names: BTreeMap<&'a str, Name<'a>>,
    pub(super) statistics: Deltas,
    /// Parked aggregates, with the changes of this batch.
    pub(super) parked: BTreeMap<AggregateId, ParkedChange>,
    /// Parked customers and products that this batch gives a name.
    pub(super) unparked: BTreeSet<AggregateId>,
}

/// The changes of a batch to a parked aggregate.
#[derive(Debug, Default)]
pub(super) struct ParkedChange {
    /// The reason, if this batch parked the aggregate.
    pub(super) error: Option<projection::Error>,
    /// The number of the batch's events that could not be projected.
    pub(super) events: u64,
}

/// A name, and the position of the event that gave it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Name<'a> {
    pub(super) text: &'a str,
    pub(super) position: u64,
    /// The name before it, if the same batch gave that.
    pub(super) previous: Option<(&'a str, u64)>,
}

/// Returns the ids of the orders among the events' aggregates.
pub(super) fn order_ids<'a>(events: &[&'a RecordedEvent]) -> BTreeSet<&'a str> {
    events
        .iter()
        .filter(|event| event.aggregate_type() == AggregateType::Order)
        .map(|event| event.aggregate_id.as_str())
        .collect()
}

impl<'a> Batch<'a> {
    /// Applies events to the stored documents of [`order_ids`].
    ///
    /// Skips the events of a parked order. An event that does not fit parks its order, and the
    /// document keeps the state before that event. An event that gives no name parks its customer or
    /// product, until a later event gives one.
    pub(super) fn new(
        stored: Vec<Document>,
        parked: impl IntoIterator<Item = AggregateId>,
        events: &[&'a RecordedEvent],
    ) -> Self {
        let mut batch = Self::default();
        batch
            .parked
            .extend(parked.into_iter().map(|id| (id, ParkedChange::default())));
        for document in stored {
            batch.statistics.remove(&document.order);
            let id = document.order.order_id.clone();
            batch.orders.insert(id, document);
        }
        for event in events {
            batch.apply(event);
        }
        for document in batch.orders.values() {
            batch.statistics.add(&document.order);
        }
        batch
    }

    fn apply(&mut self, event: &'a RecordedEvent) {
        match event.aggregate_type() {
            AggregateType::Order => self.order(event),
            AggregateType::Customer | AggregateType::Product => self.name(event),
            // A newer contract may add aggregates that this version does not show.
            AggregateType::Unspecified => {}
        }
    }

    /// A name replaces all earlier ones, so that no event waits behind one that cannot be projected.
    fn name(&mut self, event: &'a RecordedEvent) {
        let aggregate = AggregateId::of(event);
        match projection::name(event) {
            Ok(Some(text)) => {
                let names = match aggregate.kind {
                    AggregateType::Customer => &mut self.customer_names,
                    _ => &mut self.product_names,
                };
                let previous = names.get(event.aggregate_id.as_str());
                let name = Name {
                    text,
                    position: event.position,
                    previous: previous.map(|name| (name.text, name.position)),
                };
                names.insert(&event.aggregate_id, name);
                if self.parked.remove(&aggregate).is_some() {
                    self.unparked.insert(aggregate);
                }
            }
            // A newer contract may add event types that this version does not show.
            Ok(None) => {}
            Err(error) => {
                self.unparked.remove(&aggregate);
                let error = Some(error);
                self.parked
                    .insert(aggregate, ParkedChange { error, events: 1 });
            }
        }
    }

    fn order(&mut self, event: &RecordedEvent) {
        let aggregate = AggregateId::of(event);
        let id = &event.aggregate_id;
        if let Some(change) = self.parked.get_mut(&aggregate) {
            change.events += 1;
            return;
        }
        let (row, mut order) = match self.orders.remove(id) {
            Some(Document { row, order }) => (row, Some(order)),
            None => (Row(event.position), None),
        };
        if let Err(error) = evolve(&mut order, event) {
            let error = Some(error);
            self.parked
                .insert(aggregate, ParkedChange { error, events: 1 });
        }
        if let Some(order) = order {
            self.orders.insert(id.clone(), Document { row, order });
        }
    }
}
