//! The exact conditions of a search.

use std::ops::Bound::{Excluded, Included, Unbounded};

use tantivy::Term;
use tantivy::query::{ConstScoreQuery, Query, RangeQuery, TermSetQuery};
use tantivy::schema::Field;

use super::schema::Fields;
use crate::request::{Bound, OrderFilter};

/// Builds one query for each condition. Each scores 0, because it decides only which orders match.
pub(super) fn conditions(fields: &Fields, filter: &OrderFilter) -> Vec<Box<dyn Query>> {
    let mut conditions = Conditions::default();
    let statuses = filter.statuses.iter().map(|status| status.as_str_name());
    conditions.any(fields.status, statuses);
    conditions.any(fields.order_id, strs(&filter.order_ids));
    conditions.any(fields.customer_id, strs(&filter.customer_ids));
    conditions.any(fields.product_id, strs(&filter.product_ids));
    let created = |time| Term::from_field_i64(fields.created_at, time);
    if let Some(from) = filter.created_from {
        conditions.add(RangeQuery::new(Included(created(from)), Unbounded));
    }
    if let Some(to) = filter.created_to {
        conditions.add(RangeQuery::new(Unbounded, Excluded(created(to))));
    }
    let total = |bound: &Bound| Included(Term::from_field_i64(fields.total_amount, bound.amount));
    if let Some(min) = &filter.min_total {
        conditions.any(fields.currency, min.currency.as_deref());
        conditions.add(RangeQuery::new(total(min), Unbounded));
    }
    if let Some(max) = &filter.max_total {
        conditions.any(fields.currency, max.currency.as_deref());
        conditions.add(RangeQuery::new(Unbounded, total(max)));
    }
    conditions.0
}

fn strs(values: &[String]) -> impl Iterator<Item = &str> {
    values.iter().map(String::as_str)
}

#[derive(Default)]
struct Conditions(Vec<Box<dyn Query>>);

impl Conditions {
    /// Requires one of these values; an empty list is no condition.
    fn any<'a>(&mut self, field: Field, values: impl IntoIterator<Item = &'a str>) {
        let mut terms = values
            .into_iter()
            .map(|value| Term::from_field_text(field, value))
            .peekable();
        if terms.peek().is_some() {
            self.add(TermSetQuery::new(terms));
        }
    }

    fn add(&mut self, query: impl Query) {
        self.0
            .push(Box::new(ConstScoreQuery::new(Box::new(query), 0.0)));
    }
}
