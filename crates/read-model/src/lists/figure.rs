//! Counts and sums of orders.

use std::{collections::BTreeMap, sync::Weak};

use tantivy::{DocId, SegmentReader, TantivyError, columnar::StrColumn};

use super::{Conditions, Entry, View, scan::Visitor, schema};
use crate::columns::{self, Values};

/// The number of some orders and the sum of their totals, by currency and status.
pub(crate) type Figure = BTreeMap<(String, i32), (u64, i128)>;

impl View {
    /// Counts and sums the matching orders. Blocks, as [`View::page`].
    pub(crate) fn figure(
        &self,
        conditions: &Conditions,
        caller: &Weak<()>,
    ) -> tantivy::Result<Figure> {
        let mut scan = FigureScan::default();
        self.scan(conditions, &mut scan, caller)?;
        let mut figure = scan.figure;
        let mut count = |entry: &Entry, by: i64| {
            if conditions.match_entry(entry) {
                let key = (entry.currency.clone(), entry.status);
                let (orders, sum) = figure.entry(key).or_default();
                *orders = orders.saturating_add_signed(by);
                *sum += i128::from(entry.total) * i128::from(by);
            }
        };
        for change in self.changes() {
            // The new state comes first, so that no count falls below zero on the way.
            count(&change.new, 1);
            if let Some(old) = &change.old {
                count(old, -1);
            }
        }
        figure.retain(|_, (orders, _)| *orders > 0);
        Ok(figure)
    }
}

/// Counts and sums the matches.
#[derive(Default)]
struct FigureScan {
    columns: Option<FigureColumns>,
    values: [Vec<u64>; 3],
    figure: Figure,
}

struct FigureColumns {
    /// Currencies, statuses and totals.
    columns: [Values; 3],
    names: StrColumn,
    /// The number of statuses that the segment may have.
    statuses: usize,
    /// By currency and status: that of status s in currency c is the one at c * `statuses` + s.
    sums: Vec<(u64, i128)>,
}

impl Visitor for FigureScan {
    fn begin(&mut self, segment: &SegmentReader) -> tantivy::Result<()> {
        let names = segment.fast_fields().str(schema::CURRENCY)?;
        // Each order has a currency.
        let names = names.ok_or(TantivyError::FieldNotFound(schema::CURRENCY.into()))?;
        let currencies = columns::ordinals(segment, schema::CURRENCY)?;
        let statuses = columns::values(segment, schema::STATUS)?;
        let totals = columns::values(segment, schema::TOTAL)?;
        // Statuses are small numbers.
        let count = statuses.max_value() as usize + 1;
        self.columns = Some(FigureColumns {
            columns: [currencies, statuses, totals],
            sums: vec![(0, 0); names.num_terms() * count],
            statuses: count,
            names,
        });
        Ok(())
    }

    fn visit(&mut self, documents: &[DocId]) {
        let Some(columns) = &mut self.columns else {
            return;
        };
        for (column, values) in columns.columns.iter().zip(&mut self.values) {
            columns::read(column, documents, values);
        }
        let [currencies, statuses, totals] = &self.values;
        for ((&currency, &status), &total) in currencies.iter().zip(statuses).zip(totals) {
            let line = currency as usize * columns.statuses + status as usize;
            let (orders, sum) = &mut columns.sums[line];
            *orders += 1;
            *sum += i128::from(columns::signed(total));
        }
    }

    fn end(&mut self) -> tantivy::Result<()> {
        let Some(columns) = self.columns.take() else {
            return Ok(());
        };
        for (line, (orders, sum)) in (0..).zip(columns.sums) {
            if orders == 0 {
                continue;
            }
            let statuses = columns.statuses as u64;
            let (currency, status) = (line / statuses, line % statuses);
            let mut code = String::new();
            columns.names.ord_to_str(currency, &mut code)?;
            let key = (code, schema::status(status));
            let all = self.figure.entry(key).or_default();
            all.0 += orders;
            all.1 += sum;
        }
        Ok(())
    }
}
