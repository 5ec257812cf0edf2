//! Collects one page: the first matches after a cursor, in the requested order.

use tantivy::SegmentReader;

use super::scan::Scan;
use super::schema::{self, ROW_COLUMN};
use crate::columns::{self, Values};
use crate::first::{FirstMatches, SortPosition};
use crate::request::Cursor;
use crate::search::SearchRequest;
use crate::sorted_page::SortedPage;

/// A page that is being collected.
pub(super) enum Page {
    ByScore(RankedPage),
    ByColumn(SortedPage),
}

impl Page {
    /// Collects one match more than the page holds, to know whether more follow.
    pub(super) fn new(request: &SearchRequest) -> Self {
        let limit = request.limit.saturating_add(1);
        match request.sort {
            None => Self::ByScore(RankedPage {
                after: request.after.map(position),
                first: FirstMatches::new(limit),
                rows: None,
                values: Vec::new(),
                candidates: Vec::new(),
            }),
            Some(sort) => Self::ByColumn(SortedPage::new(
                [schema::column(sort.field), ROW_COLUMN],
                sort.descending,
                request.after,
                limit,
            )),
        }
    }

    /// Returns the place of a segment in the order in which segments are best read.
    pub(super) fn rank(&self, segment: &SegmentReader) -> tantivy::Result<u64> {
        match self {
            Self::ByScore(_) => Ok(!columns::values(segment, ROW_COLUMN)?.max_value()),
            Self::ByColumn(page) => page.rank(segment),
        }
    }

    pub(super) fn begin(&mut self, segment: &SegmentReader) -> tantivy::Result<()> {
        match self {
            Self::ByScore(page) => page.rows = Some(columns::values(segment, ROW_COLUMN)?),
            Self::ByColumn(page) => page.begin(segment)?,
        }
        Ok(())
    }

    /// Takes the matches of a window.
    pub(super) fn visit(&mut self, scan: &mut Scan<'_>) -> tantivy::Result<()> {
        match self {
            Self::ByScore(page) => page.visit(scan)?,
            Self::ByColumn(page) => page.visit(&scan.documents, |_| false),
        }
        Ok(())
    }

    /// Returns the cursors of the matches, in their order.
    pub(super) fn into_cursors(self) -> Vec<Cursor> {
        match self {
            Self::ByScore(page) => page.first.into_cursors(true).collect(),
            Self::ByColumn(page) => page.into_cursors().collect(),
        }
    }
}

/// The best matches, and the newest of equally good ones.
pub(super) struct RankedPage {
    after: Option<SortPosition>,
    first: FirstMatches,
    rows: Option<Values>,
    values: Vec<u64>,
    /// Indexes of matches in a window.
    candidates: Vec<usize>,
}

impl RankedPage {
    /// Whether words follow each other is examined only where it decides: it takes the longest.
    fn visit(&mut self, scan: &mut Scan<'_>) -> tantivy::Result<()> {
        let Some(rows) = &self.rows else {
            return Ok(());
        };
        let max_neighbours = scan.max_neighbours_score();
        let best = scan
            .scores
            .iter()
            .max()
            .map_or(0, |score| score + max_neighbours);
        if !self.first.may_take(scored(best, u64::MAX)) {
            return Ok(());
        }
        columns::read(rows, &scan.documents, &mut self.values);
        self.find_candidates(&scan.scores, max_neighbours);
        for index in 0..self.candidates.len() {
            let at = self.candidates[index];
            let (score, row) = (scan.scores[at], self.values[at]);
            let is_late = |after| scored(score, row) > after;
            if !self.first.may_take(scored(score + max_neighbours, row))
                || !self.after.is_none_or(is_late)
            {
                continue;
            }
            let neighbours = match max_neighbours {
                0 => 0,
                _ => scan.neighbours_score(scan.documents[at])?,
            };
            let position = scored(score + neighbours, row);
            if self.after.is_none_or(|after| position > after) {
                self.first.add(position);
            }
        }
        Ok(())
    }

    /// Finds the matches of a window that may be better than the last one of the page. Does not branch:
    /// among equally good ones, each may be newer.
    fn find_candidates(&mut self, scores: &[u32], max_neighbours: u32) {
        let last = self.first.last().map(|last| last.cursor(true));
        let (score, row) = last.map_or((i64::MIN, 0), |last| (last.key, last.row));
        self.candidates.resize(scores.len(), 0);
        let mut found = 0;
        for (at, (&of, &of_row)) in scores.iter().zip(&self.values).enumerate() {
            let best = i64::from(of + max_neighbours);
            self.candidates[found] = at;
            found += usize::from((best > score) | ((best == score) & (of_row >= row)));
        }
        self.candidates.truncate(found);
    }
}

fn scored(score: u32, row: u64) -> SortPosition {
    position(Cursor {
        key: score.into(),
        row,
    })
}

fn position(cursor: Cursor) -> SortPosition {
    SortPosition::new(true, cursor)
}
