//! Collects one page: the first matches after a cursor, in the requested order.

use std::collections::BinaryHeap;
use std::sync::Arc;

use tantivy::collector::{Collector, SegmentCollector};
use tantivy::columnar::ColumnValues;
use tantivy::{DocId, Score, SegmentOrdinal, SegmentReader};

use super::schema;
use crate::request::{Cursor, Sort};
use crate::search::Request;

/// The collector of a page.
pub(super) struct Collect {
    sort: Option<Sort>,
    after: Option<Place>,
    limit: usize,
}

/// The collected page.
pub(super) struct Page {
    pub(super) rows: Vec<u64>,
    pub(super) next: Option<Cursor>,
    pub(super) total: u64,
}

/// The sort position of a match; smaller ones come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    key: i64,
    row: u64,
}

impl Collect {
    pub(super) fn new(request: &Request) -> Self {
        let sort = request.sort;
        Self {
            sort,
            after: request.after.map(|cursor| place(sort, cursor)),
            limit: request.limit,
        }
    }

    /// Collects one match more than the page holds, to know whether more follow.
    fn first(&self) -> First {
        First {
            places: BinaryHeap::new(),
            count: self.limit.saturating_add(1),
        }
    }
}

fn place(sort: Option<Sort>, Cursor { key, row }: Cursor) -> Place {
    // `!` reverses the order of integers, and is its own inverse.
    if sort.is_none_or(|sort| sort.descending) {
        Place {
            key: !key,
            row: !row,
        }
    } else {
        Place { key, row }
    }
}

fn cursor(sort: Option<Sort>, Place { key, row }: Place) -> Cursor {
    let Place { key, row } = place(sort, Cursor { key, row });
    Cursor { key, row }
}

impl Collector for Collect {
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
            rows: columns.column_first_or_default(schema::ROW)?,
            first: self.first(),
            total: 0,
        })
    }

    fn requires_scoring(&self) -> bool {
        self.sort.is_none()
    }

    fn merge_fruits(&self, segments: Vec<(First, u64)>) -> tantivy::Result<Page> {
        let total = segments.iter().map(|(_, total)| total).sum();
        let mut first = self.first();
        for place in segments.into_iter().flat_map(|(first, _)| first.places) {
            first.add(place);
        }
        let mut places = first.places.into_sorted_vec();
        let more = places.len() > self.limit;
        places.truncate(self.limit);
        let next = places.last().filter(|_| more);
        let next = next.map(|last| cursor(self.sort, *last));
        let rows = places.iter().map(|place| cursor(self.sort, *place).row);
        let rows = rows.collect();
        Ok(Page { rows, next, total })
    }
}

/// The page of one segment.
pub(super) struct SegmentPage {
    sort: Option<Sort>,
    after: Option<Place>,
    /// The column of the sort field; `None` sorts by score.
    keys: Option<Arc<dyn ColumnValues<i64>>>,
    rows: Arc<dyn ColumnValues<u64>>,
    first: First,
    total: u64,
}

impl SegmentCollector for SegmentPage {
    type Fruit = (First, u64);

    fn collect(&mut self, document: DocId, score: Score) {
        self.total += 1;
        let key = match &self.keys {
            Some(keys) => keys.get_val(document),
            // Scores are sums of integers, so the conversion is exact.
            None => score as i64,
        };
        let row = self.rows.get_val(document);
        let place = place(self.sort, Cursor { key, row });
        if self.after.is_none_or(|after| place > after) {
            self.first.add(place);
        }
    }

    fn harvest(self) -> (First, u64) {
        (self.first, self.total)
    }
}

/// The first `count` matches.
pub(super) struct First {
    places: BinaryHeap<Place>,
    count: usize,
}

impl First {
    fn add(&mut self, place: Place) {
        if self.places.len() < self.count {
            self.places.push(place);
        } else if let Some(mut last) = self.places.peek_mut()
            && place < *last
        {
            *last = place;
        }
    }
}
