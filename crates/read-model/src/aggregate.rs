//! The id of an order, customer or product.

use std::fmt;

use contract::orders::v1::{AggregateType, RecordedEvent};

/// The type and id of an aggregate.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, sqlx::FromRow)]
pub struct AggregateId {
    /// The type of the aggregate.
    #[sqlx(rename = "aggregate_type", try_from = "i32")]
    pub kind: AggregateType,
    /// The order's, customer's or product's id.
    #[sqlx(rename = "aggregate_id")]
    pub id: String,
}

impl AggregateId {
    /// Returns the aggregate of an order.
    pub fn order(id: impl Into<String>) -> Self {
        Self {
            kind: AggregateType::Order,
            id: id.into(),
        }
    }

    /// Returns the aggregate of an event.
    pub(crate) fn of(event: &RecordedEvent) -> Self {
        Self {
            kind: event.aggregate_type(),
            id: event.aggregate_id.clone(),
        }
    }
}

impl fmt::Display for AggregateId {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            AggregateType::Order => "order",
            AggregateType::Customer => "customer",
            AggregateType::Product => "product",
            AggregateType::Unspecified => "aggregate",
        };
        write!(to, "{kind} {}", self.id)
    }
}
