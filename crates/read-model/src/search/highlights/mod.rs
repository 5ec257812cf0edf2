//! Finds where the words of a query are in the orders that a search returns.
//!
//! The places do not depend on the engine. They are those of the same [forms] of a word that the
//! embedded engine searches for, in the texts as they are returned.

mod fields;
#[cfg(test)]
mod tests;

use std::{cell::OnceCell, sync::LazyLock, time::Instant};

use contract::orders::v1::{Highlight, Order, OrderHighlights};
use levenshtein_automata::{DFA, Distance, LevenshteinAutomatonBuilder, SINK_STATE};

use self::fields::{Field, Fields, Place};
use super::tokens::{
    self, Segment,
    forms::{self, code_parts, groups_with, windows},
};

/// Maximum number of highlights of an order. With 500 orders on a page they take less than 2 MiB,
/// which together with a page stays below the 4 MiB that clients accept by default.
pub const MAX_HIGHLIGHTS: usize = 100;

/// Build the automata for one typo and for two. To build a builder takes milliseconds.
static BUILDERS: [LazyLock<LevenshteinAutomatonBuilder>; 2] = [
    LazyLock::new(|| LevenshteinAutomatonBuilder::new(1, true)),
    LazyLock::new(|| LevenshteinAutomatonBuilder::new(2, true)),
];

/// Returns the highlights of each order, in the same sequence. Blocks. Returns `None` if the deadline
/// passed before the last order.
#[must_use]
pub fn highlights(
    query: &str,
    orders: &[Order],
    deadline: Instant,
) -> Option<Vec<OrderHighlights>> {
    let segments = tokens::segments(query);
    let words = Word::all(&segments);
    let mut fields = Fields::default();
    let highlights = orders.iter().map(|order| {
        let is_in_time = Instant::now() < deadline;
        is_in_time.then(|| OrderHighlights {
            highlights: in_fields(&words, &fields.of(order)),
        })
    });
    highlights.collect()
}

/// Returns whether each name of a customer or product has a word of a query.
#[must_use]
pub fn names_with_words(query: &str, names: &[&str]) -> Vec<bool> {
    let segments = tokens::segments(query);
    let words = Word::all(&segments);
    let has_words = |name: &&str| {
        let field = [Field::of_name(name)];
        words.iter().any(|word| !word.places(&field).is_empty())
    };
    names.iter().map(has_words).collect()
}

/// Returns the first highlights, by field and from the beginning of each text on.
fn in_fields(words: &[Word], fields: &[Field]) -> Vec<Highlight> {
    let places = words.iter().flat_map(|word| word.places(fields));
    let mut places: Vec<_> = places.collect();
    places.sort_unstable_by_key(|(field, place)| (*field, place.value, place.characters.start));
    let joined = places.into_iter().fold(Vec::new(), |mut joined, next| {
        match joined.last_mut() {
            Some(last) if touch(last, &next) => {
                let end = &mut last.1.characters.end;
                *end = next.1.characters.end.max(*end);
            }
            _ => joined.push(next),
        }
        joined
    });
    let first = joined.into_iter().take(MAX_HIGHLIGHTS);
    first
        .map(|(field, place)| Highlight {
            field: fields[field].path(place.value),
            start: number(place.characters.start),
            length: number(place.characters.len()),
        })
        .collect()
}

/// Returns whether the second place begins within the first one or at its end.
fn touch(first: &(usize, Place), second: &(usize, Place)) -> bool {
    (first.0, first.1.value) == (second.0, second.1.value)
        && first.1.characters.end >= second.1.characters.start
}

/// Texts are far shorter than 2^32 characters.
fn number(characters: usize) -> u32 {
    u32::try_from(characters).unwrap_or(u32::MAX)
}

/// A word of a query.
struct Word<'a> {
    segment: &'a Segment,
    /// The codes that it forms with its neighbours.
    codes: Vec<String>,
    /// Accept the forms of this word with typos. Most words have a match without any.
    automata: OnceCell<Vec<DFA>>,
}

impl<'a> Word<'a> {
    fn all(segments: &'a [Segment]) -> Vec<Self> {
        let words = (0..segments.len()).map(|index| Self::new(segments, index));
        words.collect()
    }

    fn new(words: &'a [Segment], index: usize) -> Self {
        Self {
            segment: &words[index],
            codes: groups_with(words, index),
            automata: OnceCell::new(),
        }
    }

    /// Returns the places of this word, each with the index of its field. Places with typos count if
    /// there are no others.
    fn places(&self, fields: &[Field]) -> Vec<(usize, Place)> {
        let all = |find: fn(&Self, &Field) -> Vec<Place>| -> Vec<_> {
            let fields = fields.iter().enumerate();
            let found = fields.flat_map(|(index, field)| {
                let places = find(self, field).into_iter();
                places.map(move |place| (index, place))
            });
            found.collect()
        };
        let found = all(Self::exact);
        if found.is_empty() {
            return all(Self::near);
        }
        found
    }

    /// Returns the places without typos.
    fn exact(&self, field: &Field) -> Vec<Place> {
        let is_dense = self.segment.is_dense;
        let begins = |form: &str| {
            field.places(is_dense, |text| {
                text.starts_with(form).then_some((0, form.len()))
            })
        };
        if is_dense {
            return if_all(windows(self.segment).map(begins));
        }
        let mut found = begins(&self.segment.text);
        found.extend(self.codes.iter().flat_map(|code| begins(code)));
        let parts = code_parts(&self.segment.text);
        if parts.len() > 1 {
            found.extend(field.phrases(&parts));
        }
        found
    }

    /// Returns the places with typos, in each text those with the fewest.
    fn near(&self, field: &Field) -> Vec<Place> {
        if field.is_id || forms::typos(&self.segment.text) == 0 {
            return Vec::new();
        }
        let automata = self.automata.get_or_init(|| self.build_automata());
        let places = automata
            .iter()
            .map(|automaton| field.places(self.segment.is_dense, |text| nearest(automaton, text)));
        if_all(places)
    }

    fn build_automata(&self) -> Vec<DFA> {
        let build = |form| {
            let typos = usize::from(forms::typos(form));
            let builder = BUILDERS.get(typos.checked_sub(1)?)?;
            Some(builder.build_dfa(form))
        };
        match self.segment.is_dense {
            true => windows(self.segment).filter_map(build).collect(),
            false => build(&self.segment.text).into_iter().collect(),
        }
    }
}

/// Returns the places of all forms. Returns none if a form has none.
fn if_all(forms: impl Iterator<Item = Vec<Place>>) -> Vec<Place> {
    let forms: Vec<_> = forms.collect();
    match forms.iter().any(Vec::is_empty) {
        true => Vec::new(),
        false => forms.into_iter().flatten().collect(),
    }
}

/// Returns the typos and the bytes of the beginning that an automaton accepts with the fewest typos,
/// the longest of several.
fn nearest(automaton: &DFA, text: &str) -> Option<(u8, usize)> {
    let mut state = automaton.initial_state();
    let mut nearest = None;
    for (index, byte) in text.bytes().enumerate() {
        state = automaton.transition(state, byte);
        if state == SINK_STATE {
            break;
        }
        let end = index + 1;
        if let Distance::Exact(typos) = automaton.distance(state)
            && text.is_char_boundary(end)
            && nearest.is_none_or(|(fewest, _)| typos <= fewest)
        {
            nearest = Some((typos, end));
        }
    }
    nearest
}
