//! One committed state of the index, ready for searches.

use std::ops::Bound::Included;
use std::sync::Arc;

use tantivy::collector::DocSetCollector;
use tantivy::query::{AllQuery, BooleanQuery, EmptyQuery, Occur, Query, RangeQuery};
use tantivy::{IndexReader, Searcher, TantivyError};

use super::schema::Fields;
use super::stop::{Stop, Stoppable};
use super::{facets, filter, page, payload, schema, text};
use crate::Row;
use crate::search::{Hits, IndexCheckpoint, SearchRequest};

/// The documents of a commit together with its checkpoint.
pub(super) struct IndexSnapshot {
    searcher: Searcher,
    pub(super) checkpoint: Option<IndexCheckpoint>,
}

impl IndexSnapshot {
    /// Takes the state of the last commit. The caller must prevent a concurrent commit.
    pub(super) fn take(reader: &IndexReader) -> tantivy::Result<Self> {
        reader.reload()?;
        let searcher = reader.searcher();
        let payload = searcher.index().load_metas()?.payload;
        let checkpoint = payload.as_deref().map(payload::decode).transpose()?;
        Ok(Self {
            searcher,
            checkpoint,
        })
    }

    /// Searches until `stop` says otherwise.
    pub(super) fn search(
        &self,
        fields: &Fields,
        request: SearchRequest,
        stop: Stop,
    ) -> tantivy::Result<Hits> {
        let stop = Arc::new(stop);
        let query = query(fields, &request, &stop)?;
        let page = page::PageCollector::new(&request);
        let facets = facets::FacetCollector {
            fields: request.facets,
        };
        let collector = Stoppable {
            collector: (page, facets),
            stop: Arc::clone(&stop),
        };
        let (page, facets) = self.searcher.search(&query, &collector)?;
        Ok(Hits {
            hits: page.hits,
            more: page.more,
            total: page.total,
            facets,
            degraded: stop.is_cut(),
            checkpoint: self.checkpoint.clone(),
        })
    }

    /// Returns the rows from `first` to `last`, each with the digest of its document.
    pub(super) fn digests(
        &self,
        fields: &Fields,
        first: Row,
        last: Row,
    ) -> tantivy::Result<Vec<(Row, u64)>> {
        let row = |row| Included(fields.key(row));
        let range = RangeQuery::new(row(first), row(last));
        let found = self.searcher.search(&range, &DocSetCollector)?;
        let found = found.into_iter().map(|address| {
            let columns = self
                .searcher
                .segment_reader(address.segment_ord)
                .fast_fields();
            let value = |column| {
                let column = columns.u64(column)?;
                Ok::<_, TantivyError>(column.first(address.doc_id).unwrap_or_default())
            };
            Ok((
                Row(value(schema::ROW_COLUMN)?),
                value(schema::DIGEST_COLUMN)?,
            ))
        });
        found.collect()
    }
}

/// Builds a query that requires every word and every condition.
fn query(
    fields: &Fields,
    request: &SearchRequest,
    stop: &Arc<Stop>,
) -> tantivy::Result<Box<dyn Query>> {
    let conditions = filter::conditions(fields, &request.filter).into_iter();
    let mut clauses: Vec<_> = conditions
        .map(|condition| (Occur::Must, condition))
        .collect();
    if !request.query.trim().is_empty() {
        let Some(matches) = text::matches(fields, &request.query, stop)? else {
            return Ok(Box::new(EmptyQuery));
        };
        let optional = matches.optional.into_iter();
        clauses.extend(matches.required.into_iter().map(|word| (Occur::Must, word)));
        clauses.extend(optional.map(|part| (Occur::Should, part)));
    }
    Ok(match clauses.is_empty() {
        true => Box::new(AllQuery),
        false => Box::new(BooleanQuery::new(clauses)),
    })
}
