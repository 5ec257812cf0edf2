//! Orders by row: those that show a name, and whole entries.

use std::{
    collections::BTreeSet,
    mem,
    ops::Range,
    sync::{Arc, Weak},
};

use tantivy::{
    DocId, SegmentReader,
    columnar::{Column, StrColumn},
};

use super::{Conditions, Entry, View, scan::Visitor, schema};
use crate::{
    Row,
    columns::{self, Values},
    postings,
    request::SortField,
};

impl View {
    /// Returns the orders that show names and are older than those, each with the position of the
    /// name: the first `limit` by position of the name and row. Of the first name's orders, only
    /// those after a row. Blocks, as [`View::page`].
    ///
    /// An order that was created after a name was given has always shown it.
    pub(crate) fn orders_of(
        &self,
        names: &[GivenName],
        after: Row,
        limit: usize,
        caller: &Weak<()>,
    ) -> tantivy::Result<Vec<(u64, Row)>> {
        let mut found = Vec::new();
        let mut after = after;
        for name in names {
            let numbers = Some(vec![name.number]);
            let (customers, products) = match name.of_customer {
                true => (numbers, None),
                false => (None, numbers),
            };
            let conditions = Conditions {
                customers,
                products,
                ..Conditions::default()
            };
            let mut scan = RowScan {
                between: after..Row(name.position),
                limit: limit.saturating_sub(found.len()),
                column: None,
                rows: Vec::new(),
                first: BTreeSet::new(),
            };
            self.scan(&conditions, &mut scan, caller)?;
            // An order keeps its customer and its products, so that changes only add orders.
            for change in self.changes() {
                if change.old.is_none() && conditions.match_entry(&change.new) {
                    scan.add(change.new.row);
                }
            }
            found.extend(scan.first.into_iter().map(|row| (name.position, row)));
            if found.len() >= limit {
                break;
            }
            after = Row::default();
        }
        Ok(found)
    }

    /// Returns all entries of the rows from `first` to `last`, sorted by row. Reads only these rows.
    /// Blocks.
    pub(crate) fn entries(&self, first: Row, last: Row) -> tantivy::Result<Vec<Entry>> {
        let changed = self.changed();
        let mut entries = Vec::new();
        for segment in self.snapshot.searcher.segment_readers() {
            let columns = EntryColumns::of(segment)?;
            let field = self.snapshot.fields.row;
            for document in postings::of_rows(segment, field, first, last)? {
                entries.push(columns.entry(document)?);
            }
        }
        entries.retain(|entry| !changed.contains_key(&entry.row));
        let between = |entry: &&&Arc<Entry>| (first..=last).contains(&entry.row);
        let changed = changed.values().filter(between);
        entries.extend(changed.map(|entry| Entry::clone(entry)));
        entries.sort_unstable_by_key(|entry| entry.row);
        Ok(entries)
    }
}

/// A name that an event gave to a customer or product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct GivenName {
    /// The position of the event.
    pub(crate) position: u64,
    /// The number of the customer or product.
    pub(crate) number: u64,
    pub(crate) of_customer: bool,
}

/// Collects the lowest rows between two.
struct RowScan {
    /// Without its ends.
    between: Range<Row>,
    limit: usize,
    column: Option<Values>,
    rows: Vec<u64>,
    first: BTreeSet<Row>,
}

impl RowScan {
    fn add(&mut self, row: Row) {
        if row > self.between.start && row < self.between.end {
            self.first.insert(row);
            if self.first.len() > self.limit {
                self.first.pop_last();
            }
        }
    }
}

impl Visitor for RowScan {
    fn begin(&mut self, segment: &SegmentReader) -> tantivy::Result<()> {
        self.column = Some(columns::values(segment, schema::ROW)?);
        Ok(())
    }

    fn visit(&mut self, documents: &[DocId]) {
        let Some(column) = &self.column else { return };
        let mut rows = mem::take(&mut self.rows);
        columns::read(column, documents, &mut rows);
        for &row in &rows {
            self.add(Row(row));
        }
        self.rows = rows;
    }
}

struct EntryColumns {
    rows: Values,
    customers: Values,
    /// `None` if no order of the segment has a product.
    products: Option<Column<u64>>,
    statuses: Values,
    times: [Values; 2],
    totals: Values,
    currencies: Option<StrColumn>,
}

impl EntryColumns {
    fn of(segment: &SegmentReader) -> tantivy::Result<Self> {
        let columns = segment.fast_fields();
        let numbers = |name| columns::values(segment, name);
        let time = |field| numbers(schema::sort_column(field));
        Ok(Self {
            rows: numbers(schema::ROW)?,
            customers: numbers(schema::CUSTOMER)?,
            products: columns.column_opt(schema::PRODUCT)?,
            statuses: numbers(schema::STATUS)?,
            times: [time(SortField::CreatedAt)?, time(SortField::UpdatedAt)?],
            totals: numbers(schema::TOTAL)?,
            currencies: columns.str(schema::CURRENCY)?,
        })
    }

    fn entry(&self, document: DocId) -> tantivy::Result<Entry> {
        let mut currency = String::new();
        if let Some(currencies) = &self.currencies
            && let Some(ordinal) = currencies.term_ords(document).next()
        {
            currencies.ord_to_str(ordinal, &mut currency)?;
        }
        let products = self.products.iter();
        let products = products.flat_map(|column| column.values_for_doc(document));
        let [created_at, updated_at] = &self.times;
        Ok(Entry {
            row: Row(self.rows.get_val(document)),
            customer: self.customers.get_val(document),
            products: products.collect(),
            status: schema::status(self.statuses.get_val(document)),
            created_at: columns::signed(created_at.get_val(document)),
            updated_at: columns::signed(updated_at.get_val(document)),
            total: columns::signed(self.totals.get_val(document)),
            currency,
        })
    }
}
