//! Collects one page: the first matches after a cursor, in the requested order.

use std::collections::BinaryHeap;
use std::sync::Arc;

use tantivy::collector::{Collector, SegmentCollector};
use tantivy::columnar::ColumnValues;
use tantivy::{DocId, Score, SegmentOrdinal, SegmentReader};

use super::schema;
use crate::Row;
use crate::request::{Cursor, Sort};
use crate::search::{Hit, SearchRequest};

/// The collector of a page.
pub(super) struct PageCollector {
    sort: Option<Sort>,
    after: Option<SortPosition>,
    limit: usize,
}

/// The collected page.
pub(super) struct Page {
    pub(super) hits: Vec<Hit>,
    pub(super) more: bool,
    pub(super) total: u64,
}

/// The sort position of a match; smaller ones come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct SortPosition {
    key: i64,
    row: u64,
}

impl PageCollector {
    pub(super) fn new(request: &SearchRequest) -> Self {
        let sort = request.sort;
        Self {
            sort,
            after: request.after.map(|cursor| sort_position(sort, cursor)),
            limit: request.limit,
        }
    }

    /// Collects one match more than the page holds, to know whether more follow.
    fn top(&self) -> TopMatches {
        TopMatches {
            positions: BinaryHeap::new(),
            count: self.limit.saturating_add(1),
        }
    }
}

fn sort_position(sort: Option<Sort>, Cursor { key, row }: Cursor) -> SortPosition {
    // `!` reverses the order of integers, and is its own inverse.
    if sort.is_none_or(|sort| sort.descending) {
        SortPosition {
            key: !key,
            row: !row,
        }
    } else {
        SortPosition { key, row }
    }
}

fn cursor(sort: Option<Sort>, SortPosition { key, row }: SortPosition) -> Cursor {
    let SortPosition { key, row } = sort_position(sort, Cursor { key, row });
    Cursor { key, row }
}

impl Collector for PageCollector {
    type Fruit = Page;
    type Child = SegmentPage;

    fn for_segment(
        &self,
        _: SegmentOrdinal,
        segment: &SegmentReader,
    ) -> tantivy::Result<SegmentPage> {
        let columns = segment.fast_fields();
        let keys = match self.sort {
            Some(sort) => Some(columns.column_first_or_default(schema::column(sort.field))?),
            None => None,
        };
        Ok(SegmentPage {
            sort: self.sort,
            after: self.after,
            keys,
            rows: columns.column_first_or_default(schema::ROW_COLUMN)?,
            top: self.top(),
            total: 0,
        })
    }

    fn requires_scoring(&self) -> bool {
        self.sort.is_none()
    }

    fn merge_fruits(&self, segments: Vec<(TopMatches, u64)>) -> tantivy::Result<Page> {
        let total = segments.iter().map(|(_, total)| total).sum();
        let mut top = self.top();
        for sort_position in segments.into_iter().flat_map(|(top, _)| top.positions) {
            top.add(sort_position);
        }
        let mut positions = top.positions.into_sorted_vec();
        let more = positions.len() > self.limit;
        positions.truncate(self.limit);
        let hits = positions.into_iter().map(|sort_position| {
            let cursor = cursor(self.sort, sort_position);
            let row = Row(cursor.row);
            Hit { row, cursor }
        });
        let hits = hits.collect();
        Ok(Page { hits, more, total })
    }
}

/// The page of one segment.
pub(super) struct SegmentPage {
    sort: Option<Sort>,
    after: Option<SortPosition>,
    /// The column of the sort field; `None` sorts by score.
    keys: Option<Arc<dyn ColumnValues<i64>>>,
    rows: Arc<dyn ColumnValues<u64>>,
    top: TopMatches,
    total: u64,
}

impl SegmentCollector for SegmentPage {
    type Fruit = (TopMatches, u64);

    fn collect(&mut self, document: DocId, score: Score) {
        self.total += 1;
        let key = match &self.keys {
            Some(keys) => keys.get_val(document),
            // Scores are sums of integers, so the conversion is exact.
            None => score as i64,
        };
        let row = self.rows.get_val(document);
        let sort_position = sort_position(self.sort, Cursor { key, row });
        if self.after.is_none_or(|after| sort_position > after) {
            self.top.add(sort_position);
        }
    }

    fn harvest(self) -> (TopMatches, u64) {
        (self.top, self.total)
    }
}

/// The first `count` matches.
pub(super) struct TopMatches {
    positions: BinaryHeap<SortPosition>,
    count: usize,
}

impl TopMatches {
    fn add(&mut self, sort_position: SortPosition) {
        if self.positions.len() < self.count {
            self.positions.push(sort_position);
        } else if let Some(mut last) = self.positions.peek_mut()
            && sort_position < *last
        {
            *last = sort_position;
        }
    }
}
