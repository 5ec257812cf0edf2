//! Counts and sums of orders.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Weak},
};

use tantivy::{
    DocId, SegmentReader, TantivyError,
    columnar::{ColumnValues, StrColumn},
};

use super::{Conditions, Entry, View, scan::Visitor, schema};

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
    figure: Figure,
}

struct FigureColumns {
    statuses: Arc<dyn ColumnValues<u64>>,
    totals: Arc<dyn ColumnValues<i64>>,
    currencies: StrColumn,
    /// By the ordinal of the currency in the segment, and status.
    sums: HashMap<(u64, u64), (u64, i128)>,
}

impl Visitor for FigureScan {
    fn begin(&mut self, segment: &SegmentReader) -> tantivy::Result<()> {
        let columns = segment.fast_fields();
        let currencies = columns.str(schema::CURRENCY)?;
        // Each order has a currency.
        let currencies = currencies.ok_or(TantivyError::FieldNotFound(schema::CURRENCY.into()))?;
        let statuses = columns.column_first_or_default(schema::STATUS)?;
        let totals = columns.column_first_or_default(schema::TOTAL)?;
        self.columns = Some(FigureColumns {
            statuses,
            totals,
            currencies,
            sums: HashMap::new(),
        });
        Ok(())
    }

    fn visit(&mut self, documents: &[DocId]) {
        let Some(columns) = &mut self.columns else {
            return;
        };
        for &document in documents {
            let currency = columns.currencies.term_ords(document).next().unwrap_or(0);
            let status = columns.statuses.get_val(document);
            let (orders, sum) = columns.sums.entry((currency, status)).or_default();
            *orders += 1;
            *sum += i128::from(columns.totals.get_val(document));
        }
    }

    fn end(&mut self) -> tantivy::Result<()> {
        let Some(columns) = self.columns.take() else {
            return Ok(());
        };
        for ((currency, status), (orders, sum)) in columns.sums {
            let mut code = String::new();
            columns.currencies.ord_to_str(currency, &mut code)?;
            let key = (code, schema::status(status));
            let all = self.figure.entry(key).or_default();
            all.0 += orders;
            all.1 += sum;
        }
        Ok(())
    }
}
