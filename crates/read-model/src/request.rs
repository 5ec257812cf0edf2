//! Which orders, sorted how, from where on: what the store and the search engines are asked.

use contract::orders::v1::{Order, OrderStatus};
use wire::convert;

/// Conditions that must all hold; an empty list or `None` is no condition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Any of these orders.
    pub order_ids: Vec<String>,
    /// Any of these customers.
    pub customer_ids: Vec<String>,
    /// Any of these states.
    pub statuses: Vec<OrderStatus>,
    /// An item of any of these products.
    pub product_ids: Vec<String>,
    /// Created at this time or later; nanoseconds since 1970.
    pub created_from: Option<i64>,
    /// Created before this time; nanoseconds since 1970.
    pub created_to: Option<i64>,
    /// A total of at least this.
    pub min_total: Option<Bound>,
    /// A total of at most this.
    pub max_total: Option<Bound>,
}

/// A limit on an order's total.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bound {
    /// In units of 1/10,000 of the currency.
    pub amount: i64,
    /// If set, only orders in this currency match.
    pub currency: Option<String>,
}

impl Filter {
    /// Whether an order is one of those.
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
    /// When the order was created.
    CreatedAt,
    /// When it last changed.
    UpdatedAt,
    /// Its total, as a number, whatever the currency.
    TotalAmount,
}

/// How to sort; equal ones by row, in the same direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sort {
    /// By what.
    pub field: SortField,
    /// Largest, or newest, first.
    pub descending: bool,
}

/// Where a page ends: the next one begins behind it, whatever came in between. It is what the store
/// or the engine that made the page wants it to be; sorted by a field, its last order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// Its value of what the page is sorted by: nanoseconds since 1970, 1/10,000 of a currency,
    /// a search engine's score, or how many hits came before.
    pub key: i64,
    /// Its row: the position of the event that created it. For an engine that counts hits, the
    /// newest row that was there when the first page was made.
    pub row: u64,
}

/// What matching orders are counted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FacetField {
    /// `status`: values are the names of [`OrderStatus`].
    Status,
    /// `customer_id`.
    CustomerId,
    /// `product_id`: an order counts once for each product it has.
    ProductId,
}

impl FacetField {
    /// Its name in the contract.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::CustomerId => "customer_id",
            Self::ProductId => "product_id",
        }
    }
}

/// How many values of a facet are told, those with the most orders first (equal ones by value).
pub const FACET_VALUES: usize = 100;
