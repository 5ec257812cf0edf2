//! Shows the matches in the base to a visitor, block by block, for as long as the caller waits.

use std::sync::Weak;

use tantivy::{
    COLLECT_BLOCK_BUFFER_LEN, DocId, DocSet as _, SegmentReader, TantivyError, query::EnableScoring,
};

use super::{Conditions, View};

/// Blocks of matches between two checks of whether the caller still waits.
const BLOCKS_BETWEEN_CHECKS: usize = 64;

impl View {
    /// Shows all matches in the base to a visitor.
    pub(super) fn scan(
        &self,
        conditions: &Conditions,
        visitor: &mut impl Visitor,
        caller: &Weak<()>,
    ) -> tantivy::Result<()> {
        let query = self.snapshot.fields.query(conditions);
        let searcher = &self.snapshot.searcher;
        let weight = query.weight(EnableScoring::disabled_from_searcher(searcher))?;
        for segment in searcher.segment_readers() {
            visitor.begin(segment)?;
            let mut matches = weight.scorer(segment, 1.0)?;
            let mut block = [0; COLLECT_BLOCK_BUFFER_LEN];
            for number in 0.. {
                if number % BLOCKS_BETWEEN_CHECKS == 0 && caller.strong_count() == 0 {
                    return Err(TantivyError::SystemError("nobody waits any more".into()));
                }
                let count = matches.fill_buffer(&mut block);
                let alive = match segment.alive_bitset() {
                    None => count,
                    Some(alive) => {
                        let mut kept = 0;
                        for index in 0..count {
                            let document = block[index];
                            block[kept] = document;
                            kept += usize::from(alive.is_alive(document));
                        }
                        kept
                    }
                };
                visitor.visit(&block[..alive]);
                if count < block.len() {
                    break;
                }
            }
            visitor.end()?;
        }
        Ok(())
    }
}

/// Takes the matches, segment by segment, in blocks.
pub(super) trait Visitor {
    fn begin(&mut self, segment: &SegmentReader) -> tantivy::Result<()>;
    fn visit(&mut self, documents: &[DocId]);
    fn end(&mut self) -> tantivy::Result<()> {
        Ok(())
    }
}
