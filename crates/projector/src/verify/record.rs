//! The records that a verification compares: events of the log, and rows of `read.db`.

use contract::orders::v1::{AggregateType, RecordedEvent};
use read_model::{AggregateId, store::StoredRow};

/// A record, with the aggregate that it is of.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Record {
    #[prost(enumeration = "AggregateType", tag = "1")]
    kind: i32,
    #[prost(string, tag = "2")]
    id: String,
    #[prost(oneof = "Content", tags = "3, 4, 5, 6")]
    pub(super) content: Option<Content>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(super) enum Content {
    #[prost(message, boxed, tag = "3")]
    Event(Box<RecordedEvent>),
    #[prost(message, tag = "4")]
    Document(Document),
    #[prost(message, tag = "5")]
    Name(Name),
    /// The error that parked the aggregate.
    #[prost(string, tag = "6")]
    Parked(String),
}

/// A row of the documents.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Document {
    #[prost(uint64, tag = "1")]
    pub(super) row: u64,
    /// The position beside the document.
    #[prost(uint64, tag = "2")]
    pub(super) position: u64,
    #[prost(bytes = "vec", tag = "3")]
    pub(super) body: Vec<u8>,
}

/// The name of a customer or product.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Name {
    #[prost(string, tag = "1")]
    pub(super) text: String,
    #[prost(uint64, tag = "2")]
    pub(super) position: u64,
}

impl Record {
    pub(super) fn aggregate(&self) -> (i32, &str) {
        (self.kind, &self.id)
    }

    pub(super) fn into_aggregate(self) -> (AggregateId, Option<Content>) {
        let kind = self.kind();
        (AggregateId { kind, id: self.id }, self.content)
    }

    fn new(aggregate: AggregateId, content: Content) -> Self {
        Self {
            kind: aggregate.kind.into(),
            id: aggregate.id,
            content: Some(content),
        }
    }
}

impl From<RecordedEvent> for Record {
    fn from(event: RecordedEvent) -> Self {
        Self {
            kind: event.aggregate_type,
            id: event.aggregate_id.clone(),
            content: Some(Content::Event(Box::new(event))),
        }
    }
}

impl From<StoredRow> for Record {
    fn from(row: StoredRow) -> Self {
        match row {
            StoredRow::Order {
                order_id,
                row,
                position,
                body,
            } => {
                let document = Document {
                    row: row.0,
                    position,
                    body,
                };
                Self::new(AggregateId::order(order_id), Content::Document(document))
            }
            StoredRow::Name {
                aggregate,
                text,
                position,
            } => Self::new(aggregate, Content::Name(Name { text, position })),
            StoredRow::Parked { aggregate, error } => Self::new(aggregate, Content::Parked(error)),
        }
    }
}
