//! Searches the index, and reads the checkpoint of the searched state.
//!
//! Only the index itself knows its checkpoint, because a moment ago it may have been wiped or
//! restored from an older copy. So the checkpoint is a hit of the same call, whose searches the server
//! runs on one state of the index.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use contract::orders::v1::Facet;
use meilisearch_sdk::request::{HttpClient as _, Method};
use serde::Deserialize;
use serde_json::{Map, Value};
use tokio::time::timeout;

use super::{
    MeilisearchIndex, document, failed,
    query::{self, Query},
    settings::SEARCH_CUTOFF_MILLIS,
    stored::StoredCheckpoint,
};
use crate::{
    Row,
    request::FacetField,
    search::{self, Error, Hit, Hits, IndexCheckpoint, SearchRequest},
};

/// The number of words of a query that Meilisearch evaluates.
const MAX_WORDS: usize = 10;

/// Bounds the call that counts, so that the hits of a search have an answer however long it takes.
/// Meilisearch's cut-off does not bound facets.
const COUNT_TIMEOUT: Duration = Duration::from_millis(800);

/// Bounds the orders before a page by relevance, because the server returns them too: some 12 MB.
const MAX_OFFSET: usize = 100_000;

/// The answer to a call.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Found {
    hits: Vec<Map<String, Value>>,
    estimated_total_hits: u64,
    processing_time_ms: u64,
    #[serde(default)]
    facets_by_index: HashMap<String, FoundFacets>,
}

/// The counts of the values of each field.
type Distribution = HashMap<String, BTreeMap<String, u64>>;

#[derive(Debug, Deserialize)]
struct FoundFacets {
    distribution: Distribution,
}

/// The orders that a call found, and their number.
#[derive(Debug)]
struct FoundOrders {
    hits: Vec<(Row, Map<String, Value>)>,
    /// The number of all matches, also of a search that was cut off.
    total: u64,
    distribution: Distribution,
    /// Whether the server may have cut a search off, and returned the rest of the matches in any order.
    /// The server does not say so, but a call without a cut ends before.
    is_cut_off: bool,
    checkpoint: Option<IndexCheckpoint>,
}

impl MeilisearchIndex {
    /// Answers a search.
    ///
    /// A second call counts in two cases: for facets, which may take longer than the hits, and for a
    /// later page of a sort, whose filter excludes the earlier hits.
    pub(super) async fn hits(&self, request: SearchRequest) -> Result<Hits, Error> {
        let (limit, facets) = (request.limit, request.facets.clone());
        let is_later = request.sort.is_some() && request.after.is_some();
        let counting = (is_later || !facets.is_empty()).then(|| Query::counting(request.clone()));
        let query = Query::from(request);
        if query.offset() > MAX_OFFSET {
            return Err(Error::TooSlow);
        }
        let counted = async {
            match &counting {
                Some(counting) => timeout(COUNT_TIMEOUT, self.find(counting)).await.ok(),
                None => None,
            }
            .transpose()
        };
        let (page, counted) = tokio::try_join!(self.find(&query), counted)?;
        let is_uncounted = counting.is_some() && counted.is_none();
        let counts = counted.as_ref().unwrap_or(&page);
        let hits = page.hits.iter().skip(query.offset()).take(limit);
        let hits = hits.enumerate().map(|(index, (row, hit))| Hit {
            row: *row,
            cursor: query.behind(index, hit, *row),
        });
        Ok(Hits {
            hits: hits.collect(),
            more: page.hits.len() > query.offset() + limit,
            total: counts.total,
            facets: facets
                .into_iter()
                .map(|field| facet(field, &counts.distribution))
                .collect(),
            degraded: is_uncounted || page.is_cut_off || query.words() > MAX_WORDS,
            checkpoint: page.checkpoint,
        })
    }

    async fn find(&self, query: &Query) -> Result<FoundOrders, Error> {
        let url = format!("{}/multi-search", self.server.url);
        let body = query.body(&self.uid);
        let post = Method::<(), _>::Post { query: (), body };
        let found = self.server.searches.request(&url, post, 200).await;
        let mut found: Found = found.map_err(failed)?;
        let facets = found.facets_by_index.remove(&self.uid);
        let (mut hits, mut checkpoint) = (Vec::new(), None);
        for hit in found.hits {
            match hit.get("row").and_then(Value::as_u64) {
                Some(row) => hits.push((Row(row), hit)),
                None => checkpoint = Some(hit),
            }
        }
        let others = u64::from(checkpoint.is_some());
        let total = found.estimated_total_hits.saturating_sub(others);
        let stored: Option<StoredCheckpoint> = checkpoint
            .map(|hit| serde_json::from_value(Value::Object(hit)))
            .transpose()
            .map_err(Error::failed)?;
        Ok(FoundOrders {
            hits,
            total,
            distribution: facets.map(|it| it.distribution).unwrap_or_default(),
            is_cut_off: found.processing_time_ms >= SEARCH_CUTOFF_MILLIS,
            checkpoint: stored.map_or(Ok(None), |stored| stored.checkpoint())?,
        })
    }
}

fn facet(field: FacetField, distribution: &Distribution) -> Facet {
    let counts = distribution.get(query::facet(field));
    let counts = counts.into_iter().flatten().map(|(value, &count)| {
        let value = match field {
            FacetField::Status => value.clone(),
            FacetField::CustomerId | FacetField::ProductId => document::id(value),
        };
        (value, count)
    });
    search::facet(field, counts, |value| value)
}

#[cfg(test)]
mod tests {
    use super::super::tasks::tests::answering;
    use crate::search::contract_suite::everything;

    async fn degraded(body: &'static str) -> bool {
        let index = answering(body).await;
        index.hits(everything()).await.unwrap().degraded
    }

    #[tokio::test]
    async fn a_search_that_may_have_been_cut_off_is_degraded() {
        let answers = [
            r#"{"hits":[],"estimatedTotalHits":0,"processingTimeMs":499}"#,
            r#"{"hits":[],"estimatedTotalHits":0,"processingTimeMs":500}"#,
        ];
        for (answer, expected) in answers.into_iter().zip([false, true]) {
            assert_eq!(degraded(answer).await, expected, "{answer}");
        }
    }
}
