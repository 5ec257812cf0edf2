//! Translates a request into a search of Meilisearch.

use std::collections::HashMap;

use meilisearch_sdk::{
    client::Client,
    search::{MatchingStrategies, SearchQuery, Selectors},
};

use super::{
    document::{halves, key},
    http::Http,
    settings::LOCALES,
};
use crate::{
    Row,
    request::{Bound, Cursor, FacetField, OrderFilter, Sort, SortField},
    search::{SearchRequest, tokens},
};

/// A search in the form that the server receives.
pub(super) struct Query {
    words: Vec<String>,
    filter: String,
    sort: Option<Sort>,
    facets: Vec<&'static str>,
    offset: usize,
    limit: usize,
    /// Excludes orders after this row, because they would shift the pages.
    newest: u64,
}

/// Returns the name of a field that holds a number in two halves, without the suffix of the halves.
fn field(sort: SortField) -> &'static str {
    match sort {
        SortField::CreatedAt => "created",
        SortField::UpdatedAt => "updated",
        SortField::TotalAmount => "total",
    }
}

/// Returns the field whose values a facet counts.
pub(super) fn facet(field: FacetField) -> &'static str {
    match field {
        FacetField::Status => "status",
        FacetField::CustomerId => "customer",
        FacetField::ProductId => "products",
    }
}

impl From<SearchRequest> for Query {
    fn from(request: SearchRequest) -> Self {
        // The first page, and pages by score, count all matches. A later page of a sort excludes
        // earlier hits, so another search counts.
        let counts = request.after.is_none() || request.sort.is_none();
        let words: Vec<_> = tokens::texts(&request.query);
        let mut conditions = conditions(&request.filter);
        if words.is_empty() {
            // Without words every document matches, including the checkpoint, which has no row.
            let is_blank = request.query.trim().is_empty();
            conditions.push(if is_blank { "row >= 0" } else { "row < 0" }.to_owned());
        }
        let (mut offset, mut newest) = (0, request.newest);
        match (request.sort, request.after) {
            (_, None) => {}
            (None, Some(after)) => {
                offset = usize::try_from(after.key).unwrap_or(0);
                newest = after.row;
            }
            (Some(sort), Some(after)) => conditions.push(behind(sort, after)),
        }
        if newest < u64::MAX {
            conditions.push(format!("row <= {newest}"));
        }
        Self {
            words,
            filter: conditions.join(" AND "),
            sort: request.sort,
            facets: match counts {
                true => request.facets.iter().map(|field| facet(*field)).collect(),
                false => Vec::new(),
            },
            offset,
            limit: request.limit,
            newest,
        }
    }
}

impl Query {
    /// Builds the search in an index and passes it to `ask`. The search requests one hit more than
    /// the page holds, to know whether more follow.
    pub(super) fn with<T>(
        &self,
        client: &Client<Http>,
        uid: &str,
        ask: impl FnOnce(&SearchQuery<'_, Http>) -> T,
    ) -> T {
        let index = client.index(uid);
        let words = self.words.join(" ");
        let sort = self.sort.map(order).unwrap_or_default();
        let sort: Vec<_> = sort.iter().map(String::as_str).collect();
        let numbers = self.sort.map(halves_of);
        let shown: Vec<_> = numbers
            .iter()
            .flatten()
            .map(String::as_str)
            .chain(["row"])
            .collect();
        let mut query = SearchQuery::new(&index);
        query
            .with_query(&words)
            .with_matching_strategy(MatchingStrategies::ALL)
            .with_locales(&LOCALES)
            .with_attributes_to_retrieve(Selectors::Some(&shown))
            .with_offset(self.offset)
            .with_limit(self.limit.saturating_add(1));
        if !self.filter.is_empty() {
            query.with_filter(&self.filter);
        }
        if !sort.is_empty() {
            query.with_sort(&sort);
        }
        if !self.facets.is_empty() {
            query.with_facets(Selectors::Some(&self.facets));
        }
        ask(&query)
    }

    /// Returns the number of words in the query.
    pub(super) fn words(&self) -> usize {
        self.words.len()
    }

    /// Returns the cursor of a page that ends with this hit: the order's number and row. By
    /// relevance, it is the number of hits so far and the newest row of the first page.
    pub(super) fn behind(&self, index: usize, numbers: &HashMap<String, i64>, row: Row) -> Cursor {
        let number = |name: &String| numbers.get(name).copied().unwrap_or(0);
        match self.sort.map(halves_of) {
            Some([high, low]) => Cursor {
                key: number(&high) << 32 | number(&low),
                row: row.0,
            },
            None => Cursor {
                key: i64::try_from(self.offset + index + 1).unwrap_or(i64::MAX),
                row: self.newest,
            },
        }
    }
}

/// Returns the two fields that hold the sort value.
fn halves_of(sort: Sort) -> [String; 2] {
    ["high", "low"].map(|half| format!("{}_{half}", field(sort.field)))
}

fn order(sort: Sort) -> Vec<String> {
    let direction = if sort.descending { "desc" } else { "asc" };
    let fields = halves_of(sort).into_iter().chain(["row".to_owned()]);
    fields.map(|field| format!("{field}:{direction}")).collect()
}

/// Builds the condition for orders after a cursor.
fn behind(
    Sort {
        field: by,
        descending,
    }: Sort,
    after: Cursor,
) -> String {
    let by = field(by);
    let beyond = if descending { "<" } else { ">" };
    let (high, low) = halves(after.key);
    let row = after.row;
    format!(
        "({by}_high {beyond} {high} OR ({by}_high = {high} AND ({by}_low {beyond} {low} \
         OR ({by}_low = {low} AND row {beyond} {row}))))"
    )
}

/// Builds a comparison of a field in two halves with `number`; `strictly` is `<` or `>`.
fn compared(by: &str, strictly: char, or_equal: bool, number: i64) -> String {
    let (high, low) = halves(number);
    let equal = if or_equal { "=" } else { "" };
    format!(
        "({by}_high {strictly} {high} OR ({by}_high = {high} AND {by}_low {strictly}{equal} {low}))"
    )
}

fn conditions(filter: &OrderFilter) -> Vec<String> {
    let mut conditions = Vec::new();
    let mut any = |field: &str, values: Vec<String>| {
        if !values.is_empty() {
            let values: Vec<_> = values.iter().map(|value| quoted(value)).collect();
            conditions.push(format!("{field} IN [{}]", values.join(", ")));
        }
    };
    let keys = |ids: &[String]| ids.iter().map(|id| key(id)).collect();
    any("order", keys(&filter.order_ids));
    any("customer", keys(&filter.customer_ids));
    any("products", keys(&filter.product_ids));
    let statuses = filter.statuses.iter();
    any(
        "status",
        statuses
            .map(|status| status.as_str_name().to_owned())
            .collect(),
    );
    let currency = |bound: &Option<Bound>| {
        let currency = bound.as_ref().and_then(|bound| bound.currency.clone());
        currency.into_iter().collect()
    };
    any("currency", currency(&filter.min_total));
    any("currency", currency(&filter.max_total));
    if let Some(from) = filter.created_from {
        conditions.push(compared("created", '>', true, from));
    }
    if let Some(to) = filter.created_to {
        conditions.push(compared("created", '<', false, to));
    }
    if let Some(min) = &filter.min_total {
        conditions.push(compared("total", '>', true, min.amount));
    }
    if let Some(max) = &filter.max_total {
        conditions.push(compared("total", '<', true, max.amount));
    }
    conditions
}

/// Quotes a value, so that no character in it acts as an operator.
fn quoted(value: &str) -> String {
    format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
}
