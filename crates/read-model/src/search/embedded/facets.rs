//! Counts the matches by the values of fields.

use std::collections::HashMap;

use contract::orders::v1::Facet;
use tantivy::collector::{Collector, SegmentCollector};
use tantivy::columnar::StrColumn;
use tantivy::{DocId, Score, SegmentOrdinal, SegmentReader};

use crate::{request::FacetField, search};

/// The collector of the counts.
pub(super) struct FacetCollector {
    pub(super) fields: Vec<FacetField>,
}

/// The number of matches with each value of a field.
type Counts = HashMap<String, u64>;

impl Collector for FacetCollector {
    type Fruit = Vec<Facet>;
    type Child = SegmentCount;

    fn for_segment(
        &self,
        _: SegmentOrdinal,
        segment: &SegmentReader,
    ) -> tantivy::Result<SegmentCount> {
        let columns = self.fields.iter().map(|field| {
            let column = segment.fast_fields().str(field.name())?;
            Ok(column.map(ColumnCount::new))
        });
        Ok(SegmentCount {
            columns: columns.collect::<tantivy::Result<_>>()?,
        })
    }

    fn requires_scoring(&self) -> bool {
        false
    }

    fn merge_fruits(
        &self,
        segments: Vec<tantivy::Result<Vec<Counts>>>,
    ) -> tantivy::Result<Vec<Facet>> {
        let mut sums = vec![Counts::new(); self.fields.len()];
        for segment in segments {
            for (sum, counts) in sums.iter_mut().zip(segment?) {
                for (value, count) in counts {
                    *sum.entry(value).or_default() += count;
                }
            }
        }
        let facets = self.fields.iter().zip(sums);
        Ok(facets
            .map(|(field, counts)| search::facet(*field, counts))
            .collect())
    }
}

/// The counts of one segment. A field without a value in the segment has no column.
pub(super) struct SegmentCount {
    columns: Vec<Option<ColumnCount>>,
}

impl SegmentCollector for SegmentCount {
    type Fruit = tantivy::Result<Vec<Counts>>;

    fn collect(&mut self, document: DocId, _: Score) {
        for column in self.columns.iter_mut().flatten() {
            column.collect(document);
        }
    }

    fn harvest(self) -> tantivy::Result<Vec<Counts>> {
        let counts = |column: Option<ColumnCount>| column.map_or(Ok(Counts::new()), |c| c.counts());
        self.columns.into_iter().map(counts).collect()
    }
}

/// Counts by ordinal, which is a value's index in the segment's dictionary of the field.
struct ColumnCount {
    column: StrColumn,
    counts: Vec<u64>,
}

impl ColumnCount {
    fn new(column: StrColumn) -> Self {
        let counts = vec![0; column.num_terms()];
        Self { column, counts }
    }

    fn collect(&mut self, document: DocId) {
        for ordinal in self.column.term_ords(document) {
            // Ordinals are below the number of terms, which fits in memory.
            self.counts[ordinal as usize] += 1;
        }
    }

    fn counts(self) -> tantivy::Result<Counts> {
        let (ordinals, counted): (Vec<u64>, Vec<u64>) = (0..)
            .zip(self.counts)
            .filter(|(_, count)| *count > 0)
            .unzip();
        let mut counted = counted.into_iter();
        let mut counts = Counts::with_capacity(ordinals.len());
        self.column
            .dictionary()
            .sorted_ords_to_term_cb(&ordinals, |value| {
                let value = String::from_utf8_lossy(value).into_owned();
                counts.extend(counted.next().map(|count| (value, count)));
            })?;
        Ok(counts)
    }
}
