//! The filter, sort order, cursor and facets of a query, shared by the store and the search
//! engines.

use contract::orders::v1::{Order, OrderStatus};
use wire::convert;

/// Conditions that must all hold; an empty list or `None` is no condition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OrderFilter {
    /// Matches any of these orders.
    pub order_ids: Vec<String>,
    /// Matches the orders of any of these customers.
    pub customer_ids: Vec<String>,
    /// Matches any of these statuses.
    pub statuses: Vec<OrderStatus>,
    /// Matches orders with an item of any of these products.
    pub product_ids: Vec<String>,
    /// Matches orders created at this time or later, in nanoseconds since 1970.
    pub created_from: Option<i64>,
    /// Matches orders created before this time, in nanoseconds since 1970.
    pub created_to: Option<i64>,
    /// Matches orders with a total of at least this.
    pub min_total: Option<Bound>,
    /// Matches orders with a total of at most this.
    pub max_total: Option<Bound>,
}

/// A limit on an order's total.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bound {
    /// The amount in units of 1/10,000 of the currency.
    pub amount: i64,
    /// Restricts the match to orders in this currency, if set.
    pub currency: Option<String>,
}

impl OrderFilter {
    /// Returns whether an order meets every condition.
    #[must_use]
    pub fn matches(&self, order: &Order) -> bool {
        fn any<T>(list: &[T], mut test: impl FnMut(&T) -> bool) -> bool {
            list.is_empty() || list.iter().any(&mut test)
        }
        let created = order
            .created_at
            .as_ref()
            .and_then(convert::nanoseconds)
            .unwrap_or(0);
        let total = order.total_amount.clone().unwrap_or_default();
        let amount = convert::amount(&total).unwrap_or(0);
        let within = |bound: &Option<Bound>, holds: fn(&i64, &i64) -> bool| {
            bound.as_ref().is_none_or(|bound| {
                let currency = bound.currency.as_ref();
                holds(&amount, &bound.amount)
                    && currency.is_none_or(|wanted| *wanted == total.currency_code)
            })
        };
        any(&self.order_ids, |id| *id == order.order_id)
            && any(&self.customer_ids, |id| *id == order.customer_id)
            && any(&self.statuses, |status| *status == order.status())
            && any(&self.product_ids, |id| {
                order.items.iter().any(|item| item.product_id == *id)
            })
            && self.created_from.is_none_or(|from| created >= from)
            && self.created_to.is_none_or(|to| created < to)
            && within(&self.min_total, i64::ge)
            && within(&self.max_total, i64::le)
    }
}

/// A field to sort by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SortField {
    /// The time of the order's creation.
    CreatedAt,
    /// The time of the order's last event.
    UpdatedAt,
    /// The order's total as a plain number, regardless of its currency.
    TotalAmount,
}

/// A sort order. Orders with equal values sort by row, in the same direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sort {
    /// The field that decides the order.
    pub field: SortField,
    /// Puts the largest or newest first.
    pub descending: bool,
}

/// The end of a page, after which the next page begins, even if orders changed in between.
///
/// The store or engine that made the page chooses the content. Under a sort field it is the page's
/// last order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// The last order's sort value: nanoseconds since 1970 or 1/10,000 of a currency. Without a
    /// sort field it is a score, or the number of hits so far.
    pub key: i64,
    /// The last order's row, which is the position of the event that created it. An engine that
    /// counts hits stores the newest row at the time of the first page.
    pub row: u64,
}

/// A field whose values group the matching orders for counting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FacetField {
    /// `status`: the values are names of [`OrderStatus`].
    Status,
    /// `customer_id`.
    CustomerId,
    /// `product_id`: an order counts once for each of its products.
    ProductId,
}

impl FacetField {
    /// Returns the field's name in the contract.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::CustomerId => "customer_id",
            Self::ProductId => "product_id",
        }
    }
}

/// Limits the values in a facet of an answer: the largest counts first, and equal counts by value.
pub const MAX_FACET_VALUES: usize = 100;
