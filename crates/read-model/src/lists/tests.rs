//! Tests of lists of more orders than a scan reads at once, in several segments.

use std::{collections::BTreeMap, sync::Arc};

use proptest::{prelude::*, sample::select};
use tempfile::TempDir;

use super::{snapshot::Change, *};
use crate::{
    Row,
    request::{Bound, Cursor, FacetField, Sort, SortField},
};

const FACETS: [FacetField; 3] = [
    FacetField::Status,
    FacetField::CustomerId,
    FacetField::ProductId,
];

/// Makes the entry of a row. The same seed makes the same entry.
fn entry(row: u64, seed: u64) -> Entry {
    let random = |salt: u64, below: u64| {
        let mixed = (row * 31 + seed * 1_009 + salt).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed >> 32) % below
    };
    // One in eight orders has more products than are copied at once, and some of one commit have none.
    let products = match random(1, 8) {
        0 => 5 + random(2, 9),
        1 if seed == 3 => 0,
        _ => 1 + random(2, 4),
    };
    let products = (0..products).map(|index| random(10 + index, 30));
    Entry {
        row: Row(row),
        customer: random(3, 4) * random(4, 25),
        products: sorted(products).into(),
        status: random(5, 5) as i32,
        created_at: row.cast_signed() / 7 - 300,
        updated_at: random(6, 1_000).cast_signed() - 500,
        total: random(7, 2_000).cast_signed() - 1_000,
        currency: ["EUR", "JPY", "USD"][random(8, 3) as usize].into(),
    }
}

/// Orders as they are created, and then changed, in commits of the index and after the last one.
async fn filled(orders: u64, commits: u64) -> (TempDir, View, BTreeMap<Row, Entry>) {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = Writer::open(folder.path()).unwrap();
    let mut entries = BTreeMap::new();
    for step in 0..=commits {
        let created = (1..=orders).filter(|row| row % (commits + 1) == step);
        let changed = entries.keys().map(|row: &Row| row.0);
        let changed = changed.filter(|row| row % 6 == step);
        let rows: Vec<_> = changed.chain(created).collect();
        let position = step + 1;
        let mut changes = Vec::new();
        for row in rows {
            let new = entry(row, step);
            let old = entries.insert(Row(row), new.clone()).map(Arc::new);
            let new = Arc::new(new);
            changes.push(Change { position, old, new });
        }
        let state = State {
            position,
            ..State::default()
        };
        writer.publish(changes, state);
        if step < commits {
            writer.flush().await.unwrap();
        }
    }
    (folder, writer.view().unwrap(), entries)
}

fn any_conditions() -> impl Strategy<Value = Conditions> {
    fn some<S: Strategy>(value: S) -> impl Strategy<Value = Option<S::Value>> {
        proptest::option::weighted(0.3, value)
    }
    let numbers = |below: u64| some(proptest::collection::vec(0..below, 0..4).prop_map(sorted));
    let bound = || {
        let currency = proptest::option::of(select(vec!["EUR", "USD", "XXX"]));
        let bound = (-1_100_i64..1_100, currency);
        some(bound.prop_map(|(amount, currency)| Bound {
            amount,
            currency: currency.map(str::to_owned),
        }))
    };
    let time = || some(prop_oneof![-400_i64..500, Just(i64::MIN), Just(i64::MAX)]);
    let rows = some(proptest::collection::vec(0_u64..4_000, 0..2_000));
    let statuses = some(proptest::collection::vec(0..9, 0..3).prop_map(sorted));
    let ids = (rows, numbers(55), numbers(35), statuses);
    (ids, time(), time(), bound(), bound()).prop_map(
        |(
            (rows, customers, products, statuses),
            created_from,
            created_to,
            min_total,
            max_total,
        )| {
            Conditions {
                rows: rows.map(|rows| sorted(rows.into_iter().map(Row))),
                customers,
                products,
                statuses,
                created_from,
                created_to,
                min_total,
                max_total,
            }
        },
    )
}

fn counts(matches: &[&Entry], field: FacetField) -> Vec<(u64, u64)> {
    let mut counts = BTreeMap::new();
    for entry in matches {
        let numbers = match field {
            FacetField::Status => vec![entry.status as u64],
            FacetField::CustomerId => vec![entry.customer],
            FacetField::ProductId => entry.products.to_vec(),
        };
        for number in numbers {
            *counts.entry(number).or_insert(0) += 1;
        }
    }
    counts.into_iter().collect()
}

/// Compares the first three pages, with their counts and facets, with the sorted matches.
fn check_pages(
    view: &View,
    mut request: PageRequest,
    mut matches: Vec<&Entry>,
) -> Result<(), TestCaseError> {
    let waiting = Arc::new(());
    let caller = Arc::downgrade(&waiting);
    let sort = request.sort;
    matches.sort_by_key(|entry| (entry.sort_value(sort.field), entry.row));
    if sort.descending {
        matches.reverse();
    }
    let cursors = matches.iter().map(|entry| Cursor {
        key: entry.sort_value(sort.field),
        row: entry.row.0,
    });
    let cursors: Vec<_> = cursors.collect();
    for number in 0..3 {
        let rest = cursors.get(number * request.limit..).unwrap_or_default();
        let found = view.page(request.clone(), &caller).unwrap();
        prop_assert_eq!(found.total, matches.len() as u64);
        prop_assert_eq!(&found.orders, &rest[..request.limit.min(rest.len())]);
        for (&field, found) in request.facets.iter().zip(found.facets) {
            prop_assert_eq!(found.largest, counts(&matches, field));
        }
        request.after = found.orders.last().copied();
        if request.after.is_none() {
            break;
        }
    }
    Ok(())
}

fn sums(matches: &[&Entry]) -> figure::Figure {
    let mut sums = figure::Figure::new();
    for entry in matches {
        let key = (entry.currency.clone(), entry.status);
        let (orders, sum) = sums.entry(key).or_default();
        *orders += 1;
        *sum += i128::from(entry.total);
    }
    sums
}

#[test]
fn pages_counts_and_sums_equal_those_of_all_entries_one_by_one() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let fields = [
        SortField::CreatedAt,
        SortField::UpdatedAt,
        SortField::TotalAmount,
    ];
    let sort = (select(fields.to_vec()), any::<bool>());
    let sort = sort.prop_map(|(field, descending)| Sort { field, descending });
    for (orders, commits) in [(3_000, 1), (3_000, 4), (70, 0)] {
        let (_folder, view, entries) = runtime.block_on(filled(orders, commits));
        proptest!(|(conditions in any_conditions(), sort in &sort, limit in 1_usize..60)| {
            let matches = entries.values().filter(|entry| conditions.match_entry(entry));
            let matches: Vec<_> = matches.collect();
            let caller = Arc::new(());
            let figure = view.figure(&conditions, &Arc::downgrade(&caller)).unwrap();
            prop_assert_eq!(figure, sums(&matches));
            let request = PageRequest {
                conditions,
                sort,
                after: None,
                limit,
                facets: FACETS.to_vec(),
            };
            check_pages(&view, request, matches)?;
        });
    }
}
