//! What a word of the query matches, and what that is worth.

use tantivy::Term;
use tantivy::query::{ConstScoreQuery, DisjunctionMaxQuery, FuzzyTermQuery, Query, TermQuery};
use tantivy::schema::IndexRecordOption;

use super::schema::{Fields, TextField};

// A match is worth one of these times its field's weight, which is 1 to 4: the worst exact match
// is worth more than the best prefix, and that more than the best typo. Being constants, they make
// the same score of the same document in every state of the index, so that pages by score fit
// together; being small whole numbers, they are summed without rounding.
const EXACT: u16 = 25;
const PREFIX: u16 = 5;
const TYPO: u16 = 1;

/// Longer words are not searched with typos, for what that costs grows with their length.
const LONGEST_WITH_TYPOS: usize = 64;

/// The orders with this word in any field: as it is, as the beginning of a longer word, or with
/// typos. The best of its matches counts.
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
        scored(Box::new(exact), EXACT),
        scored(Box::new(begins(0)), PREFIX),
    ];
    let typos = typos(word);
    if typos > 0 && !text.is_id {
        matches.push(scored(Box::new(begins(typos)), TYPO));
    }
    matches
}

/// How many typos are forgiven: letters added, left out, replaced, or swapped with the next.
fn typos(word: &str) -> u8 {
    if word.chars().any(char::is_numeric) {
        return 0;
    }
    match word.chars().count() {
        5..9 => 1,
        9..=LONGEST_WITH_TYPOS => 2,
        _ => 0,
    }
}
