//! Stops a search at its cut-off, or when its caller is gone.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Weak};
use std::time::Instant;

use tantivy::collector::{Collector, SegmentCollector};
use tantivy::query::Weight;
use tantivy::{SegmentOrdinal, SegmentReader, TERMINATED, TantivyError};

/// Matches between two checks of whether the search goes on. The check costs less than the match.
const MATCHES_BETWEEN_CHECKS: usize = 4096;

/// Tells a search whether to go on.
#[derive(Debug)]
pub(super) struct Stop {
    /// The caller drops the only strong reference.
    caller: Weak<()>,
    cutoff: Instant,
    is_cut: AtomicBool,
}

impl Stop {
    /// Lets a search go on until `cutoff`, as long as `caller` exists.
    pub(super) fn new(caller: Weak<()>, cutoff: Instant) -> Self {
        Self {
            caller,
            cutoff,
            is_cut: AtomicBool::new(false),
        }
    }

    /// Returns whether the search must end with what it has found.
    ///
    /// # Errors
    /// The caller is gone.
    pub(super) fn is_over(&self) -> tantivy::Result<bool> {
        if self.caller.strong_count() == 0 {
            return Err(TantivyError::SystemError("nobody waits any more".into()));
        }
        let is_over = Instant::now() >= self.cutoff;
        if is_over {
            self.is_cut.store(true, Relaxed);
        }
        Ok(is_over)
    }

    /// Returns whether the search ended before it had examined everything.
    pub(super) fn is_cut(&self) -> bool {
        self.is_cut.load(Relaxed)
    }
}

/// Collects as `collector` does until the search must stop.
pub(super) struct Stoppable<C> {
    pub(super) collector: C,
    pub(super) stop: Arc<Stop>,
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
        if self.stop.is_over()? {
            return Ok(collected.harvest());
        }
        let mut matches = weight.scorer(segment, 1.0)?;
        let (alive, scoring) = (segment.alive_bitset(), self.requires_scoring());
        let mut document = matches.doc();
        for count in 0.. {
            if document == TERMINATED {
                break;
            }
            if alive.is_none_or(|alive| alive.is_alive(document)) {
                let score = if scoring { matches.score() } else { 0.0 };
                collected.collect(document, score);
            }
            if count % MATCHES_BETWEEN_CHECKS == MATCHES_BETWEEN_CHECKS - 1
                && self.stop.is_over()?
            {
                break;
            }
            document = matches.advance();
        }
        Ok(collected.harvest())
    }
}
