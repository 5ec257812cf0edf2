//! Finds the first matches by a column, segment by segment.

use tantivy::{DocId, SegmentReader};

use crate::{
    columns::{self, Values},
    first::{FirstMatches, SortPosition},
    request::Cursor,
};

/// The first matches after a position, by a column and then by row.
pub(crate) struct SortedPage {
    column: &'static str,
    row_column: &'static str,
    descending: bool,
    after: Option<SortPosition>,
    first: FirstMatches,
    /// The columns of keys and rows; `None` if no order of the segment can be on the page.
    columns: Option<[Values; 2]>,
    keys: Vec<u64>,
}

impl SortedPage {
    /// Begins a page of `limit` matches by a column whose numbers are [`columns::ordered`].
    pub(crate) fn new(
        [column, row_column]: [&'static str; 2],
        descending: bool,
        after: Option<Cursor>,
        limit: usize,
    ) -> Self {
        Self {
            column,
            row_column,
            descending,
            after: after.map(|after| SortPosition::new(descending, after)),
            first: FirstMatches::new(limit),
            columns: None,
            keys: Vec::new(),
        }
    }

    /// Returns the place of a segment in the order in which segments are best read. The one with the
    /// first key comes first: it is likely to fill the page, so that the keys of others need not be
    /// read.
    pub(crate) fn rank(&self, segment: &SegmentReader) -> tantivy::Result<u64> {
        let keys = columns::values(segment, self.column)?;
        Ok(match self.descending {
            true => !keys.max_value(),
            false => keys.min_value(),
        })
    }

    pub(crate) fn begin(&mut self, segment: &SegmentReader) -> tantivy::Result<()> {
        let keys = columns::values(segment, self.column)?;
        self.columns = None;
        if self.may_take(keys.min_value(), keys.max_value()) {
            self.columns = Some([keys, columns::values(segment, self.row_column)?]);
        }
        Ok(())
    }

    /// Takes matches of the segment, in blocks, except for some rows.
    pub(crate) fn visit(&mut self, documents: &[DocId], is_left_out: impl Fn(u64) -> bool) {
        let Some([keys, rows]) = self.columns.clone() else {
            return;
        };
        columns::read(&keys, documents, &mut self.keys);
        for (at, &document) in documents.iter().enumerate() {
            let key = self.keys[at];
            // The row is read only if it can matter.
            if !self.may_take(key, key) {
                continue;
            }
            let row = rows.get_val(document);
            if !is_left_out(row) {
                let key = columns::signed(key);
                self.add(Cursor { key, row });
            }
        }
    }

    /// Adds a match, if it is after the position that the page begins at.
    pub(crate) fn add(&mut self, cursor: Cursor) {
        let position = SortPosition::new(self.descending, cursor);
        if self.after.is_none_or(|after| position > after) {
            self.first.add(position);
        }
    }

    /// Returns the cursors of the matches, in their order.
    pub(crate) fn into_cursors(self) -> impl Iterator<Item = Cursor> {
        self.first.into_cursors(self.descending)
    }

    /// Returns whether an order can be on the page if its key is between two.
    fn may_take(&self, least: u64, most: u64) -> bool {
        let [least, most] = [least, most].map(columns::signed);
        let (begins, ends) = match self.descending {
            true => (most, least),
            false => (least, most),
        };
        let [earliest, _] = SortPosition::of_key(self.descending, begins);
        let [_, latest] = SortPosition::of_key(self.descending, ends);
        self.after.is_none_or(|after| latest > after) && self.first.may_take(earliest)
    }
}
