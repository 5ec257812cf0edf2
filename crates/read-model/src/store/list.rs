//! Lists orders: the index of lists finds and counts them, and the file has their documents.

use std::{
    io,
    sync::{Arc, Weak},
};

use contract::orders::v1::{Facet, FacetValue, Order, OrderStatus};

use super::{Error, Reader, json, snapshot::Snapshot};
use crate::{
    Row,
    lists::{Conditions, Counts, PageRequest, View, sorted},
    request::{Cursor, FacetField, MAX_FACET_VALUES, OrderFilter, Sort},
};

/// Maximum number of customers or products that are looked up at once.
const MAX_NAMED_AT_ONCE: usize = 1000;

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
    /// The log that the documents are made from. Empty before the first batch.
    pub log_id: String,
}

impl Reader {
    /// Returns the first orders after `after` that match the filter: `limit` of them, or fewer if
    /// they reach [`MAX_PAGE_BYTES`].
    ///
    /// [`MAX_PAGE_BYTES`]: super::MAX_PAGE_BYTES
    ///
    /// # Errors
    /// - [`Error::Sqlite`] or [`Error::Lists`]: the file or the index of lists cannot be read.
    /// - [`Error::Damaged`]: a stored document cannot be decoded.
    /// - [`Error::Unlisted`]: the index of lists is being filled.
    pub async fn list(
        &self,
        filter: &OrderFilter,
        sort: Sort,
        after: Option<Cursor>,
        limit: usize,
        facets: &[FacetField],
    ) -> Result<Listing, Error> {
        let (mut snapshot, view) = self.snapshot_with_lists().await?;
        let request = PageRequest {
            conditions: snapshot.conditions(filter).await?,
            sort,
            after,
            // One order more than the page holds shows whether another page follows.
            limit: limit + 1,
            facets: facets.to_vec(),
        };
        let found = scan(view, move |view, caller| view.page(request, caller)).await?;
        let rows: Vec<_> = found.orders.iter().map(|order| Row(order.row)).collect();
        let (documents, covered) = snapshot
            .page(&rows[..rows.len().min(limit)], |_| true)
            .await?;
        let last = found.orders[..covered].last();
        let next = last.filter(|_| covered < found.orders.len()).copied();
        let mut counts = Vec::with_capacity(facets.len());
        for (&field, numbers) in facets.iter().zip(found.facets) {
            counts.push(snapshot.facet(field, numbers).await?);
        }
        let orders = documents.into_iter().map(|document| document.order);
        Ok(Listing {
            orders: orders.collect(),
            next,
            total: found.total,
            facets: counts,
            as_of: snapshot.as_of,
            log_id: snapshot.log_id(),
        })
    }
}

impl Reader {
    /// Returns the first orders after `after` that match the filter, without their documents: at most
    /// `limit`. Returns the position of the snapshot too.
    ///
    /// # Errors
    /// - [`Error::Sqlite`] or [`Error::Lists`]: the file or the index of lists cannot be read.
    /// - [`Error::Unlisted`]: the index of lists is being filled.
    pub async fn find(
        &self,
        filter: &OrderFilter,
        sort: Sort,
        after: Option<Cursor>,
        limit: usize,
    ) -> Result<(Vec<Cursor>, u64), Error> {
        let (mut snapshot, view) = self.snapshot_with_lists().await?;
        let as_of = snapshot.as_of;
        let request = PageRequest {
            conditions: snapshot.conditions(filter).await?,
            sort,
            after,
            limit,
            facets: Vec::new(),
        };
        drop(snapshot);
        let found = scan(view, move |view, caller| view.page(request, caller)).await?;
        Ok((found.orders, as_of))
    }
}

/// Runs `work` on a blocking thread. The caller of `work` exists until this future is dropped.
pub(super) async fn scan<T: Send + 'static>(
    view: View,
    work: impl FnOnce(&View, &Weak<()>) -> tantivy::Result<T> + Send + 'static,
) -> Result<T, Error> {
    let caller = Arc::new(());
    let exists = Arc::downgrade(&caller);
    let worked = tokio::task::spawn_blocking(move || work(&view, &exists)).await;
    drop(caller);
    Ok(worked.map_err(io::Error::other)??)
}

impl Snapshot {
    /// Translates a filter into the terms of the index of lists.
    async fn conditions(&mut self, filter: &OrderFilter) -> Result<Conditions, Error> {
        const ROWS: &str =
            "SELECT row FROM orders WHERE order_id IN (SELECT value FROM json_each(?))";
        const CUSTOMERS: &str =
            "SELECT number FROM customers WHERE customer_id IN (SELECT value FROM json_each(?))";
        const PRODUCTS: &str =
            "SELECT number FROM products WHERE product_id IN (SELECT value FROM json_each(?))";
        let rows = self.numbers(ROWS, &filter.order_ids).await?;
        Ok(Conditions {
            rows: rows.map(|rows| rows.into_iter().map(Row).collect()),
            customers: self.numbers(CUSTOMERS, &filter.customer_ids).await?,
            products: self.numbers(PRODUCTS, &filter.product_ids).await?,
            ..Conditions::of(filter)
        })
    }

    /// Returns the sorted numbers of ids; `None` if there are no ids.
    async fn numbers(
        &mut self,
        select: &'static str,
        ids: &[String],
    ) -> Result<Option<Vec<u64>>, Error> {
        if ids.is_empty() {
            return Ok(None);
        }
        let numbers: Vec<i64> = sqlx::query_scalar(select)
            .bind(json(ids)?)
            .fetch_all(self.connection())
            .await?;
        let numbers = numbers.into_iter().map(i64::cast_unsigned);
        Ok(Some(sorted(numbers)))
    }

    /// Names the numbers of a facet: the largest counts first, and equal counts by value.
    async fn facet(&mut self, field: FacetField, counts: Counts) -> Result<Facet, Error> {
        let mut values = self.names_of(field, &counts.largest).await?;
        let room = MAX_FACET_VALUES - values.len();
        let (count, numbers) = counts.next;
        // Only the first by value have room, and there may be very many.
        let mut equal = Vec::new();
        for numbers in numbers.chunks(MAX_NAMED_AT_ONCE) {
            let numbers: Vec<_> = numbers.iter().map(|&number| (number, count)).collect();
            equal.extend(self.names_of(field, &numbers).await?);
            equal.sort_unstable();
            equal.truncate(room);
        }
        values.extend(equal);
        let mut values: Vec<_> = values
            .into_iter()
            .map(|(value, count)| FacetValue { value, count })
            .collect();
        values.sort_unstable_by(|a, b| b.count.cmp(&a.count).then_with(|| a.value.cmp(&b.value)));
        Ok(Facet {
            field: field.name().to_owned(),
            values,
        })
    }

    /// Replaces the numbers of a facet by the values that they stand for.
    async fn names_of(
        &mut self,
        field: FacetField,
        counts: &[(u64, u64)],
    ) -> Result<Vec<(String, u64)>, Error> {
        let select = match field {
            FacetField::Status => {
                let name = |&(number, count)| (status_name(number).to_owned(), count);
                return Ok(counts.iter().map(name).collect());
            }
            FacetField::CustomerId => {
                "SELECT customer_id, value ->> 1 FROM json_each(?) \
                 JOIN customers ON number = value ->> 0"
            }
            FacetField::ProductId => {
                "SELECT product_id, value ->> 1 FROM json_each(?) \
                 JOIN products ON number = value ->> 0"
            }
        };
        let named: Vec<(String, i64)> = sqlx::query_as(select)
            .bind(json(counts)?)
            .fetch_all(self.connection())
            .await?;
        let named = named.into_iter();
        Ok(named
            .map(|(value, count)| (value, count.cast_unsigned()))
            .collect())
    }
}

fn status_name(number: u64) -> &'static str {
    let status = i32::try_from(number)
        .ok()
        .and_then(|number| number.try_into().ok());
    status.unwrap_or(OrderStatus::Unspecified).as_str_name()
}
