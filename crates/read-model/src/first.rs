//! Keeps the first of many matches in a sort order.

use std::collections::BinaryHeap;

use crate::request::Cursor;

/// The position of a match in a sort order; smaller ones come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SortPosition {
    key: i64,
    row: u64,
}

impl SortPosition {
    pub(crate) fn new(descending: bool, Cursor { key, row }: Cursor) -> Self {
        // `!` reverses the order of integers, and is its own inverse.
        match descending {
            true => Self {
                key: !key,
                row: !row,
            },
            false => Self { key, row },
        }
    }

    /// Returns the first and the last position that a match with this key may have.
    pub(crate) fn of_key(descending: bool, key: i64) -> [Self; 2] {
        let key = if descending { !key } else { key };
        [0, u64::MAX].map(|row| Self { key, row })
    }

    /// Returns the cursor that this position was made of.
    pub(crate) fn cursor(self, descending: bool) -> Cursor {
        let Self { key, row } = self;
        let Self { key, row } = Self::new(descending, Cursor { key, row });
        Cursor { key, row }
    }
}

/// The first matches, up to a limit.
#[derive(Debug)]
pub(crate) struct FirstMatches {
    positions: BinaryHeap<SortPosition>,
    limit: usize,
}

impl FirstMatches {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            positions: BinaryHeap::new(),
            limit,
        }
    }

    /// Returns whether a match at or before this position would be kept.
    pub(crate) fn may_take(&self, position: SortPosition) -> bool {
        self.last().is_none_or(|last| position <= last)
    }

    /// Returns the last match if there are as many as the limit: others must come before it.
    pub(crate) fn last(&self) -> Option<SortPosition> {
        let is_full = self.positions.len() >= self.limit;
        self.positions.peek().filter(|_| is_full).copied()
    }

    pub(crate) fn add(&mut self, position: SortPosition) {
        if self.positions.len() < self.limit {
            self.positions.push(position);
        } else if let Some(mut last) = self.positions.peek_mut()
            && position < *last
        {
            *last = position;
        }
    }

    /// Returns the cursors of the matches, in their order.
    pub(crate) fn into_cursors(self, descending: bool) -> impl Iterator<Item = Cursor> {
        let sorted = self.positions.into_sorted_vec().into_iter();
        sorted.map(move |position| position.cursor(descending))
    }
}
