//! Searches for samples of the orders, as a client would. It is the only check of what an engine makes
//! of a document that it does not show.

use std::time::Duration;

use contract::orders::v1::Order;
use read_model::{
    Row,
    request::{Bound, OrderFilter},
    search::{self, Document, SearchRequest},
    store::Difference,
};
use tokio::time::sleep;
use wire::convert;

use super::{Error, Verifier, index::COMPARE_INTERVAL};

/// Of this many orders one is searched for.
const SAMPLE_INTERVAL: usize = 250;

/// Time after which a search fails.
const SEARCH_TIMEOUT: Duration = Duration::from_secs(30);

/// Maximum number of searches for an order that changes meanwhile, or for which the engine fails.
const MAX_SEARCHES: u32 = 6;

/// Maximum number of hits. More orders that meet every condition say nothing about the sample.
const MAX_HITS: usize = 100;

/// A name of more bytes or words is not searched for: engines bound both.
const MAX_NAME_BYTES: usize = 100;
const MAX_NAME_WORDS: usize = 8;

/// Returns the orders of a page that are searched for.
pub(super) fn samples(documents: &[Document]) -> Vec<Row> {
    let samples = documents.iter().step_by(SAMPLE_INTERVAL);
    samples.map(|document| document.row).collect()
}

impl Verifier {
    /// Searches for an order by its id and by its customer's name, and by the values that filters
    /// take. Returns the difference if it is not found as it is.
    pub(super) async fn search_sample(&self, row: Row) -> Result<Option<Difference>, Error> {
        let mut before: Option<Order> = None;
        for search in 1..=MAX_SEARCHES {
            let (documents, as_of) = self.live.reader.documents_by_rows(&[row]).await?;
            let Some(document) = documents.into_iter().next() else {
                return Ok(None);
            };
            // The first search does not wait for the index: most orders are old and equal in both.
            if before.is_some() {
                self.wait_for_index(as_of).await?;
            }
            let order = document.order;
            let missed = match self.missed(row, &order).await {
                // A search has less time than verifications have.
                Err(Error::Engine(_)) if search < MAX_SEARCHES => {
                    sleep(COMPARE_INTERVAL).await;
                    continue;
                }
                missed => missed?,
            };
            match missed {
                None => return Ok(None),
                Some(name) if before.as_ref() == Some(&order) => {
                    return Ok(Some(Difference {
                        subject: format!("order {}", order.order_id),
                        problem: format!("is not found by a search for its {name} and values"),
                    }));
                }
                // An order that changes meanwhile is found as it was, or as it will be.
                Some(_) => before = Some(order),
            }
        }
        Ok(None)
    }

    /// Returns the field whose text does not find an order.
    async fn missed(&self, row: Row, order: &Order) -> Result<Option<&'static str>, Error> {
        for (query, name) in queries(order) {
            let request = SearchRequest {
                query: query.to_owned(),
                filter: filter(order),
                sort: None,
                after: None,
                limit: MAX_HITS,
                facets: Vec::new(),
                newest: u64::MAX,
                timeout: SEARCH_TIMEOUT,
            };
            let hits = self.live.engine.search(request).await?;
            let is_whole = !hits.more && !hits.degraded;
            if is_whole && !hits.rows().contains(&row) {
                return Ok(Some(name));
            }
        }
        Ok(None)
    }
}

/// Returns the texts that an order is searched for by, each with the name of its field.
fn queries(order: &Order) -> Vec<(&str, &'static str)> {
    let mut queries = vec![(order.order_id.as_str(), "order_id")];
    let name = &order.customer_name;
    let words = search::count_words(name);
    if name.len() <= MAX_NAME_BYTES && (1..=MAX_NAME_WORDS).contains(&words) {
        queries.push((name, "customer_name"));
    }
    // An id without letters and digits has no word.
    queries.retain(|(text, _)| search::count_words(text) > 0);
    queries
}

/// Returns the filter that only orders with an order's values meet.
fn filter(order: &Order) -> OrderFilter {
    let created = order.created_at.as_ref().and_then(convert::nanoseconds);
    let total = order.total_amount.as_ref().and_then(|total| {
        let amount = convert::amount(total)?;
        let currency = Some(total.currency_code.clone());
        Some(Bound { amount, currency })
    });
    let products = order.items.iter().map(|item| item.product_id.clone());
    OrderFilter {
        order_ids: Vec::new(),
        customer_ids: vec![order.customer_id.clone()],
        statuses: vec![order.status()],
        product_ids: products.take(1).collect(),
        created_from: created,
        created_to: created.and_then(|created| created.checked_add(1)),
        min_total: total.clone(),
        max_total: total,
    }
}
