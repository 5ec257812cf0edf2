//! Searches the index, and reads the checkpoint of the searched state.
//!
//! Only the index itself knows its checkpoint, because a moment ago it may have been wiped or
//! restored from an older copy. So one call runs several searches, of which the first and the last
//! read the checkpoint.

use std::collections::{BTreeMap, HashMap};

use contract::orders::v1::Facet;
use meilisearch_sdk::{
    request::{HttpClient as _, Method},
    search::SearchQuery,
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use super::{
    MeilisearchIndex, document, failed,
    http::Http,
    query::{self, Query},
    stored::StoredCheckpoint,
};
use crate::{
    Row,
    request::FacetField,
    search::{self, Error, Hit, Hits, IndexCheckpoint, SearchRequest},
};

/// The number of words of a query that Meilisearch evaluates.
const MAX_WORDS: usize = 10;

/// Bounds the attempts of one request, because the index may change owner or generation during
/// each.
const MAX_ATTEMPTS: usize = 3;

/// Finds only the checkpoint. An index without our settings rejects this filter and so the whole
/// call.
const CHECKPOINT_FILTER: &str = "row NOT EXISTS";

/// The answers to all searches of a call.
#[derive(Debug, Deserialize)]
struct Answers {
    results: Vec<Found>,
}

/// The answer to one search.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Found {
    hits: Vec<Value>,
    estimated_total_hits: Option<u64>,
    facet_distribution: Option<HashMap<String, BTreeMap<String, u64>>>,
    #[serde(default)]
    degraded: bool,
}

impl Found {
    fn hits<T: DeserializeOwned>(&mut self) -> Result<Vec<T>, Error> {
        let hits = std::mem::take(&mut self.hits).into_iter();
        let hits = hits.map(serde_json::from_value);
        hits.collect::<Result<_, _>>().map_err(Error::failed)
    }
}

/// A hit as the server sends it.
#[derive(Debug, Deserialize)]
struct FoundHit {
    row: Row,
    /// The numbers of the sort field.
    #[serde(flatten)]
    numbers: HashMap<String, i64>,
}

/// The answers of a call, with the checkpoint before and after them.
struct Searched {
    found: Vec<Found>,
    before: Option<StoredCheckpoint>,
    after: Option<StoredCheckpoint>,
}

impl Searched {
    /// Returns whether the index, its owner and its epoch stayed the same during the call.
    fn is_of_one_index(&self) -> bool {
        let held = |stored: &Option<StoredCheckpoint>| {
            let stored = stored.clone()?;
            Some((stored.created, stored.epoch, stored.owner))
        };
        held(&self.before) == held(&self.after)
    }

    /// Returns the older of the two checkpoints; `None` if the index or its owner changed during
    /// the call.
    fn checkpoint(&self) -> Result<Option<IndexCheckpoint>, Error> {
        let (Some(before), Some(after)) = (&self.before, &self.after) else {
            return Ok(None);
        };
        let (Some(before), Some(after)) = (before.checkpoint()?, after.checkpoint()?) else {
            return Ok(None);
        };
        // A lower `answers` afterwards means that the index was restored from an older copy.
        let oldest = if after.answers < before.answers {
            after
        } else {
            before
        };
        Ok(self.is_of_one_index().then_some(oldest))
    }
}

impl MeilisearchIndex {
    /// Answers a search.
    pub(super) async fn hits(&self, request: SearchRequest) -> Result<Hits, Error> {
        let (limit, facets) = (request.limit, request.facets.clone());
        // The filter of a later page excludes the earlier hits, so a second search counts all
        // matches.
        let counted = request.sort.and(request.after).map(|_| SearchRequest {
            after: None,
            limit: 0,
            ..request.clone()
        });
        let query = Query::from(request);
        let counting = counted.map(Query::from);
        let queries: Vec<_> = [&query].into_iter().chain(&counting).collect();
        let mut searched = self.search_all(&queries).await?;
        for _ in 1..MAX_ATTEMPTS {
            if searched.is_of_one_index() {
                break;
            }
            searched = self.search_all(&queries).await?;
        }
        let checkpoint = searched.checkpoint()?;
        let mut found = searched.found.into_iter();
        let mut page = found.next().ok_or_else(unanswered)?;
        let mut hits: Vec<FoundHit> = page.hits()?;
        let degraded = page.degraded || query.words() > MAX_WORDS;
        let counted = if counting.is_some() {
            found.next().ok_or_else(unanswered)?
        } else {
            page
        };
        let more = hits.len() > limit;
        hits.truncate(limit);
        let hits = hits.iter().enumerate().map(|(index, hit)| {
            let cursor = query.behind(index, &hit.numbers, hit.row);
            Hit {
                row: hit.row,
                cursor,
            }
        });
        let hits = hits.collect();
        let distribution = counted.facet_distribution.unwrap_or_default();
        Ok(Hits {
            hits,
            more,
            total: counted.estimated_total_hits.unwrap_or(0),
            facets: facets
                .into_iter()
                .map(|field| facet(field, &distribution))
                .collect(),
            degraded,
            checkpoint,
        })
    }

    /// Runs all searches in one call; the server runs them in sequence.
    async fn search_all(&self, queries: &[&Query]) -> Result<Searched, Error> {
        let (client, uid) = (&self.server.client, &*self.uid);
        let index = client.index(uid);
        let mut checkpoint = SearchQuery::new(&index);
        checkpoint.with_filter(CHECKPOINT_FILTER).with_limit(1);
        let checkpoint = in_index(uid, &checkpoint)?;
        let mut all = vec![checkpoint.clone()];
        for query in queries {
            all.push(query.with(client, uid, |query| in_index(uid, query))?);
        }
        all.push(checkpoint);
        let url = format!("{}/multi-search", self.server.url);
        let body = serde_json::json!({ "queries": all });
        let post = Method::<(), _>::Post { query: (), body };
        let answers = self.server.searches.request(&url, post, 200).await;
        let Answers { results } = answers.map_err(failed)?;
        let mut results = results.into_iter();
        let mut before = results.next().ok_or_else(unanswered)?;
        let mut after = results.next_back().ok_or_else(unanswered)?;
        Ok(Searched {
            found: results.collect(),
            before: before.hits()?.pop(),
            after: after.hits()?.pop(),
        })
    }
}

fn unanswered() -> Error {
    Error::failed("the server answers fewer searches than it was asked")
}

/// Builds one search of a call of several.
fn in_index(uid: &str, query: &SearchQuery<'_, Http>) -> Result<Value, Error> {
    let mut query = serde_json::to_value(query).map_err(Error::failed)?;
    query["indexUid"] = uid.into();
    Ok(query)
}

fn facet(field: FacetField, distribution: &HashMap<String, BTreeMap<String, u64>>) -> Facet {
    let counts = distribution.get(query::facet(field));
    let counts = counts.into_iter().flatten().map(|(value, &count)| {
        let value = match field {
            FacetField::Status => value.clone(),
            FacetField::CustomerId | FacetField::ProductId => document::id(value),
        };
        (value, count)
    });
    search::facet(field, counts)
}
