//! Collects one page: the first matches after a cursor, in the requested order.

use std::sync::Arc;

use tantivy::collector::{Collector, SegmentCollector};
use tantivy::columnar::ColumnValues;
use tantivy::{DocId, Score, SegmentOrdinal, SegmentReader};

use super::schema;
use crate::Row;
use crate::first::{FirstMatches, SortPosition};
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

impl PageCollector {
    pub(super) fn new(request: &SearchRequest) -> Self {
        let sort = request.sort;
        Self {
            sort,
            after: request
                .after
                .map(|cursor| SortPosition::new(is_descending(sort), cursor)),
            limit: request.limit,
        }
    }

    /// Collects one match more than the page holds, to know whether more follow.
    fn first(&self) -> FirstMatches {
        FirstMatches::new(self.limit.saturating_add(1))
    }
}

/// Returns whether the largest key comes first: without a sort field it is the best score.
fn is_descending(sort: Option<Sort>) -> bool {
    sort.is_none_or(|sort| sort.descending)
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
            first: self.first(),
            total: 0,
        })
    }

    fn requires_scoring(&self) -> bool {
        self.sort.is_none()
    }

    fn merge_fruits(&self, segments: Vec<(FirstMatches, u64)>) -> tantivy::Result<Page> {
        let (mut first, mut total) = (self.first(), 0);
        for (of_segment, count) in segments {
            first.extend(of_segment);
            total += count;
        }
        let cursors = first.into_cursors(is_descending(self.sort));
        let hits = cursors.map(|cursor| {
            let row = Row(cursor.row);
            Hit { row, cursor }
        });
        let mut hits: Vec<_> = hits.collect();
        let more = hits.len() > self.limit;
        hits.truncate(self.limit);
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
    first: FirstMatches,
    total: u64,
}

impl SegmentCollector for SegmentPage {
    type Fruit = (FirstMatches, u64);

    fn collect(&mut self, document: DocId, score: Score) {
        self.total += 1;
        let key = match &self.keys {
            Some(keys) => keys.get_val(document),
            // Scores are sums of integers, so the conversion is exact.
            None => score as i64,
        };
        let row = self.rows.get_val(document);
        let position = SortPosition::new(is_descending(self.sort), Cursor { key, row });
        if self.after.is_none_or(|after| position > after) {
            self.first.add(position);
        }
    }

    fn harvest(self) -> (FirstMatches, u64) {
        (self.first, self.total)
    }
}
