//! The terms of the indexed texts.
//!
//! A plain word is one term. A code with separators, such as `GR-123`, is also one term without them.
//!
//! A word of a dense script has a term for each of its characters, which goes on to the end of the run
//! or for [`WINDOW_CHARS`] characters. So a part of the word is the beginning of a term, while it is
//! being typed and with typos too. Spaces do not end a run: `김 철수` is found as `김철수`, and the other
//! way round.
//!
//! A term with a space at its end is a whole dense word.

use std::vec;

use tantivy::tokenizer::{Token, TokenStream, Tokenizer};

use crate::search::tokens::{
    self, Segment,
    forms::{self, WINDOW_CHARS},
};

/// The analyzer of texts. Raise the number in its name with every change to the terms of a text, so
/// that an index of the old analyzer has another schema.
pub(super) const TEXT_ANALYZER: &str = "words-3";

/// The analyzer of ids, whose name has a number for the same reason.
pub(super) const ID_ANALYZER: &str = "ids-3";

/// Bounds a word in the index, in bytes.
const MAX_WORD_BYTES: usize = 255;

/// Ends a whole term.
pub(super) const WHOLE: char = ' ';

/// Splits a text, or an id, into terms.
#[derive(Debug, Clone, Copy)]
pub(super) enum Analyzer {
    Text,
    Id,
}

impl Tokenizer for Analyzer {
    type TokenStream<'a> = Terms;

    fn token_stream<'a>(&'a mut self, text: &'a str) -> Terms {
        let terms = match self {
            Self::Text => text_terms(&tokens::segments(text)),
            Self::Id => id_words(text).into_iter().map(|word| (0, word)).collect(),
        };
        Terms {
            following: terms.into_iter(),
            token: Token::default(),
        }
    }
}

/// The terms of a text, in its order.
pub(super) struct Terms {
    following: vec::IntoIter<(usize, String)>,
    token: Token,
}

impl TokenStream for Terms {
    fn advance(&mut self) -> bool {
        let Some((position, text)) = self.following.next() else {
            return false;
        };
        self.token.position = position;
        self.token.text = text;
        true
    }

    fn token(&self) -> &Token {
        &self.token
    }

    fn token_mut(&mut self) -> &mut Token {
        &mut self.token
    }
}

/// Returns the terms of a text with their positions: a plain word counts as one, and a dense word as
/// its characters.
fn text_terms(segments: &[Segment]) -> Vec<(usize, String)> {
    let mut terms = Vec::new();
    let mut position = 0;
    let mut codes = forms::separated(segments).into_iter().peekable();
    let mut index = 0;
    for run in segments.chunk_by(|_, next| next.continues) {
        match run {
            [word] if !word.is_dense => {
                if let Some((_, code)) = codes.next_if(|(first, _)| *first == index) {
                    terms.push((position, code.text));
                }
                if word.text.len() <= MAX_WORD_BYTES {
                    terms.push((position, word.text.clone()));
                }
                position += 1;
            }
            run => {
                add_run(run, position, &mut terms);
                position += run.iter().map(|word| word.letters.len()).sum::<usize>();
            }
        }
        index += run.len();
    }
    terms
}

/// Adds the terms of a run. The last one is that of the last character: tantivy takes its position for
/// the end of the text.
fn add_run(run: &[Segment], first: usize, terms: &mut Vec<(usize, String)>) {
    let mut start = first;
    for word in run {
        if word.letters.len() < WINDOW_CHARS {
            terms.push((start, format!("{}{WHOLE}", word.text)));
        }
        start += word.letters.len();
    }
    let whole = tokens::joined(run);
    for start in 0..whole.letters.len() {
        let window = whole.part(start..start + WINDOW_CHARS);
        terms.push((first + start, window.to_owned()));
    }
}

/// Returns the words of an id, if there are several.
pub(super) fn id_words(id: &str) -> Vec<String> {
    let words = tokens::texts(id);
    let is_short = |word: &String| word.len() <= MAX_WORD_BYTES;
    match words.len() {
        1 => Vec::new(),
        _ => words.into_iter().filter(is_short).collect(),
    }
}

/// Returns an id without its separators. Empty if it is too long to be searched.
pub(super) fn code(id: &str) -> String {
    let code = tokens::texts(id).concat();
    match code.len() <= MAX_WORD_BYTES {
        true => code,
        false => String::new(),
    }
}
