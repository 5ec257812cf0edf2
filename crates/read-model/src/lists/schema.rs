//! The fields of the index of lists, and what conditions mean for them.
//!
//! Postings find the orders of a customer, a product or a row. Every value has a column. Times and
//! totals are stored [`ordered`].

use tantivy::{
    SegmentReader, TantivyDocument, Term,
    query::{AllQuery, BooleanQuery, ConstScoreQuery, Query, TermQuery, TermSetQuery},
    schema::{FAST, Field, INDEXED, IndexRecordOption, Schema},
};

use super::{
    entry::{Conditions, Entry},
    predicates::{Predicate, Predicates},
};
use crate::{
    Row,
    columns::{self, ordered},
    request::{FacetField, SortField},
};

pub(super) const ROW: &str = "row";
pub(super) const CUSTOMER: &str = "customer";
pub(super) const PRODUCT: &str = "product";
pub(super) const STATUS: &str = "status";
pub(super) const TOTAL: &str = "total";
pub(super) const CURRENCY: &str = "currency";
const CREATED_AT: &str = "created_at";
const UPDATED_AT: &str = "updated_at";

/// Returns the column of a sort field.
pub(super) fn sort_column(field: SortField) -> &'static str {
    match field {
        SortField::CreatedAt => CREATED_AT,
        SortField::UpdatedAt => UPDATED_AT,
        SortField::TotalAmount => TOTAL,
    }
}

/// Returns the column of a facet's numbers.
pub(super) fn facet_column(field: FacetField) -> &'static str {
    match field {
        FacetField::Status => STATUS,
        FacetField::CustomerId => CUSTOMER,
        FacetField::ProductId => PRODUCT,
    }
}

/// The fields of the index.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fields {
    pub(super) row: Field,
    customer: Field,
    product: Field,
    status: Field,
    created_at: Field,
    updated_at: Field,
    total: Field,
    currency: Field,
}

impl Fields {
    pub(super) fn new() -> (Self, Schema) {
        let mut schema = Schema::builder();
        let fields = Self {
            row: schema.add_u64_field(ROW, FAST | INDEXED),
            customer: schema.add_u64_field(CUSTOMER, FAST | INDEXED),
            product: schema.add_u64_field(PRODUCT, FAST | INDEXED),
            status: schema.add_u64_field(STATUS, FAST),
            created_at: schema.add_u64_field(CREATED_AT, FAST),
            updated_at: schema.add_u64_field(UPDATED_AT, FAST),
            total: schema.add_u64_field(TOTAL, FAST),
            currency: schema.add_text_field(CURRENCY, FAST),
        };
        (fields, schema.build())
    }

    /// Returns the term that only the document of this row has.
    pub(super) fn key(&self, row: Row) -> Term {
        Term::from_field_u64(self.row, row.0)
    }

    pub(super) fn document(&self, entry: &Entry) -> TantivyDocument {
        let mut document = TantivyDocument::new();
        document.add_u64(self.row, entry.row.0);
        document.add_u64(self.customer, entry.customer);
        for product in &entry.products {
            document.add_u64(self.product, *product);
        }
        document.add_u64(self.status, number(entry.status));
        document.add_u64(self.created_at, ordered(entry.created_at));
        document.add_u64(self.updated_at, ordered(entry.updated_at));
        document.add_u64(self.total, ordered(entry.total));
        document.add_text(self.currency, &entry.currency);
        document
    }

    /// Returns the fields that conditions find orders by, each with its name in the schema.
    pub(super) fn found_by(&self) -> [(&'static str, Field); 3] {
        [
            (ROW, self.row),
            (CUSTOMER, self.customer),
            (PRODUCT, self.product),
        ]
    }

    /// Builds the query that the orders with the rows, customers and products of the conditions match.
    pub(super) fn query(&self, conditions: &Conditions) -> Box<dyn Query> {
        let rows = conditions.rows.as_ref();
        let rows: Option<Vec<_>> = rows.map(|rows| rows.iter().map(|row| row.0).collect());
        let numbers = [
            (self.row, rows.as_ref()),
            (self.customer, conditions.customers.as_ref()),
            (self.product, conditions.products.as_ref()),
        ];
        let clauses = numbers
            .into_iter()
            .filter_map(|(field, numbers)| Some(any(field, numbers?)));
        let mut clauses: Vec<_> = clauses.collect();
        match clauses.len() {
            0 => Box::new(AllQuery),
            1 => clauses.remove(0),
            _ => Box::new(BooleanQuery::intersection(clauses)),
        }
    }
}

/// Builds the query that the orders with one of these numbers match. A set of terms builds an automaton
/// for each segment, which takes longer than the search for a single term.
fn any(field: Field, numbers: &[u64]) -> Box<dyn Query> {
    let terms = numbers.iter().map(|&it| Term::from_field_u64(field, it));
    let mut terms: Vec<_> = terms.collect();
    let query: Box<dyn Query> = match terms.len() {
        1 => Box::new(TermQuery::new(terms.remove(0), IndexRecordOption::Basic)),
        _ => Box::new(TermSetQuery::new(terms)),
    };
    Box::new(ConstScoreQuery::new(query, 0.0))
}

/// Returns the conditions that the columns of a segment decide; `None` if no order there meets them.
pub(super) fn predicates(
    conditions: &Conditions,
    segment: &SegmentReader,
) -> tantivy::Result<Option<Predicates>> {
    let mut predicates = Predicates::default();
    let column = |name| columns::values(segment, name);
    if let Some(statuses) = &conditions.statuses {
        let statuses = statuses.iter().map(|status| number(*status));
        let column = column(STATUS)?;
        let wanted = Predicate::any(statuses, &column);
        if !predicates.add(column, wanted) {
            return Ok(None);
        }
    }
    let last = conditions.created_to.map(|to| to.checked_sub(1));
    if last == Some(None) {
        return Ok(None);
    }
    let bounds = [&conditions.min_total, &conditions.max_total].map(Option::as_ref);
    let [min, max] = bounds.map(|bound| bound.map(|bound| bound.amount));
    for (name, least, most) in [
        (CREATED_AT, conditions.created_from, last.flatten()),
        (TOTAL, min, max),
    ] {
        let range = least.map_or(0, ordered)..=most.map_or(u64::MAX, ordered);
        if range != (0..=u64::MAX) && !predicates.add(column(name)?, Predicate::Between(range)) {
            return Ok(None);
        }
    }
    for currency in bounds
        .into_iter()
        .flatten()
        .filter_map(|it| it.currency.as_ref())
    {
        let names = segment.fast_fields().str(CURRENCY)?;
        let ordinal = names.map(|names| names.dictionary().term_ord(currency.as_bytes()));
        let column = columns::ordinals(segment, CURRENCY)?;
        let wanted = Predicate::any(ordinal.transpose()?.flatten(), &column);
        if !predicates.add(column, wanted) {
            return Ok(None);
        }
    }
    Ok(Some(predicates))
}

/// The number of a status in the index. A status of a newer contract is a positive number too.
pub(super) fn number(status: i32) -> u64 {
    u64::from(status.cast_unsigned())
}

/// The status of a number in the index.
pub(super) fn status(number: u64) -> i32 {
    // The index has only numbers of statuses, which have 32 bits.
    (number as u32).cast_signed()
}
