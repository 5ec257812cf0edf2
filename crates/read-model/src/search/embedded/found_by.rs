//! The terms that lead to a document: those that it must have, and those that the index has.

use std::collections::{BTreeMap, BTreeSet};

use tantivy::schema::Field;
use tantivy::tokenizer::{TokenStream as _, Tokenizer as _};
use tantivy::{DocId, SegmentReader, Term};

use super::analyzer::{Analyzer, code};
use super::schema::Fields;
use crate::postings::{self, Window};
use crate::search::Document;

/// tantivy counts so many positions between two values of a field.
const POSITION_GAP: u32 = 1;

/// A term of a field, by the field's index in [`Fields::found_by`], with its position.
type FoundBy = (usize, Vec<u8>, u32);

/// A field that leads to documents.
pub(super) struct FoundField {
    /// The name of the field in the contract.
    pub(super) name: &'static str,
    pub(super) field: Field,
}

impl Fields {
    /// Returns the fields that lead to documents.
    pub(super) fn found_by(&self) -> Vec<FoundField> {
        let [
            order_id_words,
            order_id_code,
            tracking_words,
            tracking_code,
            customer_name,
            product_name,
            shipping_address,
        ] = self.texts().map(|text| text.field);
        let fields = [
            ("order_id", order_id_words),
            ("order_id", order_id_code),
            ("tracking_number", tracking_words),
            ("tracking_number", tracking_code),
            ("customer_name", customer_name),
            ("product_name", product_name),
            ("shipping_address", shipping_address),
            ("order_id", self.order_id),
            ("customer_id", self.customer_id),
            ("status", self.status),
            ("product_id", self.product_id),
            ("currency_code", self.currency),
            ("row", self.row),
        ];
        let fields = fields.map(|(name, field)| FoundField { name, field });
        fields.into()
    }

    /// Returns the terms that must lead to an order.
    pub(super) fn terms(&self, Document { row, order }: &Document) -> BTreeSet<FoundBy> {
        let mut terms = BTreeSet::new();
        let products = order.items.iter().map(|item| item.product_name.as_str());
        for (words, codes, id) in [(0, 1, &order.order_id), (2, 3, &order.tracking_number)] {
            // The fields of ids have no positions.
            analyze(Analyzer::Id, [id.as_str()], |term, _| {
                terms.insert((words, term, 0));
            });
            terms.insert((codes, code(id).into_bytes(), 0));
        }
        let texts: [(usize, Vec<&str>); 3] = [
            (4, vec![&order.customer_name]),
            (5, products.collect()),
            (6, vec![&order.shipping_address]),
        ];
        for (index, values) in texts {
            analyze(Analyzer::Text, values, |term, position| {
                terms.insert((index, term, position));
            });
        }
        let currency = order.total_amount.as_ref();
        let currency = currency.map_or("", |total| &total.currency_code);
        let values = [
            (7, order.order_id.as_str()),
            (8, &order.customer_id),
            (9, order.status().as_str_name()),
            (11, currency),
        ];
        let products = order
            .items
            .iter()
            .map(|item| (10, item.product_id.as_str()));
        let values = values.into_iter().chain(products);
        terms.extend(values.map(|(index, value)| (index, value.as_bytes().to_vec(), 0)));
        let row = Term::from_field_u64(self.row, row.0);
        terms.insert((12, row.serialized_value_bytes().to_vec(), 0));
        terms
    }

    /// Returns the sum of the terms that must lead to an order, as [`sums`] returns it.
    pub(super) fn sum(&self, document: &Document) -> u64 {
        let terms = self.terms(document);
        let terms = terms.iter();
        terms.fold(0, |sum, (field, term, position)| {
            sum.wrapping_add(mixed(*field, postings::hash(term), *position))
        })
    }

    /// Says how the terms that lead to a document differ from those that must.
    pub(super) fn explain(&self, document: &Document, found: &BTreeSet<FoundBy>) -> String {
        let (fields, should) = (self.found_by(), self.terms(document));
        let named = |(field, term, _): &FoundBy| {
            let name = fields[*field].name;
            match <[u8; 8]>::try_from(&**term) {
                Ok(row) if fields[*field].field == self.row => {
                    format!("{} as its {name}", u64::from_be_bytes(row))
                }
                _ => format!(
                    "{:?} as its {name}",
                    String::from_utf8_lossy(term).trim_end()
                ),
            }
        };
        let has = |terms: &BTreeSet<FoundBy>, (field, term, _): &FoundBy| {
            let first = (*field, term.clone(), 0);
            let same = terms.range(first..).next();
            same.is_some_and(|(other, text, _)| (other, text) == (field, term))
        };
        let missing = should.iter().find(|term| !has(found, term));
        let extra = found.iter().find(|term| !has(&should, term));
        match (missing, extra) {
            (Some(missing), Some(extra)) => format!(
                "is not found by {}, and is found by {}, which it does not have",
                named(missing),
                named(extra)
            ),
            (Some(missing), None) => format!("is not found by {}", named(missing)),
            (None, Some(extra)) => {
                format!("is found by {}, which it does not have", named(extra))
            }
            (None, None) => "is found by its words in another order than it has them".to_owned(),
        }
    }
}

/// Calls `add` with the terms of a field's values and their positions.
fn analyze<'a>(
    mut analyzer: Analyzer,
    values: impl IntoIterator<Item = &'a str>,
    mut add: impl FnMut(Vec<u8>, u32),
) {
    let mut first = 0;
    for value in values {
        let mut end = first;
        let mut terms = analyzer.token_stream(value);
        while terms.advance() {
            let token = terms.token();
            // An order has far fewer words than 2^32.
            let position = first + token.position as u32;
            end = end.max(position + token.position_length as u32);
            add(token.text.clone().into_bytes(), position);
        }
        first = end + POSITION_GAP;
    }
}

/// Returns the sum of the terms that lead to each document of a window.
pub(super) fn sums(
    segment: &SegmentReader,
    fields: &Fields,
    window: &Window,
) -> tantivy::Result<Vec<u64>> {
    let documents = &window.documents;
    let mut sums = vec![0_u64; documents.len()];
    for (index, found) in fields.found_by().iter().enumerate() {
        postings::for_each(segment, found.field, documents, |posting| {
            let sum = &mut sums[(posting.document - documents.start) as usize];
            *sum = sum.wrapping_add(mixed(index, posting.hash, posting.position));
        })?;
    }
    Ok(sums)
}

/// Returns the terms that lead to some documents of a window.
pub(super) fn terms_of(
    segment: &SegmentReader,
    fields: &Fields,
    window: &Window,
    wanted: impl IntoIterator<Item = DocId>,
) -> tantivy::Result<BTreeMap<DocId, BTreeSet<FoundBy>>> {
    let wanted = wanted.into_iter();
    let mut terms: BTreeMap<_, BTreeSet<FoundBy>> =
        wanted.map(|id| (id, BTreeSet::new())).collect();
    for (index, found) in fields.found_by().iter().enumerate() {
        postings::for_each(segment, found.field, &window.documents, |posting| {
            if let Some(terms) = terms.get_mut(&posting.document) {
                terms.insert((index, posting.term.to_vec(), posting.position));
            }
        })?;
    }
    Ok(terms)
}

/// Mixes a field, a term and a position to a number whose sums are unequal for unequal terms, in all
/// likelihood (splitmix64).
fn mixed(field: usize, term: u64, position: u32) -> u64 {
    let mut mixed = term ^ ((field as u64) << 32 | u64::from(position));
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
