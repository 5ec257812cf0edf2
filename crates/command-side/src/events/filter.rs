//! Checks a subscriber's filter, matches events against it, and derives the interests of the
//! subscriber.

use std::{borrow::Cow, collections::HashSet, hash::Hash};

use contract::orders::v1::{AggregateType, EventFilter};
use wire::Violations;

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
pub(crate) enum Interest<'a> {
    /// Events of one type, by the number of the payload's field, and of one aggregate type. `None`
    /// stands for any.
    Type {
        payload: Option<u32>,
        aggregate_type: Option<i32>,
    },
    /// Events of the aggregates with this id, of any type.
    Aggregate(Cow<'a, str>),
    /// Events of one customer.
    Customer(Cow<'a, str>),
}

impl<'a> Interest<'a> {
    /// Every event.
    pub(crate) const ALL: Self = Self::Type {
        payload: None,
        aggregate_type: None,
    };

    /// Returns every interest that an event has.
    pub(crate) fn of(header: &Header<'a>) -> [Self; 6] {
        let (payload, aggregate_type) = (Some(header.payload), Some(header.aggregate_type));
        let of_type = |payload, aggregate_type| Self::Type {
            payload,
            aggregate_type,
        };
        [
            Self::ALL,
            of_type(payload, None),
            of_type(None, aggregate_type),
            of_type(payload, aggregate_type),
            Self::Aggregate(header.aggregate_id.into()),
            Self::Customer(header.customer_id.into()),
        ]
    }
}

impl Filter {
    /// Checks the filter of a request, and reports each field that breaks a rule. The filter is of
    /// use only without a violation.
    #[must_use]
    pub fn new(filter: EventFilter, violations: &mut Violations) -> Self {
        let EventFilter {
            aggregate_types,
            aggregate_ids,
            event_types,
            customer_ids,
        } = filter;
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
        Self {
            aggregate_types,
            aggregate_ids,
            payloads,
            customer_ids,
        }
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

    /// Returns the interests of the most selective lists that have entries, each once: the ids of
    /// aggregates, else those of customers, else both lists of types. An event with none of them
    /// does not match the filter.
    pub(crate) fn interests(&self) -> HashSet<Interest<'static>> {
        type Id = fn(Cow<'static, str>) -> Interest<'static>;
        let each = |ids: &[String], interest: Id| {
            ids.iter().map(|id| interest(id.clone().into())).collect()
        };
        if !self.aggregate_ids.is_empty() {
            return each(&self.aggregate_ids, Interest::Aggregate);
        }
        if !self.customer_ids.is_empty() {
            return each(&self.customer_ids, Interest::Customer);
        }
        fn any_or_each<T: Copy + Eq + Hash>(list: &[T]) -> HashSet<Option<T>> {
            match list {
                [] => HashSet::from([None]),
                list => list.iter().copied().map(Some).collect(),
            }
        }
        let aggregate_types = any_or_each(&self.aggregate_types);
        let pairs = any_or_each(&self.payloads).into_iter().flat_map(|payload| {
            aggregate_types
                .iter()
                .map(move |aggregate_type| Interest::Type {
                    payload,
                    aggregate_type: *aggregate_type,
                })
        });
        pairs.collect()
    }
}
