//! Matches the words of a query, and scores the matches.

use std::collections::BTreeSet;
use std::sync::Arc;

use tantivy::Term;
use tantivy::query::{
    BooleanQuery, ConstScoreQuery, DisjunctionMaxQuery, EmptyQuery, PhrasePrefixQuery, PhraseQuery,
    Query, TermQuery, TermSetQuery,
};
use tantivy::schema::IndexRecordOption;

use super::analyzer::WHOLE;
use super::schema::{Fields, TextField};
use super::stop::Stop;
use super::terms::TermsQuery;
use crate::search::tokens::forms::{code_parts, codes, groups_with, typos, windows};
use crate::search::tokens::{self, Segment};

// The score of an order is the sum of these, so that the parts of the rank follow each other: how
// well the words match, how many of them stand together, and in which fields they are. The scores are
// constant, so a document has the same score in every state of the index and on every node, and pages
// by score fit together. All are integers below 2^24, so sums in `f32` are exact.

/// The score of a match of a kind, to which the field's weight of 1 to 4 is added.
const EXACT_SCORE: u32 = 2 * PART_SCORE;
const PART_SCORE: u32 = 16_384;
const TYPO_SCORE: u32 = 0;

/// The score of two words that follow each other in a field as they do in the query. It exceeds the
/// weights of 40 words, and 39 of it do not reach [`PART_SCORE`].
const NEIGHBOURS_SCORE: f32 = 256.0;

/// Exceeds the score of 40 words, so that the order of an id comes first. An order has it once for a
/// spelling of its id or tracking number, and twice for its exact order id.
const ID_SCORE: f32 = 2_097_152.0;

/// Bounds the terms that may end a phrase, so that a short beginning costs no more.
const MAX_ENDINGS: u32 = 1_000;

/// A part of a query, which scores the orders that it matches.
type Scored = Box<dyn Query>;

/// The parts of a query for a text.
pub(super) struct Matches {
    /// One for each word, all of which must match.
    pub(super) required: Vec<Scored>,
    /// The parts that only raise the score.
    pub(super) optional: Vec<Scored>,
}

/// Builds the queries for a text. Returns `None` for a text without words.
pub(super) fn matches(
    fields: &Fields,
    text: &str,
    stop: &Arc<Stop>,
) -> tantivy::Result<Option<Matches>> {
    let words = tokens::segments(text);
    if words.is_empty() {
        return Ok(None);
    }
    let matching = Matching { fields, stop };
    let mut required = Vec::with_capacity(words.len());
    let mut seen = BTreeSet::new();
    for (index, word) in words.iter().enumerate() {
        let groups = groups_with(&words, index);
        if seen.insert(&word.text) || !groups.is_empty() {
            required.push(matching.word(word, &groups)?);
        }
    }
    let mut optional = vec![matching.ids(text, &words)];
    optional.extend((1..words.len()).map(|second| matching.neighbours(&words, second)));
    Ok(Some(Matches { required, optional }))
}

/// Builds queries of the fields of an index for a search.
struct Matching<'a> {
    fields: &'a Fields,
    stop: &'a Arc<Stop>,
}

impl Matching<'_> {
    /// Matches the orders with this word in any field, alone or as a part of a code. The best of an
    /// order's matches counts.
    fn word(&self, word: &Segment, groups: &[String]) -> tantivy::Result<Scored> {
        let mut matches = Vec::new();
        for field in self.fields.texts() {
            match word.is_dense {
                true => matches.extend(self.dense(field, word)?),
                false => matches.extend(self.plain(field, &word.text)?),
            }
            for group in groups {
                matches.extend(self.begins(field, group));
            }
        }
        Ok(Box::new(DisjunctionMaxQuery::new(matches)))
    }

    fn beginning(&self, field: &TextField, text: &str) -> TermsQuery {
        TermsQuery::beginning(field.field, text, self.stop)
    }

    fn near(&self, field: &TextField, text: &str) -> tantivy::Result<TermsQuery> {
        TermsQuery::near(field.field, text, typos(text), self.stop)
    }

    /// Matches a plain word exactly and as a beginning.
    fn begins(&self, field: &TextField, word: &str) -> [Scored; 2] {
        [
            scored(is_term(field, word), EXACT_SCORE, field),
            scored(self.beginning(field, word), PART_SCORE, field),
        ]
    }

    fn plain(&self, field: &TextField, word: &str) -> tantivy::Result<Vec<Scored>> {
        let mut matches = Vec::from(self.begins(field, word));
        if typos(word) > 0 && !field.is_id {
            matches.push(scored(self.near(field, word)?, TYPO_SCORE, field));
        }
        let parts = code_parts(word);
        if parts.len() > 1 && !field.is_id {
            let terms = parts.iter().map(|part| term(field, part)).enumerate();
            matches.push(scored(phrase(terms.collect()), PART_SCORE, field));
        }
        Ok(matches)
    }

    /// Matches a word of a dense script as a whole word, as a part of one, and with typos.
    fn dense(&self, field: &TextField, word: &Segment) -> tantivy::Result<Vec<Scored>> {
        let parts: Vec<_> = windows(word).collect();
        let beginnings = parts.iter().map(|part| self.beginning(field, part));
        let mut matches = vec![scored(all(beginnings), PART_SCORE, field)];
        if let [_] = parts[..] {
            matches.push(scored(is_term(field, &whole(word)), EXACT_SCORE, field));
        }
        if typos(&word.text) > 0 && !field.is_id {
            let near = parts.iter().map(|part| self.near(field, part));
            let near = near.collect::<tantivy::Result<Vec<_>>>()?;
            matches.push(scored(all(near), TYPO_SCORE, field));
        }
        Ok(matches)
    }

    /// Matches the order whose id is this text, and those whose id or tracking number is in it, however
    /// grouped.
    fn ids(&self, text: &str, words: &[Segment]) -> Scored {
        let codes = codes(words).into_iter();
        let codes: Vec<_> = codes.map(|code| format!("{code}{WHOLE}")).collect();
        let fields = self.fields.texts().into_iter().filter(|field| field.is_id);
        let terms = fields.flat_map(|field| codes.iter().map(|code| term(field, code)));
        let exact = Term::from_field_text(self.fields.order_id, text.trim());
        let exact = TermQuery::new(exact, IndexRecordOption::Basic);
        let found: [Scored; 2] = [Box::new(TermSetQuery::new(terms)), Box::new(exact)];
        let scored =
            found.map(|query| -> Scored { Box::new(ConstScoreQuery::new(query, ID_SCORE)) });
        Box::new(BooleanQuery::union(scored.into()))
    }

    /// Matches the orders in which this word follows the one before it.
    fn neighbours(&self, words: &[Segment], second: usize) -> Scored {
        let pair = &words[second - 1..=second];
        let is_last = second + 1 == words.len();
        let fields = self.fields.texts().into_iter().filter(|field| !field.is_id);
        let found = fields.map(|field| -> Scored {
            let joined = tokens::joined(pair);
            match pair {
                [first, second] if first.is_dense && second.is_dense => {
                    Box::new(all(windows(&joined).map(|part| self.beginning(field, part))))
                }
                [first, second] => {
                    let at = if first.is_dense {
                        first.letters.len()
                    } else {
                        1
                    };
                    let begin = if first.is_dense {
                        whole(first)
                    } else {
                        first.text.clone()
                    };
                    let terms = vec![(0, term(field, &begin)), (at, term(field, &second.text))];
                    match is_last || second.is_dense {
                        true => Box::new(phrase(terms)),
                        false => Box::new(PhraseQuery::new_with_offset(terms)),
                    }
                }
                _ => Box::new(EmptyQuery),
            }
        });
        let found = BooleanQuery::union(found.collect());
        Box::new(ConstScoreQuery::new(Box::new(found), NEIGHBOURS_SCORE))
    }
}

fn scored(query: impl Query, kind: u32, field: &TextField) -> Scored {
    let score = kind + u32::from(field.weight);
    // Scores are below 2^24.
    Box::new(ConstScoreQuery::new(Box::new(query), score as f32))
}

fn term(field: &TextField, text: &str) -> Term {
    Term::from_field_text(field.field, text)
}

fn is_term(field: &TextField, text: &str) -> TermQuery {
    TermQuery::new(term(field, text), IndexRecordOption::Basic)
}

fn whole(word: &Segment) -> String {
    format!("{}{WHOLE}", word.text)
}

/// Matches terms that follow each other, of which the last one may go on.
fn phrase(terms: Vec<(usize, Term)>) -> PhrasePrefixQuery {
    let mut phrase = PhrasePrefixQuery::new_with_offset(terms);
    phrase.set_max_expansions(MAX_ENDINGS);
    phrase
}

fn all(queries: impl IntoIterator<Item = TermsQuery>) -> BooleanQuery {
    let boxed = queries
        .into_iter()
        .map(|query| -> Scored { Box::new(query) });
    BooleanQuery::intersection(boxed.collect())
}
