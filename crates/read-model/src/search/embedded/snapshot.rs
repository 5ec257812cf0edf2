//! One committed state of the index, ready for searches.

use std::ops::Bound::Included;
use std::sync::Weak;

use tantivy::collector::DocSetCollector;
use tantivy::query::{AllQuery, BooleanQuery, Query, RangeQuery};
use tantivy::{IndexReader, Searcher, TantivyError};

use super::schema::Fields;
use super::stop::Stoppable;
use super::{facets, filter, page, payload, schema, text, tokens};
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

    /// Searches until `caller` is gone.
    pub(super) fn search(
        &self,
        fields: &Fields,
        request: SearchRequest,
        caller: Weak<()>,
    ) -> tantivy::Result<Hits> {
        let query = query(fields, &request);
        let page = page::PageCollector::new(&request);
        let facets = facets::FacetCollector {
            fields: request.facets,
        };
        let collector = Stoppable {
            collector: (page, facets),
            caller,
        };
        let (page, facets) = self.searcher.search(&query, &collector)?;
        Ok(Hits {
            hits: page.hits,
            more: page.more,
            total: page.total,
            facets,
            degraded: false,
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
fn query(fields: &Fields, request: &SearchRequest) -> Box<dyn Query> {
    let words = tokens::words(&request.query);
    let mut clauses = filter::conditions(fields, &request.filter);
    clauses.extend(words.iter().map(|word| text::matches(fields, word)));
    if clauses.is_empty() {
        Box::new(AllQuery)
    } else {
        Box::new(BooleanQuery::intersection(clauses))
    }
}
