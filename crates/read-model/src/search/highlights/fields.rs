//! The searched fields of an order, in the form that the words of a query are compared with.

use std::{collections::HashMap, ops::Range, rc::Rc};

use contract::orders::v1::Order;

use crate::search::tokens::{
    self, Segment,
    forms::{self, WINDOW_CHARS},
};

/// The texts in which the words of a text begin: a plain word each, and a dense one at any of its letters.
struct Runs {
    words: Vec<Segment>,
    /// Several words each, without the separators between them.
    codes: Vec<Segment>,
}

/// Splits the fields of orders. Names of products are the same in many orders.
#[derive(Default)]
pub(super) struct Fields<'a> {
    names: HashMap<&'a str, Rc<Runs>>,
}

impl<'a> Fields<'a> {
    /// Returns the fields in the sequence of their highlights. The product names are last, because
    /// they may be very many.
    pub(super) fn of(&mut self, order: &'a Order) -> [Field; 5] {
        let field = |name, is_id, value: &str| Field {
            name,
            is_id,
            values: vec![Rc::new(if is_id { id_runs(value) } else { runs(value) })],
        };
        let names = order.items.iter().map(|item| {
            let name = item.product_name.as_str();
            let runs = self
                .names
                .entry(name)
                .or_insert_with(|| Rc::new(runs(name)));
            Rc::clone(runs)
        });
        let names = names.collect();
        [
            field("order_id", true, &order.order_id),
            field("tracking_number", true, &order.tracking_number),
            Field::of_name(&order.customer_name),
            field("shipping_address", false, &order.shipping_address),
            Field {
                name: "product_name",
                is_id: false,
                values: names,
            },
        ]
    }
}

/// A searched field, with a value for each item if it is one of items.
pub(super) struct Field {
    name: &'static str,
    /// Whether the field holds an id, which is found by the beginning of a group or of the whole.
    pub(super) is_id: bool,
    values: Vec<Rc<Runs>>,
}

/// A place in a field.
pub(super) struct Place {
    /// The index of the value.
    pub(super) value: usize,
    pub(super) characters: Range<usize>,
}

impl Field {
    /// Returns the field of a customer's or product's name.
    pub(super) fn of_name(name: &str) -> Self {
        Self {
            name: "customer_name",
            is_id: false,
            values: vec![Rc::new(runs(name))],
        }
    }

    /// Returns the path of a value in the order.
    pub(super) fn path(&self, value: usize) -> String {
        match self.name {
            "product_name" => format!("items[{value}].product_name"),
            name => name.to_owned(),
        }
    }

    /// Returns the places where a word is, plain or dense. `accept` takes the text from a letter on
    /// where the word may begin, and returns the cost and length in bytes of the word. Of each run
    /// the places with the least cost count.
    pub(super) fn places(
        &self,
        is_dense: bool,
        accept: impl Fn(&str) -> Option<(u8, usize)>,
    ) -> Vec<Place> {
        let mut places = Vec::new();
        for (value, run) in self.runs() {
            let accept = |start: usize, text: &str| {
                let (cost, length) = accept(text)?;
                Some((cost, start..start + length))
            };
            let windows = run.letters.iter().enumerate().map(|(index, letter)| {
                let window = run.part(index..index + WINDOW_CHARS);
                accept(letter.at, window)
            });
            let accepted: Vec<_> = match self.is_id {
                false if run.is_dense != is_dense => continue,
                false if is_dense => windows.flatten().collect(),
                _ => accept(0, &run.text).into_iter().collect(),
            };
            let least = accepted.iter().map(|(cost, _)| *cost).min();
            let best = accepted
                .into_iter()
                .filter(|(cost, _)| Some(*cost) == least);
            let characters = best.filter_map(|(_, bytes)| run.source(bytes));
            places.extend(characters.map(|characters| Place { value, characters }));
        }
        places
    }

    /// Returns the places where these plain words follow each other, the last one as a beginning.
    pub(super) fn phrases(&self, words: &[&str]) -> Vec<Place> {
        let [before @ .., last] = words else {
            return Vec::new();
        };
        if self.is_id {
            return Vec::new();
        }
        let mut places = Vec::new();
        for (value, runs) in self.values.iter().enumerate() {
            for phrase in runs.words.windows(words.len()) {
                let [first, .., end] = phrase else { continue };
                let is_same = before
                    .iter()
                    .zip(phrase)
                    .all(|(word, run)| *word == run.text);
                if !is_same || !end.text.starts_with(last) {
                    continue;
                }
                let start = first.source(0..1);
                let end = end.source(0..last.len());
                let characters = start.zip(end).map(|(start, end)| start.start..end.end);
                places.extend(characters.map(|characters| Place { value, characters }));
            }
        }
        places
    }

    /// Returns the runs of all values, each with the index of its value.
    fn runs(&self) -> impl Iterator<Item = (usize, &Segment)> {
        let values = self.values.iter().enumerate();
        values.flat_map(|(value, runs)| {
            let all = runs.words.iter().chain(&runs.codes);
            all.map(move |run| (value, run))
        })
    }
}

/// Returns the runs of a text: each plain word, and dense words together that only spaces separate.
fn runs(text: &str) -> Runs {
    let segments = tokens::segments(text);
    let codes = forms::separated(&segments);
    let words = segments.chunk_by(|_, next| next.continues);
    Runs {
        words: words.map(tokens::joined).collect(),
        codes: codes.into_iter().map(|(_, code)| code).collect(),
    }
}

/// Returns the runs of an id: its groups, and the whole without separators.
fn id_runs(id: &str) -> Runs {
    let words = tokens::segments(id);
    let codes = match words.len() {
        0 | 1 => Vec::new(),
        _ => vec![tokens::joined(&words)],
    };
    Runs { words, codes }
}
