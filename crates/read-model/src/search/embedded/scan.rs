//! Finds the orders that a search matches, segment by segment, in windows.
//!
//! The clauses set the levels of the documents of a window, one clause after the other, as in Lucene's
//! `BooleanScorer`. Sources with very many orders are therefore read at the speed of memory, and in
//! windows without a match of the rarest clause nothing else is read.
//!
//! The score of an order is a sum, so that the parts of the rank follow each other: how well the words
//! match and in which fields ([`super::clauses`]), and how many of them stand together. The parts are
//! constant, so an order has the same score in every state of the index and on every node, and pages
//! by score fit together.

use std::sync::Arc;

use tantivy::query::{EnableScoring, Query, Scorer};
use tantivy::{DocId, Searcher, SegmentReader};

use super::clauses::{Clause, Level, SCORES};
use super::sources::{Sources, WINDOW, WindowLevels};
use super::stop::Stop;

/// The score of two words that follow each other in a field as they do in the query. It exceeds the
/// weights of 40 words, and 39 of it do not reach the score of a better match.
const NEIGHBOURS_SCORE: u32 = 256;

/// Exceeds the score of 40 words, so that the order of an id comes first. An order has it once for a
/// spelling of its id or tracking number, and twice for its exact order id.
const ID_SCORE: u32 = 2_097_152;

/// Levels that are read together: often all of them are 0.
const LEVELS_AT_ONCE: usize = 16;

/// The demands of a search on orders.
#[derive(Default)]
pub(super) struct Criteria {
    /// Each must be met.
    pub(super) required: Vec<Clause>,
    /// Each raises the score to that of an order whose id was searched.
    pub(super) ids: Vec<Clause>,
    /// One for each pair of words that follow each other: one of these queries is true.
    pub(super) neighbours: Vec<Vec<Box<dyn Query>>>,
}

/// The matches of a segment.
pub(super) struct Scan<'a> {
    criteria: &'a Criteria,
    searcher: &'a Searcher,
    segment: &'a SegmentReader,
    stop: &'a Arc<Stop>,
    /// The rarest clause comes first.
    required: Vec<Sources>,
    ids: Vec<Sources>,
    /// The first pairs of the criteria, opened when an order asks for them.
    neighbours: Vec<Vec<Box<dyn Scorer>>>,
    /// The first document of the next window.
    next: DocId,
    levels: WindowLevels,
    /// The matches of a window, and their scores without neighbours.
    pub(super) documents: Vec<DocId>,
    pub(super) scores: Vec<u32>,
}

impl<'a> Scan<'a> {
    pub(super) fn new(
        criteria: &'a Criteria,
        searcher: &'a Searcher,
        segment: &'a SegmentReader,
        stop: &'a Arc<Stop>,
    ) -> tantivy::Result<Self> {
        let open = |clauses: &[Clause]| {
            let clauses = clauses.iter();
            let opened = clauses.map(|clause| Sources::open(clause, searcher, segment));
            opened.collect::<tantivy::Result<Vec<_>>>()
        };
        let mut required = open(&criteria.required)?;
        required.sort_by_key(|sources| sources.cost);
        Ok(Self {
            criteria,
            searcher,
            segment,
            stop,
            required,
            ids: open(&criteria.ids)?,
            neighbours: Vec::new(),
            next: 0,
            levels: WindowLevels::new(),
            documents: Vec::with_capacity(WINDOW as usize),
            scores: Vec::with_capacity(WINDOW as usize),
        })
    }

    /// Finds the next matches. Returns whether there are any.
    ///
    /// # Errors
    /// The caller is gone.
    pub(super) fn advance(&mut self) -> tantivy::Result<bool> {
        while self.next < self.segment.max_doc() && !self.stop.is_over()? {
            let start = self.next;
            self.next = self.segment.max_doc().min(start + WINDOW);
            self.window(start, self.next);
            if !self.documents.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn window(&mut self, start: DocId, end: DocId) {
        let (documents, scores) = (&mut self.documents, &mut self.scores);
        let levels = &mut self.levels;
        documents.clear();
        scores.clear();
        let mut required = self.required.iter_mut();
        match required.next() {
            Some(rarest) => {
                rarest.set_levels(&(start..end), None, levels);
                collect(levels, documents, scores);
            }
            None => {
                documents.extend(start..end);
                scores.resize(documents.len(), 0);
            }
        }
        for sources in required {
            let (Some(first), Some(last)) = (documents.first(), documents.last()) else {
                return;
            };
            sources.set_levels(&(*first..*last + 1), Some(documents), levels);
            retain(documents, scores, |document| levels.level(document));
        }
        if let Some(alive) = self.segment.alive_bitset() {
            retain(documents, scores, |document| {
                u8::from(alive.is_alive(document)) * Level::CONDITION.0
            });
        }
        for ids in &mut self.ids {
            let (Some(first), Some(last)) = (documents.first(), documents.last()) else {
                return;
            };
            ids.set_levels(&(*first..*last + 1), Some(documents), levels);
            if levels.is_empty() {
                continue;
            }
            for (document, score) in documents.iter().zip(&mut *scores) {
                *score += u32::from(levels.level(*document) > 0) * ID_SCORE;
            }
        }
    }

    /// Returns the most that neighbours can add to the score of an order.
    pub(super) fn max_neighbours_score(&self) -> u32 {
        // A text has at most 40 words.
        self.criteria.neighbours.len() as u32 * NEIGHBOURS_SCORE
    }

    /// Returns what neighbours add to the score of a match, or less if the search must stop. Matches come
    /// in their order.
    pub(super) fn neighbours_score(&mut self, document: DocId) -> tantivy::Result<u32> {
        let mut score = 0;
        for (pair, queries) in self.criteria.neighbours.iter().enumerate() {
            // Finding the next place of two words can take long.
            if self.stop.is_over()? {
                break;
            }
            if pair == self.neighbours.len() {
                let scorers = queries.iter().map(|query| self.scorer(query.as_ref()));
                let scorers = scorers.collect::<tantivy::Result<_>>()?;
                self.neighbours.push(scorers);
            }
            let is_met = self.neighbours[pair].iter_mut().any(|scorer| {
                if scorer.doc() < document {
                    scorer.seek(document);
                }
                scorer.doc() == document
            });
            score += u32::from(is_met) * NEIGHBOURS_SCORE;
        }
        Ok(score)
    }

    fn scorer(&self, query: &dyn Query) -> tantivy::Result<Box<dyn Scorer>> {
        let weight = query.weight(EnableScoring::disabled_from_searcher(self.searcher))?;
        weight.scorer(self.segment, 1.0)
    }
}

/// Collects the documents that have a level, with its score. Does not branch on a
/// single document, because a processor could not predict which ones they are.
fn collect(window: &WindowLevels, documents: &mut Vec<DocId>, scores: &mut Vec<u32>) {
    let (first, levels) = window.reached();
    documents.resize(levels.len(), 0);
    scores.resize(levels.len(), 0);
    let (mut document, mut kept) = (first, 0);
    for group in levels.chunks(LEVELS_AT_ONCE) {
        let next = document + group.len() as DocId;
        // A rare word has few documents in a window.
        if group.iter().any(|level| *level > 0) {
            for (document, &level) in (document..next).zip(group) {
                documents[kept] = document;
                scores[kept] = score(level);
                kept += usize::from(level > 0);
            }
        }
        document = next;
    }
    documents.truncate(kept);
    scores.truncate(kept);
}

/// Keeps the documents that have a level, and adds its score. Does not branch, as [`collect`].
fn retain(documents: &mut Vec<DocId>, scores: &mut Vec<u32>, level: impl Fn(DocId) -> u8) {
    let mut kept = 0;
    for at in 0..documents.len() {
        let document = documents[at];
        let level = level(document);
        documents[kept] = document;
        scores[kept] = scores[at] + score(level);
        kept += usize::from(level > 0);
    }
    documents.truncate(kept);
    scores.truncate(kept);
}

fn score(level: u8) -> u32 {
    SCORES[usize::from(level) % SCORES.len()]
}
