//! SearchOrders: answers from the documents without free text, and from the search engine with it.

use std::time::Duration;

use contract::orders::v1::{SearchOrdersRequest, SearchOrdersResponse};
use read_model::{
    progress::Reached,
    request::{Cursor, Sort, SortField},
    search::{self, SearchRequest},
    store::Reader,
};
use tokio::time::sleep;
use wire::{Error, Violations};

use crate::{check, check::Search, long_reads::in_time, queries::Queries, token, wait::Wait};

/// Interval between searches while the index is behind the position that the request waits for.
const RETRY_INTERVAL: Duration = Duration::from_millis(50);

/// The default order without free text: newest first.
const NEWEST_FIRST: Sort = Sort {
    field: SortField::CreatedAt,
    descending: true,
};

impl Queries {
    pub(crate) async fn search(
        &self,
        request: SearchOrdersRequest,
    ) -> Result<SearchOrdersResponse, Error> {
        let mut violations = Violations::default();
        let wait = Wait::new(request.min_position, request.max_wait, &mut violations);
        let search = check::search(request.clone(), &mut violations);
        violations.finish()?;
        // A page token is compared with the log's id, which the documents know from position 1 on.
        let position = match request.page_token.is_empty() {
            true => wait.position,
            false => wait.position.max(1),
        };
        let reached = self.reached(Wait { position, ..wait }).await?;
        let is_text = !search.query.trim().is_empty();
        let engine = is_text.then(|| self.engine.name());
        let fingerprint = |log_id: &str| token::fingerprint(log_id, engine, &request);
        // Only a page token needs the log's id before the search.
        let after = match &*request.page_token {
            "" => None,
            given => {
                let checkpoint = self.documents.checkpoint().await;
                let checkpoint = checkpoint.map_err(|error| Error::from(&error))?;
                let log_id = checkpoint.map_or_else(String::new, |it| it.log_id);
                token::read(fingerprint(&log_id), given)?
            }
        };
        let page = match is_text {
            true => self.find_at(wait, search, after).await?,
            false => self.list(search, after).await?,
        };
        let Page {
            mut response,
            next,
            log_id,
        } = page;
        reached.check(response.as_of_position)?;
        if let Some(cursor) = next {
            response.next_page_token = token::write(fingerprint(&log_id), cursor);
        }
        if request.highlights {
            response = self.highlights.add(request.query, response).await?;
        }
        Ok(response)
    }

    async fn list(&self, search: Search, after: Option<Cursor>) -> Result<Page, Error> {
        let Search {
            filter,
            sort,
            limit,
            facets,
            ..
        } = search;
        let sort = sort.unwrap_or(NEWEST_FIRST);
        let read = async |documents: &Reader| {
            let listing = documents.list(&filter, sort, after, limit, &facets);
            listing.await
        };
        let listing = self.lists.read(read).await?;
        let response = SearchOrdersResponse {
            orders: listing.orders,
            total_size: listing.total,
            facets: listing.facets,
            as_of_position: listing.as_of,
            ..SearchOrdersResponse::default()
        };
        Ok(Page {
            response,
            next: listing.next,
            log_id: listing.log_id,
        })
    }

    /// Searches until the index answers from the position that the request waits for.
    ///
    /// The reported progress tells when a search is worthwhile. It is no proof, since the index may
    /// have been wiped meanwhile.
    async fn find_at(
        &self,
        wait: Wait,
        search: Search,
        after: Option<Cursor>,
    ) -> Result<Page, Error> {
        loop {
            let reached = self.index.wait_for(wait.position);
            let reached = wait.until(reached, || self.index.report().answers).await;
            reached.map_err(|behind| match self.index.report().error {
                Some(_) => Error::SearchUnavailable,
                None => behind,
            })?;
            let found = self.find(search.clone(), after).await?;
            let as_of = found.response.as_of_position;
            if as_of >= wait.position {
                return Ok(found);
            }
            wait.until(sleep(RETRY_INTERVAL), || as_of).await?;
        }
    }

    async fn find(&self, search: Search, after: Option<Cursor>) -> Result<Page, Error> {
        let Search {
            query,
            filter,
            sort,
            limit,
            facets,
        } = search;
        let request = SearchRequest {
            query: query.clone(),
            filter: filter.clone(),
            sort,
            after,
            limit,
            facets,
            newest: self.documents.position(),
            timeout: self.lists.timeout,
        };
        let searches = self.searches.try_acquire();
        let _permit = searches.map_err(|_| Error::Overloaded("too many searches"))?;
        let hits = self.engine.search(request).await;
        let hits = hits.map_err(|error| match error {
            search::Error::TooSlow => Error::QueryTooSlow(self.lists.timeout),
            error => {
                tracing::error!(%error, "the search engine failed");
                Error::SearchUnavailable
            }
        })?;
        // The documents may be newer than the index, so orders that no longer match are left out.
        let rows = hits.rows();
        let found = self.pages.orders_by_rows(&rows, &filter);
        let found = in_time(self.lists.timeout, found).await?;
        // An index of another log or history has other orders at the same rows. An empty index without
        // a checkpoint answers from position 0. Any other index without one changed hands.
        let shared = self.index.report().shared;
        let is_shared = |index: &str| {
            shared.is_some_and(|it| it.index == index && it.documents == found.history)
        };
        let index = match &hits.checkpoint {
            Some(checkpoint) if is_shared(&checkpoint.history) => checkpoint.reached(),
            None if hits.total == 0 => Reached::default(),
            _ => return Err(Error::SearchUnavailable),
        };
        let mut as_of = found.as_of.min(index.answers);
        if index.names < as_of {
            as_of = as_of.min(self.unconcerned_until(index.names, query).await?);
        }
        let next = hits.cursor(found.covered);
        let response = SearchOrdersResponse {
            orders: found.orders,
            total_size: hits.total,
            facets: hits.facets,
            as_of_position: as_of,
            degraded: hits.degraded,
            ..SearchOrdersResponse::default()
        };
        Ok(Page {
            response,
            next,
            log_id: found.log_id,
        })
    }

    /// Returns the position up to which no new name changes what a query finds in an index that shows
    /// the names up to a position.
    async fn unconcerned_until(&self, shown: u64, query: String) -> Result<u64, Error> {
        let concern = move |names: &[&str]| search::names_with_words(&query, names);
        let until = self.documents.unconcerned_until(shown, concern).await;
        until.map_err(|error| Error::from(&error))
    }
}

/// A page without its token.
struct Page {
    response: SearchOrdersResponse,
    /// The end of the page, if another one follows.
    next: Option<Cursor>,
    /// The log of the orders.
    log_id: String,
}
