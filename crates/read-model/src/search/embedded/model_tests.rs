//! Compares searches of many orders, in several windows and segments, with a model that reads the
//! terms of each order.

use std::collections::{BTreeMap, BTreeSet};

use contract::orders::v1::{OrderItem, OrderStatus};

use super::TantivyIndex;
use super::schema::{Fields, TextKind};
use super::sources::WINDOW;
use crate::Row;
use crate::request::{Cursor, FacetField, OrderFilter, Sort, SortField};
use crate::search::contract_suite::{self, checkpoint, everything, write};
use crate::search::tokens::{forms, segments};
use crate::search::{Document, Engine, SearchRequest};

/// More than two windows, so that the last one is not full.
const ORDERS: u64 = 2 * WINDOW as u64 + 700;

/// Words of at most four letters, which forgive no typo.
const WORDS: [&str; 9] = [
    "alfa", "alto", "al", "beta", "bell", "gama", "zoo", "za", "철수",
];

/// The weights and kinds of the fields, by their index in [`Fields::texts`].
const FIELDS: [(u32, TextKind); 7] = [
    (4, TextKind::IdWords),
    (4, TextKind::Code),
    (4, TextKind::IdWords),
    (4, TextKind::Code),
    (3, TextKind::Words),
    (2, TextKind::Words),
    (1, TextKind::Words),
];

fn random(seed: u64, below: usize) -> usize {
    let mut mixed = seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 31)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    ((mixed ^ (mixed >> 29)) % below as u64) as usize
}

/// The first words are in many orders, the last ones in few.
fn word(seed: u64) -> &'static str {
    let last = 1 + random(seed, WORDS.len());
    WORDS[random(seed + 5, last)]
}

/// The order in a row. `version` changes its texts. Some words are in a single window.
fn document(row: u64, version: u64) -> Document {
    let seed = row * 100 + version * 10_000_000;
    contract_suite::document(row, |order| {
        order.order_id = match row % 5 {
            0 => format!("{row}"),
            1 => format!("web-{row}"),
            _ => format!("order-{row}"),
        };
        order.customer_name = match row {
            3 => "only here".into(),
            4200 => "xena".into(),
            _ => format!("{} {}", word(seed), word(seed + 1)),
        };
        order.shipping_address = format!("{} {} {}", word(seed + 2), row % 300, word(seed + 3));
        if row.is_multiple_of(1000) {
            order.tracking_number = "철수".into();
        } else if row.is_multiple_of(3) {
            order.tracking_number = format!("1Z {} {row}", row % 7);
        }
        order.items = vec![OrderItem {
            product_id: format!("product-{}", row % 11),
            product_name: format!("{} {}", word(seed + 4), row % 11),
            ..OrderItem::default()
        }];
        order.set_status(match random(seed + 6, 3) {
            0 => OrderStatus::Shipped,
            _ => OrderStatus::Created,
        });
    })
}

/// The terms of a document, by field: each with its positions.
type Terms = Vec<BTreeMap<String, BTreeSet<u32>>>;

/// Orders with their terms, by row.
struct Model(Vec<(Document, Terms)>);

impl Model {
    fn new(documents: impl Iterator<Item = Document>) -> Self {
        let (fields, _) = Fields::new();
        let with_terms = documents.map(|document| {
            let mut terms = vec![BTreeMap::<_, BTreeSet<_>>::new(); FIELDS.len()];
            for (field, term, position) in fields.terms(&document) {
                if let Some(of_field) = terms.get_mut(field) {
                    let term = String::from_utf8(term).unwrap();
                    of_field.entry(term).or_default().insert(position);
                }
            }
            (document, terms)
        });
        Self(with_terms.collect())
    }

    /// Returns the cursors of the matches, in the order of the request.
    fn search(&self, request: &SearchRequest) -> Vec<Cursor> {
        let matches = self.0.iter().filter_map(|(document, terms)| {
            let score = score(&request.query, document, terms)?;
            let order = &document.order;
            request.filter.matches(order).then(|| Cursor {
                key: match request.sort {
                    None => score.into(),
                    Some(_) => wire::convert::amount(order.total_amount.as_ref().unwrap()).unwrap(),
                },
                row: document.row.0,
            })
        });
        let mut matches: Vec<_> = matches.collect();
        matches.sort_by_key(|cursor| (cursor.key, cursor.row));
        if request.sort.is_none_or(|sort| sort.descending) {
            matches.reverse();
        }
        matches
    }
}

/// Scores an order by its terms. Returns `None` if a word is missing.
fn score(text: &str, document: &Document, terms: &Terms) -> Option<u32> {
    let words = segments(text);
    let mut score = 0;
    for (index, word) in words.iter().enumerate() {
        let groups = forms::groups_with(&words, index);
        let matches = terms
            .iter()
            .zip(FIELDS)
            .flat_map(|(terms, (weight, kind))| {
                let whole = match word.is_dense && kind != TextKind::Code {
                    true => format!("{} ", word.text),
                    false => word.text.clone(),
                };
                let groups = groups.iter().map(|group| (group.clone(), group.clone()));
                let wanted: Vec<_> = groups.chain([(word.text.clone(), whole)]).collect();
                terms.keys().filter_map(move |term| {
                    let kinds = wanted.iter().filter_map(|(begin, whole)| {
                        let is_part = term.starts_with(&**begin);
                        is_part.then_some(if term == whole { 32_768 } else { 16_384 })
                    });
                    Some(kinds.max()? + weight)
                })
            });
        let parts = forms::code_parts(&word.text);
        let as_parts = terms
            .iter()
            .zip(FIELDS)
            .filter_map(|(terms, (weight, kind))| {
                let is_code = kind == TextKind::Words && !word.is_dense && parts.len() > 1;
                (is_code && follow(terms, &parts, true)).then_some(16_384 + weight)
            });
        score += matches.chain(as_parts).max()?;
    }
    let count = (1..words.len()).filter(|&second| {
        let pair = [&*words[second - 1].text, &words[second].text];
        let texts = terms
            .iter()
            .zip(FIELDS)
            .filter(|(_, (_, kind))| *kind == TextKind::Words);
        texts
            .into_iter()
            .any(|(terms, _)| follow(terms, &pair, second + 1 == words.len()))
    });
    let count = count.count();
    let codes = forms::codes(&words);
    let order = &document.order;
    let is_code = [&order.order_id, &order.tracking_number]
        .iter()
        .any(|id| codes.contains(&super::analyzer::code(id)));
    let ids = u32::from(is_code) + u32::from(order.order_id == text.trim());
    Some(score + 256 * count as u32 + 2_097_152 * ids)
}

/// Returns whether words follow each other in a field. The last one may go on.
fn follow(terms: &BTreeMap<String, BTreeSet<u32>>, words: &[&str], may_go_on: bool) -> bool {
    let places = |index: usize| -> BTreeSet<u32> {
        let is_last = index + 1 == words.len();
        let is = |term: &str| {
            term == words[index] || is_last && may_go_on && term.starts_with(words[index])
        };
        let terms = terms.iter().filter(|(term, _)| is(term));
        terms.flat_map(|(_, places)| places).copied().collect()
    };
    let mut ends = places(0);
    for index in 1..words.len() {
        let next = places(index);
        ends = ends
            .into_iter()
            .map(|end| end + 1)
            .filter(|end| next.contains(end))
            .collect();
    }
    !ends.is_empty()
}

/// Texts of many orders and of few, whole and while they are typed.
const TEXTS: [&str; 33] = [
    "alfa",
    "al",
    "za",
    "zoo",
    "xena",
    "only",
    "철수",
    "철",
    "a",
    "o",
    "ord",
    "orde",
    "1",
    "12",
    "7",
    "1z",
    "1z 3",
    "order 12",
    "order-123",
    "order 4200",
    "web 1",
    "web1",
    "4195",
    "alfa beta",
    "beta alfa",
    "alfa al",
    "alfa alto beta",
    "za zoo",
    "alfa 12",
    "12 alfa",
    "xena alfa",
    "only alfa 3",
    "nowhere alfa",
];

fn requests() -> Vec<SearchRequest> {
    let mut requests = Vec::new();
    for text in TEXTS {
        let request = SearchRequest {
            query: text.into(),
            limit: ORDERS as usize,
            facets: vec![FacetField::Status, FacetField::ProductId],
            ..everything()
        };
        let filter = OrderFilter {
            statuses: vec![OrderStatus::Shipped],
            product_ids: vec!["product-3".into(), "product-4".into()],
            created_from: Some(700_000_000_000),
            ..OrderFilter::default()
        };
        let sort = |descending| {
            Some(Sort {
                field: SortField::TotalAmount,
                descending,
            })
        };
        requests.extend([
            SearchRequest {
                filter,
                ..request.clone()
            },
            SearchRequest {
                sort: sort(true),
                ..request.clone()
            },
            SearchRequest {
                sort: sort(false),
                limit: 10,
                ..request.clone()
            },
            SearchRequest {
                limit: 10,
                ..request.clone()
            },
            request,
        ]);
    }
    requests
}

#[tokio::test]
async fn searches_equal_those_of_a_model() {
    let folder = tempfile::tempdir().unwrap();
    let index = TantivyIndex::open(folder.path()).unwrap();
    // Rows change in the first, the second and the last window, and some of them come after the others.
    let changed: Vec<_> = [50..90, 5000..5100, ORDERS - 5..ORDERS]
        .into_iter()
        .flatten()
        .collect();
    let all = (1..=ORDERS).map(|row| document(row, 0));
    write(&index, all.collect(), checkpoint(1)).await;
    let newer = changed.iter().map(|row| document(*row, 1));
    write(&index, newer.collect(), checkpoint(2)).await;
    let model = Model::new((1..=ORDERS).map(|row| document(row, changed.contains(&row).into())));
    let mut found_any = 0;
    for request in requests() {
        let expected = model.search(&request);
        let found = index.search(request.clone()).await.unwrap();
        let cursors: Vec<_> = found.hits.iter().map(|hit| hit.cursor).collect();
        let first = &expected[..expected.len().min(request.limit)];
        let pairs = cursors.iter().zip(first);
        let difference = pairs.into_iter().find(|(is, should)| is != should);
        assert_eq!(difference, None, "{request:?}");
        assert_eq!(
            found.rows(),
            Vec::from_iter(first.iter().map(|it| Row(it.row)))
        );
        assert_eq!(found.total, expected.len() as u64, "{request:?}");
        assert_eq!(found.more, expected.len() > request.limit, "{request:?}");
        let counted = found.facets[1].values.iter().map(|value| value.count);
        assert_eq!(counted.sum::<u64>(), found.total, "{request:?}");
        // A later page begins in the middle of equal keys.
        if let Some(middle) = expected.get(expected.len() / 2) {
            let later = SearchRequest {
                after: Some(*middle),
                limit: 7,
                ..request.clone()
            };
            let found = index.search(later).await.unwrap();
            let cursors: Vec<_> = found.hits.iter().map(|hit| hit.cursor).collect();
            let rest = &expected[expected.len() / 2 + 1..];
            assert_eq!(cursors, rest[..rest.len().min(7)], "{request:?}");
            found_any += 1;
        }
    }
    assert!(found_any > 100, "{found_any}");
}
