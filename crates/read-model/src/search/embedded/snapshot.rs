//! One committed state of the index, ready for searches.

use std::sync::Arc;

use tantivy::columnar::ColumnValues;
use tantivy::{DocId, IndexReader, Searcher, SegmentReader};

use super::facets::FacetCount;
use super::page::Page;
use super::scan::{Criteria, Scan};
use super::schema::Fields;
use super::stop::Stop;
use super::{filter, payload, schema, text};
use crate::search::{Hit, Hits, IndexCheckpoint, SearchRequest};
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
        let mut page = Page::new(&request);
        let facets = request.facets.iter();
        let mut facets: Vec<_> = facets.map(|&field| FacetCount::new(field)).collect();
        let mut total = 0;
        if let Some(criteria) = criteria(fields, &request, &stop)? {
            for segment in self.ranked(&page)? {
                if stop.is_over()? {
                    break;
                }
                page.begin(segment)?;
                for facet in &mut facets {
                    facet.begin(segment)?;
                }
                let mut scan = Scan::new(&criteria, &self.searcher, segment, &stop)?;
                while scan.advance()? {
                    total += scan.documents.len() as u64;
                    page.visit(&mut scan)?;
                    for facet in &mut facets {
                        facet.visit(&scan.documents);
                    }
                }
                for facet in &mut facets {
                    facet.end(&stop)?;
                }
            }
        }
        let mut cursors = page.into_cursors();
        let more = cursors.len() > request.limit;
        cursors.truncate(request.limit);
        let hits = cursors.into_iter().map(|cursor| Hit {
            row: Row(cursor.row),
            cursor,
        });
        Ok(Hits {
            hits: hits.collect(),
            more,
            total,
            facets: facets.into_iter().map(FacetCount::into_facet).collect(),
            degraded: stop.is_cut(),
            checkpoint: self.checkpoint.clone(),
        })
    }

    /// Returns the segments in the order in which they are best read.
    fn ranked(&self, page: &Page) -> tantivy::Result<Vec<&SegmentReader>> {
        let segments = self.searcher.segment_readers().iter();
        let ranked = segments.map(|segment| Ok((page.rank(segment)?, segment)));
        let mut ranked = ranked.collect::<tantivy::Result<Vec<_>>>()?;
        ranked.sort_by_key(|(rank, _)| *rank);
        Ok(ranked.into_iter().map(|(_, segment)| segment).collect())
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

/// Says what a request asks of orders. Returns `None` for a text without words, which nothing matches.
fn criteria(
    fields: &Fields,
    request: &SearchRequest,
    stop: &Arc<Stop>,
) -> tantivy::Result<Option<Criteria>> {
    let criteria = match request.query.trim() {
        "" => Some(Criteria::default()),
        text => text::criteria(fields, text, stop)?,
    };
    Ok(criteria.map(|mut criteria| {
        let conditions = filter::conditions(fields, &request.filter);
        criteria.required.extend(conditions);
        if request.sort.is_some() {
            // These only raise a score.
            criteria.ids.clear();
        }
        criteria
    }))
}
