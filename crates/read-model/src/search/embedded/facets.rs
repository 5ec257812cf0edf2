//! Counts the matches by the values of fields.

use std::collections::HashMap;

use contract::orders::v1::Facet;
use tantivy::columnar::StrColumn;
use tantivy::{DocId, SegmentReader};

use super::stop::Stop;
use crate::columns::{self, Scratch};
use crate::{request::FacetField, search};

/// Values between two checks of whether the search goes on.
const VALUES_BETWEEN_CHECKS: usize = 4096;

/// The matches of a segment by the values of a field, and the sums of the segments before.
pub(super) struct FacetCount {
    field: FacetField,
    sums: HashMap<Vec<u8>, u64>,
    /// `None` if no order of the segment has a value.
    column: Option<StrColumn>,
    /// By ordinal, which is a value's index in the segment's dictionary of the field.
    counts: Vec<u64>,
    scratch: Scratch,
    ordinals: Vec<u64>,
}

impl FacetCount {
    pub(super) fn new(field: FacetField) -> Self {
        Self {
            field,
            sums: HashMap::new(),
            column: None,
            counts: Vec::new(),
            scratch: Scratch::default(),
            ordinals: Vec::new(),
        }
    }

    pub(super) fn begin(&mut self, segment: &SegmentReader) -> tantivy::Result<()> {
        self.column = segment.fast_fields().str(self.field.name())?;
        self.counts.clear();
        let values = self.column.as_ref().map_or(0, |column| column.num_terms());
        self.counts.resize(values, 0);
        Ok(())
    }

    pub(super) fn visit(&mut self, documents: &[DocId]) {
        let Some(column) = &self.column else { return };
        let (scratch, ordinals) = (&mut self.scratch, &mut self.ordinals);
        columns::read_all(column.ords(), documents, scratch, ordinals);
        for &ordinal in &self.ordinals {
            // Ordinals are below the number of values, which fits in memory.
            self.counts[ordinal as usize] += 1;
        }
    }

    /// Adds the counts of the segment to the sums, until the search must stop.
    pub(super) fn end(&mut self, stop: &Stop) -> tantivy::Result<()> {
        let Some(column) = &self.column else {
            return Ok(());
        };
        let counts = (0..).zip(&self.counts).filter(|(_, count)| **count > 0);
        let (ordinals, counts): (Vec<u64>, Vec<u64>) = counts.unzip();
        let dictionary = column.dictionary();
        let chunks = ordinals.chunks(VALUES_BETWEEN_CHECKS);
        let chunks = chunks.zip(counts.chunks(VALUES_BETWEEN_CHECKS));
        for (index, (ordinals, counts)) in chunks.enumerate() {
            // A field with few values, such as the status, has the counts of all orders found.
            if index > 0 && stop.is_over()? {
                break;
            }
            let mut counts = counts.iter();
            dictionary.sorted_ords_to_term_cb(ordinals, |value| {
                let count = counts.next().unwrap_or(&0);
                // Most values are in other segments too.
                match self.sums.get_mut(value) {
                    Some(sum) => *sum += count,
                    None => {
                        self.sums.insert(value.to_owned(), *count);
                    }
                }
            })?;
        }
        Ok(())
    }

    pub(super) fn into_facet(self) -> Facet {
        // The values of the column are texts.
        let name = |value: Vec<u8>| String::from_utf8_lossy(&value).into_owned();
        search::facet(self.field, self.sums, name)
    }
}
