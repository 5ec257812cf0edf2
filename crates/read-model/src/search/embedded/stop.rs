//! Stops a search whose caller is gone.

use std::sync::Weak;

use tantivy::collector::{Collector, SegmentCollector};
use tantivy::query::Weight;
use tantivy::{SegmentOrdinal, SegmentReader, TERMINATED, TantivyError};

/// Matches between two checks of whether the caller still waits. The check costs less than the
/// match.
const MATCHES_BETWEEN_CHECKS: usize = 4096;

/// Collects as `collector` does for as long as the caller of the search exists.
pub(super) struct Stoppable<C> {
    pub(super) collector: C,
    /// The caller drops the only strong reference.
    pub(super) caller: Weak<()>,
}

impl<C: Collector> Collector for Stoppable<C> {
    type Fruit = C::Fruit;
    type Child = C::Child;

    fn for_segment(
        &self,
        ordinal: SegmentOrdinal,
        segment: &SegmentReader,
    ) -> tantivy::Result<C::Child> {
        self.collector.for_segment(ordinal, segment)
    }

    fn requires_scoring(&self) -> bool {
        self.collector.requires_scoring()
    }

    fn merge_fruits(
        &self,
        segments: Vec<<C::Child as SegmentCollector>::Fruit>,
    ) -> tantivy::Result<C::Fruit> {
        self.collector.merge_fruits(segments)
    }

    /// Differs from tantivy's own loops, which cannot end before the last match.
    fn collect_segment(
        &self,
        weight: &dyn Weight,
        ordinal: SegmentOrdinal,
        segment: &SegmentReader,
    ) -> tantivy::Result<<C::Child as SegmentCollector>::Fruit> {
        let mut collected = self.for_segment(ordinal, segment)?;
        let mut matches = weight.scorer(segment, 1.0)?;
        let (alive, scoring) = (segment.alive_bitset(), self.requires_scoring());
        let mut document = matches.doc();
        for count in 0.. {
            if count % MATCHES_BETWEEN_CHECKS == 0 && self.caller.strong_count() == 0 {
                return Err(TantivyError::SystemError("nobody waits any more".into()));
            }
            if document == TERMINATED {
                break;
            }
            if alive.is_none_or(|alive| alive.is_alive(document)) {
                let score = if scoring { matches.score() } else { 0.0 };
                collected.collect(document, score);
            }
            document = matches.advance();
        }
        Ok(collected.harvest())
    }
}
