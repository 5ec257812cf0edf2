//! Checks a subscriber's filter, matches events against it, and derives the interests of the
//! subscriber.

use contract::orders::v1::{AggregateType, EventFilter};
use wire::{Error, Violations};

use crate::codec::header::{Header, payload_of};

/// Limits the entries in each list of a filter.
pub(super) const MAX_LIST_ENTRIES: usize = 1000;

/// A checked filter of events. An empty list matches every event.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    aggregate_types: Vec<i32>,
    aggregate_ids: Vec<String>,
    payloads: Vec<u32>,
    customer_ids: Vec<String>,
}

/// A property of events. Every event that matches a filter has at least one of the filter's
/// interests, so that the dispatch finds the subscribers to wake cheaply.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Interest {
    /// Every event.
    All,
    /// Events of one type, by the number of the payload's field.
    Payload(u32),
    /// Events of one aggregate type.
    AggregateType(i32),
    /// Events of the aggregates with this id, of any type.
    Aggregate(String),
    /// Events of one customer.
    Customer(String),
}

impl Filter {
    /// Checks the filter of a request.
    ///
    /// # Errors
    /// [`Error::InvalidFields`] with every field that breaks a rule.
    pub fn new(filter: EventFilter) -> Result<Self, Error> {
        let EventFilter {
            aggregate_types,
            aggregate_ids,
            event_types,
            customer_ids,
        } = filter;
        let mut violations = Violations::default();
        violations.entries("filter.aggregate_types", &aggregate_types, MAX_LIST_ENTRIES);
        violations.entries("filter.aggregate_ids", &aggregate_ids, MAX_LIST_ENTRIES);
        violations.entries("filter.event_types", &event_types, MAX_LIST_ENTRIES);
        violations.entries("filter.customer_ids", &customer_ids, MAX_LIST_ENTRIES);
        for (index, kind) in aggregate_types.iter().enumerate().take(MAX_LIST_ENTRIES) {
            let known =
                AggregateType::try_from(*kind).is_ok_and(|kind| kind != AggregateType::Unspecified);
            violations.check(
                known,
                format!("filter.aggregate_types[{index}]"),
                "must be a type of aggregate",
            );
        }
        for (index, id) in aggregate_ids.iter().enumerate().take(MAX_LIST_ENTRIES) {
            violations.id(format!("filter.aggregate_ids[{index}]"), id);
        }
        let mut payloads = Vec::with_capacity(event_types.len().min(MAX_LIST_ENTRIES));
        for (index, event_type) in event_types.iter().enumerate().take(MAX_LIST_ENTRIES) {
            match payload_of(event_type) {
                Some(payload) => payloads.push(payload),
                None => violations.add(
                    format!("filter.event_types[{index}]"),
                    "must be the name of an event's message, such as OrderCreated",
                ),
            }
        }
        for (index, id) in customer_ids.iter().enumerate().take(MAX_LIST_ENTRIES) {
            violations.id(format!("filter.customer_ids[{index}]"), id);
        }
        violations.finish()?;
        Ok(Self {
            aggregate_types,
            aggregate_ids,
            payloads,
            customer_ids,
        })
    }

    /// Returns whether an encoded event matches the filter.
    #[must_use]
    pub fn matches(&self, record: &[u8]) -> bool {
        if self.is_empty() {
            return true;
        }
        fn any<T: PartialEq<U>, U: ?Sized>(list: &[T], value: &U) -> bool {
            list.is_empty() || list.iter().any(|entry| entry == value)
        }
        let header = Header::of(record);
        any(&self.aggregate_types, &header.aggregate_type)
            && any(&self.payloads, &header.payload)
            && any(&self.aggregate_ids, header.aggregate_id)
            && any(&self.customer_ids, header.customer_id)
    }

    fn is_empty(&self) -> bool {
        self.aggregate_types.is_empty()
            && self.aggregate_ids.is_empty()
            && self.payloads.is_empty()
            && self.customer_ids.is_empty()
    }

    /// Returns the interests of the most selective list that has entries. An event with none of
    /// them does not match the filter.
    pub(crate) fn interests(&self) -> Vec<Interest> {
        fn each<T: Clone>(list: &[T], interest: fn(T) -> Interest) -> Vec<Interest> {
            list.iter().cloned().map(interest).collect()
        }
        if !self.aggregate_ids.is_empty() {
            each(&self.aggregate_ids, Interest::Aggregate)
        } else if !self.customer_ids.is_empty() {
            each(&self.customer_ids, Interest::Customer)
        } else if !self.payloads.is_empty() {
            each(&self.payloads, Interest::Payload)
        } else if !self.aggregate_types.is_empty() {
            each(&self.aggregate_types, Interest::AggregateType)
        } else {
            vec![Interest::All]
        }
    }
}
