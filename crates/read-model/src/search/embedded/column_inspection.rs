//! The columns that filter, sort and count, compared with orders.

use std::collections::BTreeSet;

use contract::orders::v1::Order;
use tantivy::columnar::StrColumn;
use tantivy::{DocId, SegmentReader};
use wire::convert;

use super::analyzer::{code, id_words};
use super::schema::{self, ORDER_ID, TRACKING_NUMBER};
use crate::columns::{self, Values, ordered};
use crate::postings;
use crate::request::SortField;

const NUMBERS: [SortField; 3] = [
    SortField::CreatedAt,
    SortField::UpdatedAt,
    SortField::TotalAmount,
];

/// Returns the texts that a column has of an order.
type Texts = fn(&Order) -> Vec<String>;

/// The columns of texts, each with the name of its field in the contract.
const TEXTS: [(&str, &str, Texts); 7] = [
    ("status", "status", |order| {
        vec![order.status().as_str_name().to_owned()]
    }),
    ("customer_id", "customer_id", |order| {
        vec![order.customer_id.clone()]
    }),
    ("product_id", "product_id", |order| {
        let items = order.items.iter();
        let ids: BTreeSet<_> = items.map(|item| item.product_id.clone()).collect();
        ids.into_iter().collect()
    }),
    ("order_id", ORDER_ID[0], |order| id_words(&order.order_id)),
    ("order_id", ORDER_ID[1], |order| vec![code(&order.order_id)]),
    ("tracking_number", TRACKING_NUMBER[0], |order| {
        id_words(&order.tracking_number)
    }),
    ("tracking_number", TRACKING_NUMBER[1], |order| {
        vec![code(&order.tracking_number)]
    }),
];

/// The columns of a segment.
pub(super) struct Columns {
    numbers: Vec<(SortField, Values)>,
    texts: Vec<(&'static str, Texts, Option<TextColumn>)>,
}

/// A column of texts, with the hash of each text in it: 8 bytes for each.
struct TextColumn {
    column: StrColumn,
    hashes: Vec<u64>,
}

impl Columns {
    pub(super) fn of(segment: &SegmentReader) -> tantivy::Result<Self> {
        let texts = segment.fast_fields();
        let numbers = NUMBERS.map(|field| {
            let column = columns::values(segment, schema::column(field))?;
            Ok((field, column))
        });
        let named = TEXTS.map(|(field, column, of_order)| {
            let column = texts.str(column)?;
            Ok((field, of_order, column.map(TextColumn::of).transpose()?))
        });
        Ok(Self {
            numbers: numbers.into_iter().collect::<tantivy::Result<_>>()?,
            texts: named.into_iter().collect::<tantivy::Result<_>>()?,
        })
    }

    /// Returns the first field of which a document has another value than the order.
    pub(super) fn wrong(&self, id: DocId, order: &Order) -> Option<&'static str> {
        let numbers = self.numbers.iter().find(|(field, column)| {
            let should = match field {
                SortField::CreatedAt => order.created_at.as_ref().and_then(convert::nanoseconds),
                SortField::UpdatedAt => order.updated_at.as_ref().and_then(convert::nanoseconds),
                SortField::TotalAmount => order.total_amount.as_ref().and_then(convert::amount),
            };
            column.get_val(id) != ordered(should.unwrap_or(0))
        });
        if let Some((field, _)) = numbers {
            return Some(schema::column(*field));
        }
        let texts = self.texts.iter().find(|(_, of_order, column)| {
            let is = column
                .as_ref()
                .map_or(0, |column| column.values(id).fold(0, u64::wrapping_add));
            let should = of_order(order);
            let should = should.iter().map(|text| postings::hash(text.as_bytes()));
            is != should.fold(0, u64::wrapping_add)
        });
        texts.map(|(field, _, _)| *field)
    }
}

impl TextColumn {
    fn of(column: StrColumn) -> tantivy::Result<Self> {
        let hashes = postings::hashes(&column)?;
        Ok(Self { column, hashes })
    }

    /// Returns the hashes of the values of a document.
    fn values(&self, id: DocId) -> impl Iterator<Item = u64> {
        // Ordinals are below the number of texts, which fits in memory.
        let ordinals = self.column.term_ords(id);
        ordinals.map(|ordinal| self.hashes[ordinal as usize])
    }
}
