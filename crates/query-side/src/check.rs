//! Validates requests and converts them to the read model's terms.

use contract::{
    google::r#type::Money,
    orders::v1::{OrderStatus, SearchOrdersRequest, WatchOrdersRequest},
};
use prost_types::Timestamp;
use read_model::{
    request::{Bound, FacetField, OrderFilter, Sort, SortField},
    search::MAX_HIGHLIGHTS,
    store::MAX_PAGE_BYTES,
};
use wire::{Limit, Violations};

/// Maximum number of entries in each list of a filter.
const MAX_ENTRIES: usize = 1000;

/// Maximum number of characters of free text.
const MAX_QUERY_CHARS: usize = 500;

/// Maximum number of words of free text: the engine searches each word in every field.
const MAX_QUERY_WORDS: usize = 40;

pub(crate) const LIMITS: [Limit; 7] = [
    Limit::new(
        "entries of each list of a query",
        MAX_ENTRIES as u64,
        "`INVALID_FIELD`",
    ),
    Limit::new(
        "characters of the free text of a search",
        MAX_QUERY_CHARS as u64,
        "`INVALID_FIELD`",
    ),
    Limit::new(
        "words of the free text of a search",
        MAX_QUERY_WORDS as u64,
        "`INVALID_FIELD`",
    ),
    Limit::new(
        "orders on a page, 50 by default",
        MAX_PAGE_SIZE as u64,
        "`INVALID_FIELD`",
    ),
    Limit::new(
        "days of a `GetStatistics` reply",
        MAX_DAYS as u64,
        "`INVALID_FIELD` for a greater `page_size`",
    ),
    Limit::new(
        "bytes of orders in a response, unless it has one order",
        MAX_PAGE_BYTES as u64,
        "the rest follows on the next page",
    ),
    Limit::new(
        "highlights of an order",
        MAX_HIGHLIGHTS as u64,
        "the first ones",
    ),
];

/// Default number of orders on a page.
const DEFAULT_PAGE_SIZE: u32 = 50;

/// Maximum number of orders on a page.
const MAX_PAGE_SIZE: u32 = 500;

/// Maximum and default number of days in a reply of GetStatistics.
const MAX_DAYS: u32 = 1000;

/// A validated SearchOrders request, without its wait and page token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Search {
    /// The free text, empty for filters only.
    pub query: String,
    /// The conditions on the orders.
    pub filter: OrderFilter,
    /// The sort order. `None` selects the default of the kind of search.
    pub sort: Option<Sort>,
    /// The number of orders on a page.
    pub limit: usize,
    /// The fields by which the matching orders are counted.
    pub facets: Vec<FacetField>,
}

/// Converts a SearchOrders request, and adds each invalid field to `violations`.
pub fn search(request: SearchOrdersRequest, violations: &mut Violations) -> Search {
    violations.at_most("query", &request.query, MAX_QUERY_CHARS);
    let counted: String = request.query.chars().take(MAX_QUERY_CHARS).collect();
    let words = read_model::search::count_words(&counted);
    violations.check(
        words <= MAX_QUERY_WORDS,
        "query",
        "must have at most 40 words",
    );
    let sort = sort(&request.order_by, violations);
    let within = request.page_size <= MAX_PAGE_SIZE;
    violations.check(within, "page_size", "must be at most 500");
    let limit = if request.page_size == 0 {
        DEFAULT_PAGE_SIZE
    } else {
        request.page_size
    };
    let facets = facets(&request.facets, violations);
    let conditions = WatchOrdersRequest {
        customer_ids: request.customer_ids,
        statuses: request.statuses,
        product_ids: request.product_ids,
        created_from: request.created_from,
        created_to: request.created_to,
        min_total: request.min_total,
        max_total: request.max_total,
        ..WatchOrdersRequest::default()
    };
    let filter = filter(conditions, violations);
    Search {
        query: request.query,
        filter,
        sort,
        limit: limit as usize,
        facets,
    }
}

/// Returns the number of days in a reply of GetStatistics. Adds an invalid one to `violations`.
pub fn days(page_size: u32, violations: &mut Violations) -> usize {
    violations.check(page_size <= MAX_DAYS, "page_size", "must be at most 1000");
    let days = if page_size == 0 { MAX_DAYS } else { page_size };
    days as usize
}

/// Converts the filter of a WatchOrders request, which has every condition of a SearchOrders
/// request too. Adds each invalid field to `violations`.
pub fn filter(request: WatchOrdersRequest, violations: &mut Violations) -> OrderFilter {
    OrderFilter {
        order_ids: ids("order_ids", request.order_ids, violations),
        customer_ids: ids("customer_ids", request.customer_ids, violations),
        statuses: statuses(&request.statuses, violations),
        product_ids: ids("product_ids", request.product_ids, violations),
        created_from: time("created_from", request.created_from, violations),
        created_to: time("created_to", request.created_to, violations),
        min_total: bound("min_total", request.min_total, violations),
        max_total: bound("max_total", request.max_total, violations),
    }
}

fn ids(field: &str, ids: Vec<String>, violations: &mut Violations) -> Vec<String> {
    violations.entries(field, &ids, MAX_ENTRIES);
    for (index, id) in ids.iter().enumerate().take(MAX_ENTRIES) {
        violations.id(format!("{field}[{index}]"), id);
    }
    ids
}

fn statuses(statuses: &[i32], violations: &mut Violations) -> Vec<OrderStatus> {
    violations.entries("statuses", statuses, MAX_ENTRIES);
    let mut known = Vec::new();
    for (index, status) in statuses.iter().enumerate().take(MAX_ENTRIES) {
        match OrderStatus::try_from(*status) {
            Ok(status) if status != OrderStatus::Unspecified => known.push(status),
            _ => violations.add(format!("statuses[{index}]"), "must be a state of an order"),
        }
    }
    known
}

fn time(field: &str, time: Option<Timestamp>, violations: &mut Violations) -> Option<i64> {
    violations.time(field, &time?)
}

fn bound(field: &str, money: Option<Money>, violations: &mut Violations) -> Option<Bound> {
    let money = money?;
    violations.optional_currency(format!("{field}.currency_code"), &money.currency_code);
    let amount = violations.amount(field, &money);
    let currency = Some(money.currency_code).filter(|code| !code.is_empty());
    Some(Bound {
        amount: amount?,
        currency,
    })
}

fn sort(order_by: &str, violations: &mut Violations) -> Option<Sort> {
    if order_by.is_empty() {
        return None;
    }
    let (field, descending) = match order_by.strip_suffix(" desc") {
        Some(field) => (field, true),
        None => (order_by, false),
    };
    let field = match field {
        "created_at" => SortField::CreatedAt,
        "updated_at" => SortField::UpdatedAt,
        "total_amount" => SortField::TotalAmount,
        _ => {
            violations.add(
                "order_by",
                "must be created_at, updated_at or total_amount, or one of them and ' desc'",
            );
            return None;
        }
    };
    Some(Sort { field, descending })
}

fn facets(names: &[String], violations: &mut Violations) -> Vec<FacetField> {
    let all = [
        FacetField::Status,
        FacetField::CustomerId,
        FacetField::ProductId,
    ];
    let mut facets = Vec::new();
    for (index, name) in names.iter().enumerate() {
        let path = || format!("facets[{index}]");
        match all.into_iter().find(|facet| facet.name() == name) {
            None => violations.add(path(), "must be status, customer_id or product_id"),
            Some(facet) if facets.contains(&facet) => violations.add(path(), "must be named once"),
            Some(facet) => facets.push(facet),
        }
    }
    facets
}
