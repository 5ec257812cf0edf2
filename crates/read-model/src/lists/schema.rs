//! The fields of the index of lists, and the tantivy queries of conditions.

use std::ops::Bound::{Excluded, Included, Unbounded};

use tantivy::{
    TantivyDocument, Term,
    query::{AllQuery, BooleanQuery, ConstScoreQuery, Query, RangeQuery, TermQuery, TermSetQuery},
    schema::{FAST, Field, INDEXED, IndexRecordOption, STRING, Schema},
};

use super::entry::{Conditions, Entry};
use crate::{
    Row,
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
            status: schema.add_u64_field(STATUS, FAST | INDEXED),
            created_at: schema.add_i64_field(CREATED_AT, FAST),
            updated_at: schema.add_i64_field(UPDATED_AT, FAST),
            total: schema.add_i64_field(TOTAL, FAST),
            currency: schema.add_text_field(CURRENCY, STRING | FAST),
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
        document.add_i64(self.created_at, entry.created_at);
        document.add_i64(self.updated_at, entry.updated_at);
        document.add_i64(self.total, entry.total);
        document.add_text(self.currency, &entry.currency);
        document
    }

    /// Returns the fields that conditions find orders by, each with its name in the schema.
    pub(super) fn found_by(&self) -> [(&'static str, Field); 5] {
        [
            (ROW, self.row),
            (CUSTOMER, self.customer),
            (PRODUCT, self.product),
            (STATUS, self.status),
            (CURRENCY, self.currency),
        ]
    }

    /// Builds the query that the orders meeting every condition match.
    pub(super) fn query(&self, conditions: &Conditions) -> Box<dyn Query> {
        let mut clauses = Clauses::default();
        let rows = conditions.rows.as_ref();
        clauses.any(self.row, rows.map(|rows| rows.iter().map(|row| row.0)));
        let numbers = |list: &'_ Option<Vec<u64>>| list.clone();
        clauses.any(self.customer, numbers(&conditions.customers));
        clauses.any(self.product, numbers(&conditions.products));
        let statuses = conditions.statuses.as_ref();
        clauses.any(
            self.status,
            statuses.map(|list| list.iter().map(|status| number(*status))),
        );
        let created = |time| Term::from_field_i64(self.created_at, time);
        if let Some(from) = conditions.created_from {
            clauses.add(RangeQuery::new(Included(created(from)), Unbounded));
        }
        if let Some(to) = conditions.created_to {
            clauses.add(RangeQuery::new(Unbounded, Excluded(created(to))));
        }
        let bounds = [&conditions.min_total, &conditions.max_total];
        let totals = bounds.map(|bound| {
            bound.as_ref().map_or(Unbounded, |bound| {
                Included(Term::from_field_i64(self.total, bound.amount))
            })
        });
        if bounds.iter().any(|bound| bound.is_some()) {
            let [min, max] = totals;
            clauses.add(RangeQuery::new(min, max));
        }
        for bound in bounds.into_iter().flatten() {
            if let Some(currency) = &bound.currency {
                clauses.add_any(vec![Term::from_field_text(self.currency, currency)]);
            }
        }
        clauses.build()
    }
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

#[derive(Default)]
struct Clauses(Vec<Box<dyn Query>>);

impl Clauses {
    /// Requires one of these values; `None` is no condition.
    fn any(&mut self, field: Field, values: Option<impl IntoIterator<Item = u64>>) {
        if let Some(values) = values {
            let terms = values.into_iter();
            self.add_any(
                terms
                    .map(|value| Term::from_field_u64(field, value))
                    .collect(),
            );
        }
    }

    /// Requires one of these terms. A set of terms builds an automaton for each segment, which takes
    /// longer than the search for a single term.
    fn add_any(&mut self, mut terms: Vec<Term>) {
        match terms.len() {
            1 => self.add(TermQuery::new(terms.remove(0), IndexRecordOption::Basic)),
            _ => self.add(TermSetQuery::new(terms)),
        }
    }

    fn add(&mut self, query: impl Query) {
        let unscored = ConstScoreQuery::new(Box::new(query), 0.0);
        self.0.push(Box::new(unscored));
    }

    fn build(mut self) -> Box<dyn Query> {
        match self.0.len() {
            0 => Box::new(AllQuery),
            1 => self.0.remove(0),
            _ => Box::new(BooleanQuery::intersection(self.0)),
        }
    }
}
