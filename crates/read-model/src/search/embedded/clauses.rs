//! The clauses of a search, and the levels at which orders meet them.

use tantivy::{Term, query::Query};

use super::terms::TermsQuery;

/// The levels of a kind of match: one for each weight of a field, from 1 on.
const WEIGHTS: u8 = 4;

/// The difference between the scores of a kind of match and the next better one. It exceeds the
/// weights of 40 words and the score of their neighbours.
const KIND_SCORE: u32 = 16_384;

/// The score of each level.
pub(super) const SCORES: [u32; 16] = {
    let mut scores = [0; 16];
    let mut level = 0;
    while level < (3 * WEIGHTS) as usize {
        let weight = level as u32 % WEIGHTS as u32 + 1;
        scores[level + 1] = level as u32 / WEIGHTS as u32 * KIND_SCORE + weight;
        level += 1;
    }
    scores
};

/// How well an order meets a clause. Greater ones are better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Level(pub(super) u8);

/// How a word matches. Better ones are greater.
#[derive(Debug, Clone, Copy)]
pub(super) enum Match {
    Typo,
    Part,
    Exact,
}

impl Level {
    /// The level of a condition, which has no score.
    pub(super) const CONDITION: Self = Self(3 * WEIGHTS + 1);

    /// The level of a match in a field with this weight, of 1 to 4.
    pub(super) fn new(kind: Match, weight: u8) -> Self {
        Self(kind as u8 * WEIGHTS + weight)
    }
}

/// Requires one of several things of an order. The best of those that it has counts.
pub(super) struct Clause(pub(super) Vec<Alternative>);

/// Something that orders may have.
pub(super) enum Alternative {
    /// This term.
    Term(Level, Term),
    /// A term that begins as a word does.
    Beginning(Beginning),
    /// A match of a query of tantivy.
    Query(Level, Box<dyn Query>),
}

/// A term of a text field that begins as a word does, exactly or with typos.
pub(super) struct Beginning {
    pub(super) terms: TermsQuery,
    /// The weight of the field.
    pub(super) weight: u8,
    /// The column of the field's terms, if it has one.
    pub(super) column: Option<&'static str>,
}
