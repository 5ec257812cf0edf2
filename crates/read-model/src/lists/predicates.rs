//! Conditions that columns decide, block by block.

use std::ops::RangeInclusive;

use tantivy::DocId;

use crate::columns::{self, Values};

/// The conditions that hold for some orders of a segment, and not for others.
#[derive(Default)]
pub(super) struct Predicates(Vec<(Values, Predicate)>);

/// A condition on a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Predicate {
    /// One of these values, which are small: true at each of them.
    Any(Vec<bool>),
    Between(RangeInclusive<u64>),
}

impl Predicate {
    /// Requires one of these values. Ignores those that the column does not reach.
    pub(super) fn any(wanted: impl IntoIterator<Item = u64>, column: &Values) -> Self {
        let mut at = vec![false; column.max_value() as usize + 1];
        for value in wanted {
            if let Some(is_wanted) = at.get_mut(value as usize) {
                *is_wanted = true;
            }
        }
        Self::Any(at)
    }

    /// Returns whether the condition holds for all values between two, or for none of them; `None` if
    /// that depends on the value.
    fn holds_between(&self, least: u64, most: u64) -> Option<bool> {
        match self {
            Self::Any(wanted) => {
                let wanted = &wanted[least as usize..=most as usize];
                let first = wanted[0];
                wanted.iter().all(|it| *it == first).then_some(first)
            }
            Self::Between(wanted) => {
                let is_outside = *wanted.end() < least || *wanted.start() > most;
                let is_inside = wanted.contains(&least) && wanted.contains(&most);
                (is_outside || is_inside).then_some(is_inside)
            }
        }
    }
}

impl Predicates {
    /// Adds a condition. Returns whether an order of the segment can meet it.
    pub(super) fn add(&mut self, column: Values, predicate: Predicate) -> bool {
        let holds = predicate.holds_between(column.min_value(), column.max_value());
        if holds.is_none() {
            self.0.push((column, predicate));
        }
        holds != Some(false)
    }

    /// Keeps the documents whose values meet every condition. `values` is scratch space.
    pub(super) fn retain(&self, documents: &mut Vec<DocId>, values: &mut Vec<u64>) {
        for (column, predicate) in &self.0 {
            columns::read(column, documents, values);
            match predicate {
                Predicate::Any(wanted) => retain(documents, |at, _| wanted[values[at] as usize]),
                Predicate::Between(wanted) => {
                    retain(documents, |at, _| wanted.contains(&values[at]))
                }
            }
        }
    }
}

/// Keeps the wanted documents, by index and document. Does not branch, because a processor could not
/// predict which ones they are.
pub(super) fn retain(documents: &mut Vec<DocId>, is_wanted: impl Fn(usize, DocId) -> bool) {
    let mut kept = 0;
    for index in 0..documents.len() {
        let document = documents[index];
        documents[kept] = document;
        kept += usize::from(is_wanted(index, document));
    }
    documents.truncate(kept);
}
