//! Splits text into words, in the same way for documents and queries.
//!
//! [`segments`] folds a text and splits it at everything except letters and digits. It also splits
//! between scripts that write spaces and those that write few: *dense* scripts, such as Hangul, Han
//! and Thai. A dense word is found by any part of it, so an index holds what begins at each of its
//! letters: [`Segment::letters`]. [`forms`] are the forms of a query's words that a text may have.

mod fold;
pub(super) mod forms;
mod hangul;

use std::ops::Range;

/// A part of a text in its folded form: a word, or a part of one in one kind of script.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Segment {
    /// The letters and digits. Hangul is spelt in the letters that are typed.
    pub(super) text: String,
    /// Whether the script is dense.
    pub(super) is_dense: bool,
    /// The letters in `text`, each with the marks on it. A syllable of Hangul is one letter.
    pub(super) letters: Vec<Letter>,
    /// Whether this segment and the one before it are dense, and only spaces are between them.
    pub(super) continues: bool,
    /// Whether this segment and the one before it are plain, and no space is between them.
    pub(super) is_attached: bool,
}

/// A letter or digit of a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Letter {
    /// The index of its first byte in the folded text.
    pub(super) at: usize,
    /// Its characters in the text before it was folded.
    pub(super) source: Range<usize>,
}

impl Segment {
    /// Returns the letters of this range, without those past the end.
    pub(super) fn part(&self, letters: Range<usize>) -> &str {
        let at = |index: usize| self.letters.get(index).map_or(self.text.len(), |it| it.at);
        &self.text[at(letters.start)..at(letters.end)]
    }

    /// Returns the characters of the unfolded text that have these bytes of the folded one. The range
    /// ends with the letter of the last byte. Returns `None` for an empty range.
    pub(super) fn source(&self, bytes: Range<usize>) -> Option<Range<usize>> {
        let after = self.letters.partition_point(|letter| letter.at < bytes.end);
        let first = self
            .letters
            .partition_point(|letter| letter.at <= bytes.start);
        let first = self.letters.get(first.checked_sub(1)?)?;
        let last = self.letters.get(after.checked_sub(1)?)?;
        Some(first.source.start..last.source.end)
    }
}

/// Returns the segments of a text, in the order of the text.
pub(super) fn segments(text: &str) -> Vec<Segment> {
    let mut splitting = Splitting::default();
    for (index, character) in text.chars().enumerate() {
        let mut is_dropped = true;
        let is_word = fold::is_sign_of_a_word(character);
        if is_word {
            splitting.end();
        }
        fold::fold(character, |part| {
            is_dropped = false;
            splitting.add(part, index);
        });
        if is_word {
            splitting.end();
        }
        if is_dropped {
            splitting.extend_letter(index);
        }
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
            .letters
            .extend(segment.letters.iter().map(|letter| Letter {
                at: before + letter.at,
                source: letter.source.clone(),
            }));
        whole.text.push_str(&segment.text);
        whole.is_dense = segment.is_dense;
    }
    whole
}

/// A text that is being split.
#[derive(Default)]
struct Splitting {
    segments: Vec<Segment>,
    open: Option<Segment>,
    /// Whether something other than spaces followed the last segment.
    is_apart: bool,
    /// Whether a space followed the last segment.
    has_space: bool,
}

impl Splitting {
    /// Adds a part of the character at `index`.
    fn add(&mut self, part: char, index: usize) {
        let hangul = hangul::part(part);
        if hangul.is_none() && !fold::is_of_word(part) {
            self.end();
            match part.is_whitespace() {
                true => self.has_space = true,
                false => self.is_apart = true,
            }
            return;
        }
        let is_mark = hangul.is_none() && fold::is_mark(part);
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
        let (is_apart, has_space) = (self.is_apart, self.has_space);
        let follows = self.segments.last().map(|last| last.is_dense) == Some(is_dense);
        let open = self.open.get_or_insert_with(|| Segment {
            text: String::new(),
            is_dense,
            letters: Vec::new(),
            continues: follows && is_dense && !is_apart,
            is_attached: follows && !is_dense && !has_space,
        });
        (self.is_apart, self.has_space) = (false, false);
        let goes_on = is_mark || hangul.as_ref().is_some_and(|part| part.continues);
        match open.letters.last_mut() {
            Some(letter) if goes_on => letter.source.end = index + 1,
            _ => open.letters.push(Letter {
                at: open.text.len(),
                source: index..index + 1,
            }),
        }
        match hangul {
            Some(part) => open.text.push_str(part.letters),
            None if is_dense => open.text.push(part),
            None => fold::push_ascii(part, &mut open.text),
        }
    }

    /// Counts a character that folding drops, such as an accent, to the letter before it.
    fn extend_letter(&mut self, index: usize) {
        let open = self.open.as_mut();
        if let Some(letter) = open.and_then(|open| open.letters.last_mut()) {
            letter.source.end = index + 1;
        }
    }

    fn end(&mut self) {
        self.segments.extend(self.open.take());
    }
}

#[cfg(test)]
mod tests;
