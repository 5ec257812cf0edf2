//! Matches the words of a query, and scores the matches.

use tantivy::Term;
use tantivy::query::{ConstScoreQuery, DisjunctionMaxQuery, FuzzyTermQuery, Query, TermQuery};
use tantivy::schema::IndexRecordOption;

use super::schema::{Fields, TextField};

// A match scores one of these factors times its field's weight, which is 1 to 4. The worst exact
// match scores more than the best prefix, and the worst prefix more than the best typo. The factors
// are constant, so a document has the same score in every state of the index, and pages by score
// fit together. The factors are small integers, so sums need no rounding.
const EXACT_FACTOR: u16 = 25;
const PREFIX_FACTOR: u16 = 5;
const TYPO_FACTOR: u16 = 1;

/// Bounds the length, in characters, of words that are searched with typos, because the cost grows
/// with the length.
const MAX_TYPO_WORD_CHARS: usize = 64;

/// Builds a query for the orders with this word in any field: exactly, as a prefix, or with typos.
/// The best of an order's matches counts.
pub(super) fn matches(fields: &Fields, word: &str) -> Box<dyn Query> {
    let matches = fields
        .texts()
        .into_iter()
        .flat_map(|text| matches_in(text, word))
        .collect();
    Box::new(DisjunctionMaxQuery::new(matches))
}

fn matches_in(text: &TextField, word: &str) -> Vec<Box<dyn Query>> {
    let term = Term::from_field_text(text.field, word);
    let scored = |query: Box<dyn Query>, kind: u16| -> Box<dyn Query> {
        Box::new(ConstScoreQuery::new(query, f32::from(kind * text.weight)))
    };
    let begins = |typos| FuzzyTermQuery::new_prefix(term.clone(), typos, true);
    let exact = TermQuery::new(term.clone(), IndexRecordOption::Basic);
    let mut matches = vec![
        scored(Box::new(exact), EXACT_FACTOR),
        scored(Box::new(begins(0)), PREFIX_FACTOR),
    ];
    let typos = typos(word);
    if typos > 0 && !text.is_id {
        matches.push(scored(Box::new(begins(typos)), TYPO_FACTOR));
    }
    matches
}

/// Returns the number of tolerated typos: added, omitted, replaced or transposed letters.
fn typos(word: &str) -> u8 {
    if word.chars().any(char::is_numeric) {
        return 0;
    }
    match word.chars().count() {
        5..9 => 1,
        9..=MAX_TYPO_WORD_CHARS => 2,
        _ => 0,
    }
}
