//! One committed state of the index, ready for searches.

use std::sync::Arc;

use tantivy::columnar::ColumnValues;
use tantivy::query::{AllQuery, BooleanQuery, EmptyQuery, Occur, Query};
use tantivy::{DocId, IndexReader, Searcher, SegmentReader};

use super::schema::Fields;
use super::stop::{Stop, Stoppable};
use super::{facets, filter, page, payload, schema, text};
use crate::search::{Hits, IndexCheckpoint, SearchRequest};
use crate::{Row, postings};

/// The documents of a commit together with its checkpoint.
pub(super) struct IndexSnapshot {
    pub(super) searcher: Searcher,
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

    /// Returns the rows from `first` to `last`, each with the digest of its document. Reads only these
    /// rows.
    pub(super) fn digests(
        &self,
        fields: &Fields,
        first: Row,
        last: Row,
    ) -> tantivy::Result<Vec<(Row, u64)>> {
        let mut digests = Vec::new();
        for segment in self.searcher.segment_readers() {
            let columns = Identity::of(segment)?;
            let documents = postings::of_rows(segment, fields.row, first, last)?;
            digests.extend(documents.into_iter().map(|document| columns.get(document)));
        }
        Ok(digests)
    }
}

/// The columns that identify the document of an order.
pub(super) struct Identity {
    rows: Arc<dyn ColumnValues<u64>>,
    digests: Arc<dyn ColumnValues<u64>>,
}

impl Identity {
    pub(super) fn of(segment: &SegmentReader) -> tantivy::Result<Self> {
        let columns = segment.fast_fields();
        Ok(Self {
            rows: columns.column_first_or_default(schema::ROW_COLUMN)?,
            digests: columns.column_first_or_default(schema::DIGEST_COLUMN)?,
        })
    }

    /// Returns the row and the digest of a document.
    pub(super) fn get(&self, document: DocId) -> (Row, u64) {
        (
            Row(self.rows.get_val(document)),
            self.digests.get_val(document),
        )
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
