//! Lists orders: filtered, sorted, in pages, with counts.

use contract::orders::v1::{Facet, FacetValue, Order, OrderStatus};
use sqlx::{QueryBuilder, Sqlite};

use super::{
    Error, Reader,
    filter::{Access, push_conditions, push_in, sort_column, statuses},
    reader::Snapshot,
    statistics::Scope,
};
use crate::{
    Row,
    request::{Cursor, FacetField, MAX_FACET_VALUES, OrderFilter, Sort},
};

/// A page of orders.
#[derive(Debug, Clone, PartialEq)]
pub struct Listing {
    /// The orders in the requested sort order.
    pub orders: Vec<Order>,
    /// The cursor of the last order, if more follow.
    pub next: Option<Cursor>,
    /// The number of matches over all pages.
    pub total: u64,
    /// The requested counts.
    pub facets: Vec<Facet>,
    /// The position of the snapshot.
    pub as_of: u64,
}

impl Reader {
    /// Returns the first orders after `after` that match the filter: `limit` of them, or fewer if
    /// they reach [`MAX_PAGE_BYTES`].
    ///
    /// [`MAX_PAGE_BYTES`]: super::MAX_PAGE_BYTES
    ///
    /// # Errors
    /// - [`Error::Sqlite`]: the file cannot be read.
    /// - [`Error::Damaged`]: a stored document cannot be decoded.
    pub async fn list(
        &self,
        filter: &OrderFilter,
        sort: Sort,
        after: Option<Cursor>,
        limit: usize,
        facets: &[FacetField],
    ) -> Result<Listing, Error> {
        let mut snapshot = self.snapshot().await?;
        let total = total(&mut snapshot, filter).await?;
        let all = summarised(&mut snapshot, &OrderFilter::default()).await?;
        let access = Access::choose(total, all, limit);
        // One row more than the page holds shows whether another page follows.
        let keys: Vec<(Row, i64)> = page(filter, sort, after, limit + 1, access)
            .build_query_as()
            .fetch_all(snapshot.connection())
            .await?;
        let rows: Vec<_> = keys.iter().take(limit).map(|(row, _)| *row).collect();
        let (documents, covered) = snapshot.page(&rows, |_| true).await?;
        let last = keys.iter().take(covered).next_back();
        let next = last
            .filter(|_| covered < keys.len())
            .map(|&(row, key)| Cursor { key, row: row.0 });
        let mut counts = Vec::with_capacity(facets.len());
        for field in facets {
            counts.push(facet(&mut snapshot, filter, *field).await?);
        }
        Ok(Listing {
            orders: documents
                .into_iter()
                .map(|document| document.order)
                .collect(),
            next,
            total,
            facets: counts,
            as_of: snapshot.as_of,
        })
    }
}

/// Builds the query for the rows and sort keys of a page.
pub(super) fn page(
    filter: &OrderFilter,
    sort: Sort,
    after: Option<Cursor>,
    limit: usize,
    access: Access,
) -> QueryBuilder<Sqlite> {
    let column = sort_column(sort.field);
    let free = access.sort_prefix();
    let (direction, beyond) = if sort.descending {
        (" DESC", " < (")
    } else {
        ("", " > (")
    };
    let mut query = QueryBuilder::new("SELECT row, ");
    query.push(column).push(" FROM orders WHERE true");
    push_conditions(&mut query, filter, access, Some(sort.field));
    if let Some(after) = after {
        query.push(" AND (").push(free).push(column).push(", row)");
        query.push(beyond).push_bind(after.key);
        query.push(", ").push_bind(Row(after.row)).push(")");
    }
    query
        .push(" ORDER BY ")
        .push(free)
        .push(column)
        .push(direction);
    query.push(", row").push(direction);
    query.push(" LIMIT ").push_bind(limit as i64);
    query
}

async fn total(snapshot: &mut Snapshot, filter: &OrderFilter) -> Result<u64, Error> {
    if is_summarised(filter) {
        return summarised(snapshot, filter).await;
    }
    let mut query = QueryBuilder::new("SELECT count(*) FROM orders WHERE true");
    push_conditions(&mut query, filter, Access::Gather, None);
    let count: i64 = query
        .build_query_scalar()
        .fetch_one(snapshot.connection())
        .await?;
    Ok(count.cast_unsigned())
}

/// Returns whether the statistics hold the counts of a filter, so that no order must be counted.
fn is_summarised(filter: &OrderFilter) -> bool {
    *filter
        == OrderFilter {
            customer_ids: filter.customer_ids.clone(),
            statuses: filter.statuses.clone(),
            ..OrderFilter::default()
        }
}

async fn summarised(snapshot: &mut Snapshot, filter: &OrderFilter) -> Result<u64, Error> {
    let mut query = QueryBuilder::new("SELECT coalesce(sum(orders), 0) FROM statistics");
    let scope = if filter.customer_ids.is_empty() {
        Scope::All
    } else {
        Scope::Customer
    };
    push_summarised(&mut query, filter, scope);
    let count: i64 = query
        .build_query_scalar()
        .fetch_one(snapshot.connection())
        .await?;
    Ok(count.cast_unsigned())
}

fn push_summarised(query: &mut QueryBuilder<Sqlite>, filter: &OrderFilter, scope: Scope) {
    query.push(" WHERE scope = ").push_bind(scope as i64);
    push_in(query, "subject", &filter.customer_ids);
    push_in(query, "status", &statuses(filter));
}

async fn facet(
    snapshot: &mut Snapshot,
    filter: &OrderFilter,
    field: FacetField,
) -> Result<Facet, Error> {
    let mut query = counts(filter, field);
    query.push(" GROUP BY value ORDER BY count DESC, value LIMIT ");
    query.push_bind(MAX_FACET_VALUES as i64);
    let values: Vec<(String, i64)> = query
        .build_query_as()
        .fetch_all(snapshot.connection())
        .await?;
    let mut values: Vec<_> = values
        .into_iter()
        .map(|(value, count)| FacetValue {
            value: match field {
                FacetField::Status => status_name(&value),
                FacetField::CustomerId | FacetField::ProductId => value,
            },
            count: count.cast_unsigned(),
        })
        .collect();
    // SQL sorts the statuses by number, and the facet sorts them by name.
    values.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.value.cmp(&b.value)));
    Ok(Facet {
        field: field.name().to_owned(),
        values,
    })
}

fn status_name(number: &str) -> String {
    let status = number
        .parse()
        .ok()
        .and_then(|number: i32| number.try_into().ok());
    status
        .unwrap_or(OrderStatus::Unspecified)
        .as_str_name()
        .to_owned()
}

/// Builds the SELECT of `value, count` for a facet, up to its conditions.
fn counts(filter: &OrderFilter, field: FacetField) -> QueryBuilder<Sqlite> {
    let (column, scope) = match field {
        FacetField::Status if filter.customer_ids.is_empty() => ("status", Scope::All),
        FacetField::Status => ("status", Scope::Customer),
        FacetField::CustomerId => ("subject", Scope::Customer),
        FacetField::ProductId => return product_counts(filter),
    };
    if is_summarised(filter) {
        let mut query = QueryBuilder::new("SELECT CAST(");
        query.push(column);
        query.push(" AS TEXT) AS value, sum(orders) AS count FROM statistics");
        push_summarised(&mut query, filter, scope);
        query.push(" AND orders <> 0");
        return query;
    }
    let mut query = QueryBuilder::new("SELECT CAST(");
    query.push(match field {
        FacetField::Status => "status",
        FacetField::CustomerId | FacetField::ProductId => "customer_id",
    });
    query.push(" AS TEXT) AS value, count(*) AS count FROM orders WHERE true");
    push_conditions(&mut query, filter, Access::Gather, None);
    query
}

fn product_counts(filter: &OrderFilter) -> QueryBuilder<Sqlite> {
    let mut query =
        QueryBuilder::new("SELECT product_id AS value, count(*) AS count FROM order_products");
    if *filter != OrderFilter::default() {
        query.push(" WHERE row IN (SELECT row FROM orders WHERE true");
        push_conditions(&mut query, filter, Access::Gather, None);
        query.push(")");
    }
    query
}
