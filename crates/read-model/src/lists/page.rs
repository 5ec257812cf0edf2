//! Pages of lists, with counts by facet.

use std::{
    cmp::Reverse,
    collections::HashMap,
    sync::{Arc, Weak},
};

use tantivy::{
    COLLECT_BLOCK_BUFFER_LEN, DocId, SegmentReader,
    columnar::{Column, ColumnIndex, ColumnValues},
};

use super::{Conditions, Entry, View, scan::Visitor, schema};
use crate::{
    Row,
    first::{FirstMatches, SortPosition},
    request::{Cursor, FacetField, MAX_FACET_VALUES, Sort},
};

/// Reads the values of all documents between the first and the last of a block, if these are at most
/// so many times the documents of the block.
const MAX_READ_RATIO: usize = 4;

/// The request of a page.
#[derive(Debug, Clone)]
pub(crate) struct PageRequest {
    pub(crate) conditions: Conditions,
    pub(crate) sort: Sort,
    /// The end of the previous page.
    pub(crate) after: Option<Cursor>,
    /// Maximum number of orders.
    pub(crate) limit: usize,
    pub(crate) facets: Vec<FacetField>,
}

/// The answer of a list.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Found {
    /// The first orders after the cursor, in the requested order.
    pub(crate) orders: Vec<Cursor>,
    /// The number of all matches.
    pub(crate) total: u64,
    pub(crate) facets: Vec<Counts>,
}

/// The largest counts of a facet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Numbers with their counts: fewer than [`MAX_FACET_VALUES`].
    pub(crate) largest: Vec<(u64, u64)>,
    /// The next lower count, and all numbers that have it.
    pub(crate) next: (u64, Vec<u64>),
}

impl View {
    /// Finds a page of orders, and counts all matches. Blocks. Ends early, with an error, once the
    /// strong reference of `caller` is gone.
    pub(crate) fn page(&self, request: PageRequest, caller: &Weak<()>) -> tantivy::Result<Found> {
        let changed = self.changed();
        let descending = request.sort.descending;
        let facets = request.facets.iter().map(|&field| FacetScan::new(field));
        let mut scan = PageScan {
            sort: request.sort,
            after: request
                .after
                .map(|after| SortPosition::new(descending, after)),
            first: FirstMatches::new(request.limit),
            changed: &changed,
            columns: None,
            total: 0,
            facets: facets.collect(),
        };
        self.scan(&request.conditions, &mut scan, caller)?;
        let PageScan {
            after,
            mut first,
            total,
            mut facets,
            ..
        } = scan;
        let mut count = |entry: &Entry, by: i64| {
            if !request.conditions.match_entry(entry) {
                return 0;
            }
            for facet in &mut facets {
                facet.count(entry, by);
            }
            by
        };
        let mut change = 0;
        for one in self.changes() {
            change += one.old.as_deref().map_or(0, |old| count(old, -1));
            change += count(&one.new, 1);
        }
        for entry in changed.values() {
            let cursor = Cursor {
                key: entry.sort_value(request.sort.field),
                row: entry.row.0,
            };
            let position = SortPosition::new(descending, cursor);
            if after.is_none_or(|after| position > after) && request.conditions.match_entry(entry) {
                first.add(position);
            }
        }
        Ok(Found {
            orders: first.into_cursors(descending).collect(),
            total: total.saturating_add_signed(change),
            facets: facets.into_iter().map(FacetScan::counts).collect(),
        })
    }
}

struct PageScan<'a> {
    sort: Sort,
    after: Option<SortPosition>,
    first: FirstMatches,
    /// Orders of which the base has an older state: they are counted here, and found elsewhere.
    changed: &'a HashMap<Row, &'a Arc<Entry>>,
    columns: Option<PageColumns>,
    total: u64,
    facets: Vec<FacetScan>,
}

struct PageColumns {
    keys: Arc<dyn ColumnValues<i64>>,
    rows: Arc<dyn ColumnValues<u64>>,
}

impl Visitor for PageScan<'_> {
    fn begin(&mut self, segment: &SegmentReader) -> tantivy::Result<()> {
        let columns = segment.fast_fields();
        self.columns = Some(PageColumns {
            keys: columns.column_first_or_default(schema::sort_column(self.sort.field))?,
            rows: columns.column_first_or_default(schema::ROW)?,
        });
        for facet in &mut self.facets {
            facet.begin(segment)?;
        }
        Ok(())
    }

    fn visit(&mut self, documents: &[DocId]) {
        self.total += documents.len() as u64;
        for facet in &mut self.facets {
            facet.visit(documents);
        }
        let Some(columns) = &self.columns else { return };
        let mut keys = [0; COLLECT_BLOCK_BUFFER_LEN];
        let keys = &mut keys[..documents.len()];
        columns.keys.get_vals(documents, keys);
        let descending = self.sort.descending;
        for (&document, &mut key) in documents.iter().zip(keys) {
            // The row is read only if it can matter.
            let [earliest, latest] = SortPosition::of_key(descending, key);
            let is_seen = self.after.is_some_and(|after| latest <= after);
            if is_seen || !self.first.may_take(earliest) {
                continue;
            }
            let row = columns.rows.get_val(document);
            let position = SortPosition::new(descending, Cursor { key, row });
            let is_beyond = self.after.is_none_or(|after| position > after);
            if is_beyond && !self.changed.contains_key(&Row(row)) {
                self.first.add(position);
            }
        }
    }
}

/// Counts the matches by the number of a facet.
struct FacetScan {
    field: FacetField,
    column: Option<Column<u64>>,
    values: Vec<u64>,
    /// The count of each number. Numbers are dense.
    counts: Vec<i64>,
}

impl FacetScan {
    fn new(field: FacetField) -> Self {
        Self {
            field,
            column: None,
            values: Vec::new(),
            counts: Vec::new(),
        }
    }

    fn begin(&mut self, segment: &SegmentReader) -> tantivy::Result<()> {
        let column = segment
            .fast_fields()
            .u64(schema::facet_column(self.field))?;
        self.reach(column.max_value());
        self.column = Some(column);
        Ok(())
    }

    fn visit(&mut self, documents: &[DocId]) {
        let Some(column) = &self.column else { return };
        read_values(column, documents, &mut self.values);
        for &number in &self.values {
            // `begin` has made room for the largest number of the segment.
            self.counts[number as usize] += 1;
        }
    }

    /// Makes room for a number.
    fn reach(&mut self, number: u64) {
        // Numbers are below the number of customers and products, which fits in memory.
        let needed = number as usize + 1;
        if self.counts.len() < needed {
            self.counts.resize(needed, 0);
        }
    }

    fn count(&mut self, entry: &Entry, by: i64) {
        let status = [schema::number(entry.status)];
        let customer = [entry.customer];
        let numbers = match self.field {
            FacetField::Status => &status[..],
            FacetField::CustomerId => &customer[..],
            FacetField::ProductId => &entry.products,
        };
        for &number in numbers {
            self.reach(number);
            self.counts[number as usize] += by;
        }
    }

    fn counts(self) -> Counts {
        let counts = (0..).zip(self.counts);
        let occurring = counts.filter(|(_, count)| *count > 0);
        let mut counts: Vec<_> = occurring
            .map(|(number, count)| (number, count.cast_unsigned()))
            .collect();
        if counts.len() < MAX_FACET_VALUES {
            return Counts {
                largest: counts,
                next: (0, Vec::new()),
            };
        }
        let order = |(_, count): &(u64, u64)| Reverse(*count);
        let (_, &mut (_, least), _) =
            counts.select_nth_unstable_by_key(MAX_FACET_VALUES - 1, order);
        let next = counts.iter().filter(|(_, count)| *count == least);
        let next = next.map(|(number, _)| *number).collect();
        counts.retain(|(_, count)| *count > least);
        Counts {
            largest: counts,
            next: (least, next),
        }
    }
}

/// Reads the values of a block of documents into `values`. Reading many at a time is several times
/// faster than one by one.
fn read_values(column: &Column<u64>, documents: &[DocId], values: &mut Vec<u64>) {
    values.clear();
    let (Some(&first), Some(&last)) = (documents.first(), documents.last()) else {
        return;
    };
    let between = (last - first) as usize + 1;
    if matches!(column.index, ColumnIndex::Full) {
        values.resize(documents.len(), 0);
        column.values.get_vals(documents, values);
    } else if between <= documents.len() * MAX_READ_RATIO {
        let rows = column.index.docid_range_to_rowids(first..last + 1);
        values.resize(rows.len(), 0);
        column.values.get_range(u64::from(rows.start), values);
        if between > documents.len() {
            let mut kept = 0;
            for &document in documents {
                let of_document = column.index.value_row_ids(document);
                for row in of_document {
                    values[kept] = values[(row - rows.start) as usize];
                    kept += 1;
                }
            }
            values.truncate(kept);
        }
    } else {
        let of_documents = documents.iter().map(|one| column.values_for_doc(*one));
        values.extend(of_documents.flatten());
    }
}
