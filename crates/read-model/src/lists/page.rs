//! Pages of lists, with counts by facet.

use std::{
    cmp::Reverse,
    collections::HashMap,
    sync::{Arc, Weak},
};

use tantivy::{DocId, SegmentReader, columnar::Column};

use super::{Conditions, Entry, View, scan::Visitor, schema};
use crate::{
    Row,
    columns::{self, Scratch},
    request::{Cursor, FacetField, MAX_FACET_VALUES, Sort},
    sorted_page::SortedPage,
};

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
        let facets = request.facets.iter().map(|&field| FacetScan::new(field));
        let mut scan = PageScan {
            page: SortedPage::new(
                [schema::sort_column(request.sort.field), schema::ROW],
                request.sort.descending,
                request.after,
                request.limit,
            ),
            changed: &changed,
            total: 0,
            facets: facets.collect(),
        };
        self.scan(&request.conditions, &mut scan, caller)?;
        let PageScan {
            mut page,
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
            if request.conditions.match_entry(entry) {
                page.add(Cursor {
                    key: entry.sort_value(request.sort.field),
                    row: entry.row.0,
                });
            }
        }
        Ok(Found {
            orders: page.into_cursors().collect(),
            total: total.saturating_add_signed(change),
            facets: facets.into_iter().map(FacetScan::counts).collect(),
        })
    }
}

struct PageScan<'a> {
    page: SortedPage,
    /// Orders of which the base has an older state: they are counted here, and found elsewhere.
    changed: &'a HashMap<Row, &'a Arc<Entry>>,
    total: u64,
    facets: Vec<FacetScan>,
}

impl Visitor for PageScan<'_> {
    fn rank(&self, segment: &SegmentReader) -> tantivy::Result<u64> {
        self.page.rank(segment)
    }

    fn begin(&mut self, segment: &SegmentReader) -> tantivy::Result<()> {
        self.page.begin(segment)?;
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
        let is_changed = |row| self.changed.contains_key(&Row(row));
        self.page.visit(documents, is_changed);
    }
}

/// Counts the matches by the number of a facet.
struct FacetScan {
    field: FacetField,
    column: Option<Column<u64>>,
    scratch: Scratch,
    values: Vec<u64>,
    /// The count of each number. Numbers are dense.
    counts: Vec<i64>,
}

impl FacetScan {
    fn new(field: FacetField) -> Self {
        Self {
            field,
            column: None,
            scratch: Scratch::default(),
            values: Vec::new(),
            counts: Vec::new(),
        }
    }

    fn begin(&mut self, segment: &SegmentReader) -> tantivy::Result<()> {
        // It is missing if no order of the segment has a product.
        let column = segment
            .fast_fields()
            .column_opt::<u64>(schema::facet_column(self.field))?;
        if let Some(column) = &column {
            self.reach(column.max_value());
        }
        self.column = column;
        Ok(())
    }

    fn visit(&mut self, documents: &[DocId]) {
        let Some(column) = &self.column else { return };
        columns::read_all(column, documents, &mut self.scratch, &mut self.values);
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
