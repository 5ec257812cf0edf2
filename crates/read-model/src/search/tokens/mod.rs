//! Splits text into words, in the same way for documents and queries.
//!
//! [`segments`] folds a text and splits it at everything except letters and digits. It also splits
//! between scripts that write spaces and those that write few: *dense* scripts, such as Hangul, Han
//! and Thai. A dense word is found by any part of it, so an index holds what begins at each of its
//! characters: [`Segment::starts`].

mod fold;
mod hangul;

use std::{collections::BTreeSet, ops::Range};

/// Bounds the groups of an id or code that is written with spaces.
pub(super) const MAX_GROUPS: usize = 12;

/// Bounds an id or code without its separators, in bytes.
const MAX_CODE_BYTES: usize = 128;

/// A part of a text in its folded form: a word, or a part of one in one kind of script.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Segment {
    /// The letters and digits. Hangul is spelt in the letters that are typed.
    pub(super) text: String,
    /// Whether the script is dense.
    pub(super) is_dense: bool,
    /// The index in `text` of each character, if the script is dense. A syllable of Hangul is one
    /// character.
    pub(super) starts: Vec<usize>,
    /// Whether this segment and the one before it are dense, and only spaces are between them.
    pub(super) continues: bool,
}

impl Segment {
    /// Returns the characters of this range, without those past the end.
    pub(super) fn part(&self, characters: Range<usize>) -> &str {
        let at = |index: usize| self.starts.get(index).copied().unwrap_or(self.text.len());
        &self.text[at(characters.start)..at(characters.end)]
    }
}

/// Returns the segments of a text, in the order of the text.
pub(super) fn segments(text: &str) -> Vec<Segment> {
    let mut splitting = Splitting::default();
    for part in text.chars().flat_map(fold::fold) {
        splitting.add(part);
    }
    splitting.end();
    splitting.segments
}

/// Returns the texts of the segments of a text.
pub(super) fn texts(text: &str) -> Vec<String> {
    segments(text)
        .into_iter()
        .map(|segment| segment.text)
        .collect()
}

/// Joins segments, as if the text had nothing between them.
pub(super) fn joined(segments: &[Segment]) -> Segment {
    let mut whole = Segment::default();
    for segment in segments {
        let before = whole.text.len();
        whole
            .starts
            .extend(segment.starts.iter().map(|start| before + start));
        whole.text.push_str(&segment.text);
        whole.is_dense = segment.is_dense;
    }
    whole
}

/// Returns every code that words of a text may form: each run of up to [`MAX_GROUPS`] words, joined.
pub(super) fn codes(words: &[Segment]) -> BTreeSet<String> {
    let groups =
        (0..words.len()).flat_map(|start| (1..=MAX_GROUPS).map(move |count| start..start + count));
    groups.filter_map(|groups| code(words, groups)).collect()
}

/// Returns the code that these words form without separators.
pub(super) fn code(words: &[Segment], groups: Range<usize>) -> Option<String> {
    let groups = words.get(groups)?;
    let code: String = groups.iter().map(|word| word.text.as_str()).collect();
    let is_code = code.len() <= MAX_CODE_BYTES && groups.iter().all(|word| !word.is_dense);
    is_code.then_some(code)
}

/// A text that is being split.
#[derive(Default)]
struct Splitting {
    segments: Vec<Segment>,
    open: Option<Segment>,
    /// Whether something other than spaces followed the last segment.
    is_apart: bool,
}

impl Splitting {
    fn add(&mut self, part: char) {
        if !fold::is_of_word(part) {
            self.end();
            self.is_apart |= !part.is_whitespace();
            return;
        }
        let hangul = hangul::part(part);
        let is_mark = fold::is_mark(part);
        let is_dense = match &self.open {
            Some(open) if is_mark => open.is_dense,
            None if is_mark => return,
            _ => hangul.is_some() || fold::is_dense(part),
        };
        if self
            .open
            .as_ref()
            .is_some_and(|open| open.is_dense != is_dense)
        {
            self.end();
        }
        let (segments, is_apart) = (&self.segments, self.is_apart);
        let open = self.open.get_or_insert_with(|| Segment {
            text: String::new(),
            is_dense,
            starts: Vec::new(),
            continues: is_dense && !is_apart && segments.last().is_some_and(|last| last.is_dense),
        });
        self.is_apart = false;
        let is_first = open.text.is_empty();
        let goes_on = is_mark || hangul.as_ref().is_some_and(|part| part.continues);
        if is_dense && (is_first || !goes_on) {
            open.starts.push(open.text.len());
        }
        match hangul {
            Some(part) => open.text.push_str(part.letters),
            None => open.text.push(part),
        }
    }

    fn end(&mut self) {
        if let Some(mut segment) = self.open.take() {
            if !segment.is_dense {
                segment.text = fold::ascii(segment.text);
            }
            self.segments.push(segment);
        }
    }
}

#[cfg(test)]
mod tests;
