//! Compares what leads to an order in the index with the values that the index has of it.

use std::ops::Range;

use tantivy::{DocId, SegmentReader, Term, schema::Field};

use super::{View, schema};
use crate::{
    Row,
    postings::{self, Window},
};

impl View {
    /// Returns the windows of the base, which [`View::misfiled`] takes one by one.
    pub(crate) fn windows(&self) -> Vec<Window> {
        postings::windows(self.snapshot.searcher.segment_readers())
    }

    /// Returns the orders of a window that a field finds by another value than its column has, each
    /// with the field. Blocks.
    pub(crate) fn misfiled(&self, window: &Window) -> tantivy::Result<Vec<(Row, &'static str)>> {
        let segment = &self.snapshot.searcher.segment_readers()[window.segment];
        let documents = &window.documents;
        let rows = segment.fast_fields().column_first_or_default(schema::ROW)?;
        let mut misfiled = Vec::new();
        for (name, field) in self.snapshot.fields.found_by() {
            let sums = sums(segment, name, field, documents)?;
            for (document, sum) in documents.clone().zip(sums) {
                if sum != 0 && !segment.is_deleted(document) {
                    misfiled.push((Row(rows.get_val(document)), name));
                }
            }
        }
        Ok(misfiled)
    }
}

/// Returns, for each document, the sum of the hashes of the terms that lead to it, less that of its
/// values: 0 if they are the same.
fn sums(
    segment: &SegmentReader,
    name: &str,
    field: Field,
    documents: &Range<DocId>,
) -> tantivy::Result<Vec<u64>> {
    let mut sums = vec![0_u64; documents.len()];
    let at = |document: DocId| (document - documents.start) as usize;
    postings::for_each(segment, field, documents, |posting| {
        let sum = &mut sums[at(posting.document)];
        *sum = sum.wrapping_add(posting.hash);
    })?;
    let mut subtract = |document, hash| {
        let sum: &mut u64 = &mut sums[at(document)];
        *sum = sum.wrapping_sub(hash);
    };
    if let Some(column) = segment.fast_fields().column_opt::<u64>(name)? {
        for document in documents.clone() {
            for number in column.values_for_doc(document) {
                let term = Term::from_field_u64(field, number);
                subtract(document, postings::hash(term.serialized_value_bytes()));
            }
        }
    }
    Ok(sums)
}
