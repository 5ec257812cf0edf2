//! The exact conditions of a search.

use std::ops::Bound::{Excluded, Included, Unbounded};

use tantivy::Term;
use tantivy::query::RangeQuery;
use tantivy::schema::Field;

use super::clauses::{Alternative, Clause, Level};
use super::schema::Fields;
use crate::columns::ordered;
use crate::request::{Bound, OrderFilter};

/// Builds one clause for each condition.
pub(super) fn conditions(fields: &Fields, filter: &OrderFilter) -> Vec<Clause> {
    let mut conditions = Conditions::default();
    let statuses = filter.statuses.iter().map(|status| status.as_str_name());
    conditions.any(fields.status, statuses);
    conditions.any(fields.order_id, strs(&filter.order_ids));
    conditions.any(fields.customer_id, strs(&filter.customer_ids));
    conditions.any(fields.product_id, strs(&filter.product_ids));
    let created = |time| Term::from_field_u64(fields.created_at, ordered(time));
    if let Some(from) = filter.created_from {
        conditions.add(RangeQuery::new(Included(created(from)), Unbounded));
    }
    if let Some(to) = filter.created_to {
        conditions.add(RangeQuery::new(Unbounded, Excluded(created(to))));
    }
    let total = |bound: &Bound| {
        let amount = ordered(bound.amount);
        Included(Term::from_field_u64(fields.total_amount, amount))
    };
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
struct Conditions(Vec<Clause>);

impl Conditions {
    /// Requires one of these values; an empty list is no condition.
    fn any<'a>(&mut self, field: Field, values: impl IntoIterator<Item = &'a str>) {
        let terms = values.into_iter().map(|value| {
            let term = Term::from_field_text(field, value);
            Alternative::Term(Level::CONDITION, term)
        });
        let terms: Vec<_> = terms.collect();
        if !terms.is_empty() {
            self.0.push(Clause(terms));
        }
    }

    fn add(&mut self, range: RangeQuery) {
        let range = Alternative::Query(Level::CONDITION, Box::new(range));
        self.0.push(Clause(vec![range]));
    }
}
