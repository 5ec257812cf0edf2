//! The columns that filter, sort and count, compared with orders.

use std::sync::Arc;

use contract::orders::v1::Order;
use tantivy::columnar::{ColumnValues, StrColumn};
use tantivy::{DocId, SegmentReader};
use wire::convert;

use super::schema;
use crate::postings;
use crate::request::{FacetField, SortField};

const NUMBERS: [SortField; 3] = [
    SortField::CreatedAt,
    SortField::UpdatedAt,
    SortField::TotalAmount,
];

const TEXTS: [FacetField; 3] = [
    FacetField::Status,
    FacetField::CustomerId,
    FacetField::ProductId,
];

/// The columns of a segment.
pub(super) struct Columns {
    numbers: Vec<(SortField, Arc<dyn ColumnValues<i64>>)>,
    texts: Vec<(FacetField, Option<TextColumn>)>,
}

/// A column of texts, with the hash of each text in it.
struct TextColumn {
    column: StrColumn,
    hashes: Vec<u64>,
}

impl Columns {
    pub(super) fn of(segment: &SegmentReader) -> tantivy::Result<Self> {
        let columns = segment.fast_fields();
        let numbers = NUMBERS.map(|field| {
            let column = columns.column_first_or_default(schema::column(field))?;
            Ok((field, column))
        });
        let texts = TEXTS.map(|field| {
            let column = columns.str(field.name())?;
            Ok((field, column.map(TextColumn::of).transpose()?))
        });
        Ok(Self {
            numbers: numbers.into_iter().collect::<tantivy::Result<_>>()?,
            texts: texts.into_iter().collect::<tantivy::Result<_>>()?,
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
            column.get_val(id) != should.unwrap_or(0)
        });
        if let Some((field, _)) = numbers {
            return Some(schema::column(*field));
        }
        let texts = self.texts.iter().find(|(field, column)| {
            let mut should = match field {
                FacetField::Status => vec![order.status().as_str_name()],
                FacetField::CustomerId => vec![order.customer_id.as_str()],
                FacetField::ProductId => {
                    let items = order.items.iter();
                    items.map(|item| item.product_id.as_str()).collect()
                }
            };
            should.sort_unstable();
            should.dedup();
            let should = should
                .into_iter()
                .map(|text| postings::hash(text.as_bytes()));
            let sum = |hashes: &mut dyn Iterator<Item = u64>| hashes.fold(0, u64::wrapping_add);
            let is = column
                .as_ref()
                .map_or(0, |column| sum(&mut column.values(id)));
            is != sum(&mut should.into_iter())
        });
        texts.map(|(field, _)| field.name())
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
