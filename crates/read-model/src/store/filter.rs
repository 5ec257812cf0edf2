//! Translates a filter into SQL: static text with every value bound.

use sqlx::{Encode, QueryBuilder, Sqlite, Type};

use crate::request::{Bound, OrderFilter, SortField};

/// The way to find a page's orders. SQLite knows neither the number of matches nor their
/// distribution, so the query decides. A `+` before a column keeps SQLite from using its index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// Few orders match: find all of them by any index of the filter, then sort them.
    Gather,
    /// Many orders match: follow the index of the sort order until the page is full.
    Walk,
}

impl Access {
    /// Picks the cheaper access. A walk visits about `limit * all / total` orders, and a gather
    /// visits `total`.
    pub(super) fn choose(total: u64, all: u64, limit: usize) -> Self {
        if u128::from(total).pow(2) > u128::from(all) * limit as u128 {
            Self::Walk
        } else {
            Self::Gather
        }
    }

    /// Returns the prefix of the sort column.
    pub(super) fn sort_prefix(self) -> &'static str {
        match self {
            Self::Gather => "+",
            Self::Walk => "",
        }
    }
}

pub(super) fn sort_column(field: SortField) -> &'static str {
    match field {
        SortField::CreatedAt => "created_at",
        SortField::UpdatedAt => "updated_at",
        SortField::TotalAmount => "total",
    }
}

/// The one equality with which an index starts that continues by the time of creation.
#[derive(PartialEq, Eq)]
enum Leading {
    Customer,
    Status,
}

impl Leading {
    fn of(filter: &OrderFilter, sort: Option<SortField>) -> Option<Self> {
        match (sort, filter.customer_ids.len(), filter.statuses.len()) {
            (Some(SortField::CreatedAt), 1, _) => Some(Self::Customer),
            (Some(SortField::CreatedAt), _, 1) => Some(Self::Status),
            _ => None,
        }
    }
}

/// Appends ` AND ...` for each condition on a row of `orders`.
pub(super) fn push_conditions(
    query: &mut QueryBuilder<Sqlite>,
    filter: &OrderFilter,
    access: Access,
    sort: Option<SortField>,
) {
    let leading = Leading::of(filter, sort);
    let column = |indexed: &'static str, free: &'static str, serves_walk: bool| {
        if access == Access::Gather || serves_walk {
            indexed
        } else {
            free
        }
    };
    let by = |field| sort == Some(field);
    push_in(
        query,
        column("order_id", "+order_id", false),
        &filter.order_ids,
    );
    push_in(
        query,
        column(
            "customer_id",
            "+customer_id",
            leading == Some(Leading::Customer),
        ),
        &filter.customer_ids,
    );
    push_in(
        query,
        column("status", "+status", leading == Some(Leading::Status)),
        &statuses(filter),
    );
    push_products(query, &filter.product_ids, access);
    let created = column("created_at", "+created_at", by(SortField::CreatedAt));
    push_limit(query, created, " >= ", filter.created_from);
    push_limit(query, created, " < ", filter.created_to);
    let total = column("total", "+total", by(SortField::TotalAmount));
    push_bound(query, total, " >= ", filter.min_total.as_ref());
    push_bound(query, total, " <= ", filter.max_total.as_ref());
}

/// Appends that a column is one of a list, unless the list is empty.
pub(super) fn push_in<'a, T>(query: &mut QueryBuilder<Sqlite>, column: &'static str, list: &'a [T])
where
    &'a T: Encode<'a, Sqlite> + Type<Sqlite>,
{
    if list.is_empty() {
        return;
    }
    query.push(" AND ").push(column).push(" IN (");
    let mut entries = query.separated(", ");
    for entry in list {
        entries.push_bind(entry);
    }
    query.push(")");
}

fn push_products(query: &mut QueryBuilder<Sqlite>, products: &[String], access: Access) {
    if products.is_empty() {
        return;
    }
    query.push(match access {
        Access::Gather => " AND row IN (SELECT row FROM order_products WHERE true",
        Access::Walk => " AND EXISTS (SELECT 1 FROM order_products p WHERE p.row = orders.row",
    });
    push_in(query, "product_id", products);
    query.push(")");
}

fn push_limit(
    query: &mut QueryBuilder<Sqlite>,
    column: &'static str,
    relation: &'static str,
    limit: Option<i64>,
) {
    if let Some(limit) = limit {
        query
            .push(" AND ")
            .push(column)
            .push(relation)
            .push_bind(limit);
    }
}

fn push_bound(
    query: &mut QueryBuilder<Sqlite>,
    column: &'static str,
    relation: &'static str,
    bound: Option<&Bound>,
) {
    let Some(bound) = bound else { return };
    push_limit(query, column, relation, Some(bound.amount));
    if let Some(currency) = &bound.currency {
        query.push(" AND currency = ").push_bind(currency.clone());
    }
}

/// Returns the numbers of a filter's statuses.
pub(super) fn statuses(filter: &OrderFilter) -> Vec<i32> {
    filter
        .statuses
        .iter()
        .map(|&status| status.into())
        .collect()
}
