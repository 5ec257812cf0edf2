//! The forms of a query's words that a text may have: the index holds what these are compared with,
//! and highlights are the places of the same forms.

use std::{collections::BTreeSet, ops::Range};

use super::{Segment, joined};

/// The number of letters of a dense script that an index holds from each letter on.
pub(in crate::search) const WINDOW_CHARS: usize = 8;

/// Bounds the length, in characters, of words that are searched with typos, because the cost grows
/// with the length.
const MAX_TYPO_WORD_CHARS: usize = 64;

/// Bounds the groups of an id or code that is written with spaces.
pub(in crate::search) const MAX_GROUPS: usize = 12;

/// Bounds an id or code without its separators, in bytes.
const MAX_CODE_BYTES: usize = 128;

/// Returns parts of a dense word that each begin a term. The last syllable that is shown while Hangul
/// is typed may hold the first letter of the next one, so a part has one character less than a term.
pub(in crate::search) fn windows(word: &Segment) -> impl Iterator<Item = &str> {
    let length = WINDOW_CHARS - 1;
    let last = word.letters.len().saturating_sub(length);
    let starts = (0..last).step_by(length.div_ceil(2)).chain([last]);
    starts.map(move |start| word.part(start..start + length))
}

/// Returns the beginnings of codes in which the word at `index` may be one group of several: each
/// shortest one with this word and a digit. An order with a longer one has these too.
pub(in crate::search) fn groups_with(words: &[Segment], index: usize) -> Vec<String> {
    let first = (index + 1).saturating_sub(MAX_GROUPS);
    let groups = (first..=index).filter_map(|start| {
        let ends = index.max(start + 1) + 1..=start + MAX_GROUPS;
        let mut codes = ends.map_while(|end| code(words, start..end));
        codes.find(|code| has_digit(code))
    });
    groups.collect()
}

/// Returns the codes that a text has with separators and without a space, such as `978-3-16`, each
/// joined and with the index of its first group.
pub(in crate::search) fn separated(words: &[Segment]) -> Vec<(usize, Segment)> {
    let mut codes = Vec::new();
    let mut index = 0;
    for groups in words.chunk_by(|_, next| next.is_attached) {
        let is_code = (2..=MAX_GROUPS).contains(&groups.len());
        let is_code = is_code && code(groups, 0..groups.len()).is_some_and(|code| has_digit(&code));
        if is_code {
            codes.push((index, joined(groups)));
        }
        index += groups.len();
    }
    codes
}

pub(in crate::search) fn has_digit(text: &str) -> bool {
    text.bytes().any(|byte| byte.is_ascii_digit())
}

/// Returns every code that words of a text may form: each run of up to [`MAX_GROUPS`] words, joined.
pub(in crate::search) fn codes(words: &[Segment]) -> BTreeSet<String> {
    let groups =
        (0..words.len()).flat_map(|start| (1..=MAX_GROUPS).map(move |count| start..start + count));
    groups.filter_map(|groups| code(words, groups)).collect()
}

/// Returns the code that these words form without separators.
pub(in crate::search) fn code(words: &[Segment], groups: Range<usize>) -> Option<String> {
    let groups = words.get(groups)?;
    let code: String = groups.iter().map(|word| word.text.as_str()).collect();
    let is_code = code.len() <= MAX_CODE_BYTES && groups.iter().all(|word| !word.is_dense);
    is_code.then_some(code)
}

/// Splits a word between letters and digits.
pub(in crate::search) fn code_parts(word: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut rest = word;
    while let Some(first) = rest.bytes().next() {
        let is_digit = first.is_ascii_digit();
        let end = rest.find(|next: char| next.is_ascii_digit() != is_digit);
        let (part, after) = rest.split_at(end.unwrap_or(rest.len()));
        parts.push(part);
        rest = after;
    }
    parts
}

/// Returns the number of tolerated typos: added, omitted, replaced or transposed letters.
pub(in crate::search) fn typos(word: &str) -> u8 {
    if word.chars().any(char::is_numeric) {
        return 0;
    }
    match word.chars().count() {
        5..9 => 1,
        9..=MAX_TYPO_WORD_CHARS => 2,
        _ => 0,
    }
}
