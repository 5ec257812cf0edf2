//! The entry of an order in the lists, and the conditions that select entries.

use contract::orders::v1::Order;
use wire::convert;

use crate::{
    Row,
    request::{Bound, OrderFilter, SortField},
};

/// The values that lists filter, sort and count an order by. Customers and products are the numbers
/// that the documents gave them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) row: Row,
    pub(crate) customer: u64,
    /// The distinct products of the order's items, sorted.
    pub(crate) products: Box<[u64]>,
    pub(crate) status: i32,
    /// Nanoseconds since 1970.
    pub(crate) created_at: i64,
    /// Nanoseconds since 1970.
    pub(crate) updated_at: i64,
    /// The total in units of 1/10,000 of the currency.
    pub(crate) total: i64,
    pub(crate) currency: String,
}

impl Entry {
    /// Builds the entry of an order. The projection has rejected invalid amounts and times.
    pub(crate) fn new(row: Row, order: &Order, customer: u64, mut products: Vec<u64>) -> Self {
        products.sort_unstable();
        products.dedup();
        let time = |time: &Option<_>| time.as_ref().and_then(convert::nanoseconds).unwrap_or(0);
        let total = order.total_amount.as_ref();
        Self {
            row,
            customer,
            products: products.into(),
            status: order.status,
            created_at: time(&order.created_at),
            updated_at: time(&order.updated_at),
            total: total.and_then(convert::amount).unwrap_or(0),
            currency: total.map_or_else(String::new, |total| total.currency_code.clone()),
        }
    }

    pub(super) fn sort_value(&self, field: SortField) -> i64 {
        match field {
            SortField::CreatedAt => self.created_at,
            SortField::UpdatedAt => self.updated_at,
            SortField::TotalAmount => self.total,
        }
    }
}

/// A filter whose ids are replaced by rows and numbers. `None` is no condition, and an empty list
/// matches nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Conditions {
    pub(crate) rows: Option<Vec<Row>>,
    pub(crate) customers: Option<Vec<u64>>,
    pub(crate) products: Option<Vec<u64>>,
    pub(crate) statuses: Option<Vec<i32>>,
    pub(crate) created_from: Option<i64>,
    pub(crate) created_to: Option<i64>,
    pub(crate) min_total: Option<Bound>,
    pub(crate) max_total: Option<Bound>,
}

impl Conditions {
    /// Takes over the conditions of a filter that need no number.
    pub(crate) fn of(filter: &OrderFilter) -> Self {
        let statuses = filter.statuses.iter().map(|&status| status.into());
        Self {
            statuses: (!filter.statuses.is_empty()).then(|| sorted(statuses)),
            created_from: filter.created_from,
            created_to: filter.created_to,
            min_total: filter.min_total.clone(),
            max_total: filter.max_total.clone(),
            ..Self::default()
        }
    }

    /// Returns whether an order meets every condition. The lists of the conditions are sorted.
    pub(super) fn match_entry(&self, entry: &Entry) -> bool {
        fn any<T: Ord>(wanted: Option<&Vec<T>>, values: &[T]) -> bool {
            wanted.is_none_or(|wanted| {
                values
                    .iter()
                    .any(|value| wanted.binary_search(value).is_ok())
            })
        }
        let within = |bound: &Option<Bound>, holds: fn(&i64, &i64) -> bool| {
            bound.as_ref().is_none_or(|bound| {
                let currency = bound.currency.as_ref();
                holds(&entry.total, &bound.amount)
                    && currency.is_none_or(|wanted| *wanted == entry.currency)
            })
        };
        any(self.rows.as_ref(), &[entry.row])
            && any(self.customers.as_ref(), &[entry.customer])
            && any(self.products.as_ref(), &entry.products)
            && any(self.statuses.as_ref(), &[entry.status])
            && self
                .created_from
                .is_none_or(|from| entry.created_at >= from)
            && self.created_to.is_none_or(|to| entry.created_at < to)
            && within(&self.min_total, i64::ge)
            && within(&self.max_total, i64::le)
    }
}

/// Collects values into a sorted list, as [`Conditions`] holds them.
pub(crate) fn sorted<T: Ord>(values: impl IntoIterator<Item = T>) -> Vec<T> {
    let mut values: Vec<_> = values.into_iter().collect();
    values.sort_unstable();
    values.dedup();
    values
}
