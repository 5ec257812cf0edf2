//! Reads the columns of a segment for a block of its orders.

use std::{
    ops::{Range, RangeInclusive},
    sync::Arc,
};

use tantivy::{
    DocId, SegmentReader, TantivyError,
    columnar::{Column, ColumnIndex, ColumnValues},
};

/// Reads the values of all orders between the first and the last of a block, if these are at most so
/// many times the orders of the block. Reading one value after the other is several times faster than
/// reading them one by one.
const MAX_READ_RATIO: usize = 3;

/// Copies so many values of an order at once, whether it has them or not: a processor could not predict
/// how many they are.
const COPIED_AT_ONCE: usize = 4;

/// A column with one value for each order.
pub(crate) type Values = Arc<dyn ColumnValues<u64>>;

/// Opens a column of numbers that has one value for each order.
///
/// # Errors
/// The segment cannot be read, or an order has no value or several.
pub(crate) fn values(segment: &SegmentReader, name: &str) -> tantivy::Result<Values> {
    full(segment.fast_fields().column_opt(name)?, name)
}

/// Opens the ordinals of a column of texts that has one value for each order.
///
/// # Errors
/// As [`values`].
pub(crate) fn ordinals(segment: &SegmentReader, name: &str) -> tantivy::Result<Values> {
    let column = segment.fast_fields().str(name)?;
    full(column.map(|column| column.ords().clone()), name)
}

fn full(column: Option<Column<u64>>, name: &str) -> tantivy::Result<Values> {
    match column {
        Some(column) if matches!(column.index, ColumnIndex::Full) => Ok(column.values),
        _ => Err(TantivyError::SchemaError(format!(
            "an order has not one value of {name}"
        ))),
    }
}

/// Converts a number to one without a sign that has the same place among others: columns of numbers
/// with a sign are read one value at a time.
pub(crate) fn ordered(number: i64) -> u64 {
    number.cast_unsigned() ^ (1 << 63)
}

/// Returns the number of which [`ordered`] was made.
pub(crate) fn signed(number: u64) -> i64 {
    (number ^ (1 << 63)).cast_signed()
}

/// Reads the values of a block of orders, whose documents are sorted.
pub(crate) fn read(column: &Values, documents: &[DocId], values: &mut Vec<u64>) {
    values.clear();
    let (first, between) = span(documents);
    if between > documents.len() * MAX_READ_RATIO {
        values.resize(documents.len(), 0);
        column.get_vals(documents, values);
        return;
    }
    values.resize(between, 0);
    column.get_range(u64::from(first), values);
    if between > documents.len() {
        for (index, &document) in documents.iter().enumerate() {
            values[index] = values[(document - first) as usize];
        }
        values.truncate(documents.len());
    }
}

/// The space of [`read_all`] and [`find`].
#[derive(Default)]
pub(crate) struct Scratch {
    starts: Vec<u32>,
    values: Vec<u64>,
}

/// Reads the values of a block of orders from a column with several values for an order.
pub(crate) fn read_all(
    column: &Column<u64>,
    documents: &[DocId],
    scratch: &mut Scratch,
    kept: &mut Vec<u64>,
) {
    kept.clear();
    let (first, between) = span(documents);
    if matches!(column.index, ColumnIndex::Full) {
        return read(&column.values, documents, kept);
    }
    let is_near = between <= documents.len() * MAX_READ_RATIO;
    let Some(index) = starts_of_all(column).filter(|_| is_near) else {
        return read_each(column, documents, kept);
    };
    let Scratch { starts, values } = scratch;
    starts.clear();
    starts.resize(between + 1, 0);
    index.get_range(u64::from(first), starts);
    let (start, end) = (starts[0], starts[between]);
    let count = (end - start) as usize;
    if between == documents.len() {
        kept.resize(count, 0);
        return column.values.get_range(u64::from(start), kept);
    }
    values.clear();
    values.resize(count + COPIED_AT_ONCE, 0);
    column
        .values
        .get_range(u64::from(start), &mut values[..count]);
    kept.resize(count + COPIED_AT_ONCE, 0);
    let mut to = 0;
    for &document in documents {
        let order = (document - first) as usize;
        let [mut from, end] = [starts[order], starts[order + 1]].map(|at| (at - start) as usize);
        loop {
            kept[to..to + COPIED_AT_ONCE].copy_from_slice(&values[from..from + COPIED_AT_ONCE]);
            let copied = (end - from).min(COPIED_AT_ONCE);
            (from, to) = (from + copied, to + copied);
            if from == end {
                break;
            }
        }
    }
    kept.truncate(to);
}

/// Finds the orders between two that have a value in a range.
pub(crate) fn find(
    column: &Column<u64>,
    documents: &Range<DocId>,
    wanted: &RangeInclusive<u64>,
    scratch: &mut Scratch,
    found: &mut Vec<DocId>,
) {
    found.clear();
    let Some(index) = starts_of_all(column) else {
        return column.get_docids_for_value_range(wanted.clone(), documents.clone(), found);
    };
    let Scratch { starts, values } = scratch;
    starts.clear();
    starts.resize(documents.len() + 1, 0);
    index.get_range(u64::from(documents.start), starts);
    let (start, end) = (starts[0], starts[documents.len()]);
    values.clear();
    values.resize((end - start) as usize, 0);
    column.values.get_range(u64::from(start), values);
    found.resize(documents.len(), 0);
    let mut kept = 0;
    for (document, bounds) in documents.clone().zip(starts.windows(2)) {
        let values = &values[(bounds[0] - start) as usize..(bounds[1] - start) as usize];
        found[kept] = document;
        kept += usize::from(
            values
                .iter()
                .fold(false, |is_found, value| is_found | wanted.contains(value)),
        );
    }
    found.truncate(kept);
}

/// Returns where the values of each order start, if the column has several for an order and at least
/// one for each: only then the starts are those of the orders one after the other.
fn starts_of_all(column: &Column<u64>) -> Option<&Arc<dyn ColumnValues<u32>>> {
    match &column.index {
        ColumnIndex::Multivalued(index) => {
            let starts = index.get_start_index_column();
            (starts.num_vals() == column.num_docs() + 1).then_some(starts)
        }
        _ => None,
    }
}

fn read_each(column: &Column<u64>, documents: &[DocId], values: &mut Vec<u64>) {
    let of_documents = documents.iter().map(|one| column.values_for_doc(*one));
    values.extend(of_documents.flatten());
}

/// Returns the first of some sorted documents, and the number of documents from it to the last one.
fn span(documents: &[DocId]) -> (DocId, usize) {
    match documents {
        [] => (0, 0),
        [first, .., last] => (*first, (last - first) as usize + 1),
        [only] => (*only, 1),
    }
}
