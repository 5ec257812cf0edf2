//! The form in which the index holds an order.
//!
//! Hits are shown from the documents in `read.db`, so this form need not resemble an order. Texts
//! are split into words as in the embedded engine. Meilisearch ignores case when it compares
//! strings, so [`key`] encodes the case of ids. Its numbers are doubles, exact to 2^53, so
//! [`halves`] splits larger numbers into two that compare like the whole.

use std::collections::BTreeSet;

use contract::orders::v1::Order;
use serde::{Deserialize, Serialize};
use wire::convert;

use crate::{
    Row,
    search::{
        Document,
        tokens::{self, forms},
    },
};

/// Bounds a part of a word of a dense script, in characters.
const MAX_PART_CHARS: usize = 12;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Indexed {
    pub(super) row: Row,
    order_id: String,
    tracking_number: String,
    customer_name: String,
    product_names: Vec<String>,
    shipping_address: String,
    /// The order id and the tracking number without their separators.
    codes: BTreeSet<String>,
    order: String,
    customer: String,
    status: String,
    products: BTreeSet<String>,
    currency: String,
    created_high: i64,
    created_low: i64,
    updated_high: i64,
    updated_low: i64,
    total_high: i64,
    total_low: i64,
}

impl From<&Document> for Indexed {
    fn from(Document { row, order }: &Document) -> Self {
        let Order { items, .. } = order;
        let total = order.total_amount.clone().unwrap_or_default();
        let time = |time: &Option<_>| time.as_ref().and_then(convert::nanoseconds).unwrap_or(0);
        let (created_high, created_low) = halves(time(&order.created_at));
        let (updated_high, updated_low) = halves(time(&order.updated_at));
        let (total_high, total_low) = halves(convert::amount(&total).unwrap_or(0));
        let names: BTreeSet<_> = items.iter().map(|item| &item.product_name).collect();
        let names = names.into_iter().map(|name| words(name));
        Self {
            row: *row,
            order_id: id_words(&order.order_id),
            tracking_number: id_words(&order.tracking_number),
            customer_name: words(&order.customer_name),
            product_names: names.filter(|name| !name.is_empty()).collect(),
            shipping_address: words(&order.shipping_address),
            codes: [&order.order_id, &order.tracking_number]
                .map(|id| tokens::texts(id).concat())
                .into_iter()
                .filter(|code| !code.is_empty())
                .collect(),
            order: key(&order.order_id),
            customer: key(&order.customer_id),
            status: order.status().as_str_name().to_owned(),
            products: items.iter().map(|item| key(&item.product_id)).collect(),
            currency: total.currency_code,
            created_high,
            created_low,
            updated_high,
            updated_low,
            total_high,
            total_low,
        }
    }
}

/// Returns the words of a text, in the order of the text, joined by spaces.
///
/// Meilisearch matches whole words and the beginning of the last one. So a word of a dense script is
/// followed by what begins at each of its later characters, and by itself with the words after it, as
/// if there were no spaces. Codes with separators come first once more, without them.
fn words(text: &str) -> String {
    let segments = tokens::segments(text);
    let codes = forms::separated(&segments).into_iter();
    let mut words = Vec::from_iter(codes.map(|(_, code)| code.text));
    for run in segments.chunk_by(|_, next| next.continues) {
        for (index, word) in run.iter().enumerate() {
            words.push(word.text.clone());
            if word.is_dense {
                let parts =
                    (1..word.letters.len()).map(|start| word.part(start..start + MAX_PART_CHARS));
                words.extend(parts.map(str::to_owned));
            }
            if index + 1 < run.len() {
                let joined = tokens::joined(&run[index..]);
                words.push(joined.part(0..MAX_PART_CHARS).to_owned());
            }
        }
    }
    words.join(" ")
}

/// Returns the words of an id, and the id without its separators.
fn id_words(id: &str) -> String {
    let mut words = tokens::texts(id);
    if words.len() > 1 {
        words.push(words.concat());
    }
    words.join(" ")
}

/// Splits a number into `high` and `low`, so that it is `high` * 2^32 + `low`.
pub(super) fn halves(number: i64) -> (i64, i64) {
    (number >> 32, number & 0xffff_ffff)
}

/// Encodes an id in lower case: a dot, which ids never contain, precedes each former capital.
pub(super) fn key(id: &str) -> String {
    let mut key = String::with_capacity(id.len());
    for character in id.chars() {
        if character.is_ascii_uppercase() {
            key.push('.');
        }
        key.push(character.to_ascii_lowercase());
    }
    key
}

/// Decodes the result of [`key`].
pub(super) fn id(key: &str) -> String {
    let mut id = String::with_capacity(key.len());
    let mut characters = key.chars();
    while let Some(character) = characters.next() {
        match character {
            '.' => id.extend(characters.next().map(|next| next.to_ascii_uppercase())),
            _ => id.push(character),
        }
    }
    id
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn ids_come_back_from_keys_that_have_no_upper_case(text in "[A-Za-z0-9_-]{1,64}") {
            prop_assert_eq!(id(&key(&text)), text.clone());
            prop_assert_eq!(key(&text).to_lowercase(), key(&text));
        }

        #[test]
        fn halves_are_exact_doubles_and_compare_as_the_whole(one: i64, other: i64) {
            prop_assert_eq!(halves(one).cmp(&halves(other)), one.cmp(&other));
            let (high, low) = halves(one);
            prop_assert!(high.abs() < 1 << 53 && (0..1 << 32).contains(&low));
        }
    }
}
