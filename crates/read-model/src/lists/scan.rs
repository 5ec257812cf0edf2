//! Shows the matches in the base to a visitor, block by block, for as long as the caller waits.

use std::sync::Weak;

use tantivy::{
    COLLECT_BLOCK_BUFFER_LEN, DocId, DocSet as _, SegmentReader, TantivyError, query::EnableScoring,
};

use super::{Conditions, View, predicates, schema};

/// Documents that are read at once. Before each block, a scan checks that the caller still waits.
const BLOCK: usize = 16 * COLLECT_BLOCK_BUFFER_LEN;

impl View {
    /// Shows all matches in the base to a visitor.
    ///
    /// The postings find what has few orders, such as a customer's. Columns decide the rest: reading a
    /// column from its start to its end is faster than reading postings of many orders.
    pub(super) fn scan(
        &self,
        conditions: &Conditions,
        visitor: &mut impl Visitor,
        caller: &Weak<()>,
    ) -> tantivy::Result<()> {
        let query = self.snapshot.fields.query(conditions);
        let searcher = &self.snapshot.searcher;
        let weight = query.weight(EnableScoring::disabled_from_searcher(searcher))?;
        let mut ranked = Vec::new();
        for segment in searcher.segment_readers() {
            ranked.push((visitor.rank(segment)?, segment));
        }
        ranked.sort_by_key(|(rank, _)| *rank);
        let (mut documents, mut values) = (Vec::with_capacity(BLOCK), Vec::new());
        for (_, segment) in ranked {
            let Some(predicates) = schema::predicates(conditions, segment)? else {
                continue;
            };
            visitor.begin(segment)?;
            let mut found = weight.scorer(segment, 1.0)?;
            let mut is_last = false;
            while !is_last {
                if caller.strong_count() == 0 {
                    return Err(TantivyError::SystemError("nobody waits any more".into()));
                }
                documents.resize(BLOCK, 0);
                let mut count = 0;
                for part in documents.as_chunks_mut::<COLLECT_BLOCK_BUFFER_LEN>().0 {
                    let read = found.fill_buffer(part);
                    count += read;
                    is_last = read < part.len();
                    if is_last {
                        break;
                    }
                }
                documents.truncate(count);
                if let Some(alive) = segment.alive_bitset() {
                    predicates::retain(&mut documents, |_, document| alive.is_alive(document));
                }
                predicates.retain(&mut documents, &mut values);
                visitor.visit(&documents);
            }
            visitor.end()?;
        }
        Ok(())
    }
}

/// Takes the matches, segment by segment, in blocks.
pub(super) trait Visitor {
    /// Returns the place of a segment in the order in which segments are read.
    fn rank(&self, _segment: &SegmentReader) -> tantivy::Result<u64> {
        Ok(0)
    }
    fn begin(&mut self, segment: &SegmentReader) -> tantivy::Result<()>;
    fn visit(&mut self, documents: &[DocId]);
    fn end(&mut self) -> tantivy::Result<()> {
        Ok(())
    }
}
