//! Pages: in the requested order, without gaps or repetitions.

use std::cmp::Reverse;

use wire::convert;

use super::{
    Document, Engine, Fixture, SearchRequest, checkpoint, customer, document, everything, filled,
    search, with_words, write,
};
use crate::Row;
use crate::request::{Sort, SortField};

/// Returns the rows of all pages from here on, and the number of pages.
async fn pages(engine: &dyn Engine, mut request: SearchRequest) -> (Vec<Row>, usize) {
    let mut rows = Vec::new();
    for count in 1.. {
        let hits = search(engine, request.clone()).await;
        assert!(hits.hits.len() <= request.limit);
        rows.extend(hits.rows());
        let Some(next) = hits.cursor(request.limit) else {
            return (rows, count);
        };
        assert_eq!(hits.hits.len(), request.limit, "only the last is short");
        if request.sort.is_some() {
            assert_eq!(rows.last(), Some(&Row(next.row)));
        }
        request.after = Some(next);
    }
    unreachable!()
}

/// Creates orders of which several share times and totals, and match `lima` equally well.
fn alike(rows: impl Iterator<Item = u64>) -> Vec<Document> {
    let alike = |row: u64| {
        let number = i64::try_from(row).unwrap();
        document(row, |order| {
            order.customer_name = ["Lima", "Limassol", "Lime"][(row % 3) as usize].into();
            order.created_at = Some(convert::timestamp(number / 4 - 2));
            order.updated_at = Some(convert::timestamp(100 - number % 5));
            order.total_amount = Some(convert::money(number % 7 - 3, "EUR"));
        })
    };
    rows.map(alike).collect()
}

fn key(document: &Document, field: SortField) -> i64 {
    let order = &document.order;
    let time = |time: &Option<_>| convert::nanoseconds(time.as_ref().unwrap()).unwrap();
    match field {
        SortField::CreatedAt => time(&order.created_at),
        SortField::UpdatedAt => time(&order.updated_at),
        SortField::TotalAmount => convert::amount(order.total_amount.as_ref().unwrap()).unwrap(),
    }
}

pub(crate) async fn pages_of_every_order_join_to_the_whole(fixture: &dyn Fixture) {
    let mut documents = alike(1..24);
    let engine = filled(fixture, documents.clone()).await;
    for field in [
        SortField::CreatedAt,
        SortField::UpdatedAt,
        SortField::TotalAmount,
    ] {
        for descending in [false, true] {
            let sort = Sort { field, descending };
            documents.sort_by_key(|document| (key(document, field), document.row));
            if descending {
                documents.reverse();
            }
            let expected: Vec<_> = documents.iter().map(|document| document.row).collect();
            let request = SearchRequest {
                sort: Some(sort),
                limit: 5,
                ..everything()
            };
            let all = pages(&*engine, request).await;
            assert_eq!(all, (expected, 5), "{sort:?}");
        }
    }
}

pub(crate) async fn pages_by_score_join_to_the_whole(fixture: &dyn Fixture) {
    let mut documents = alike(1..24);
    let engine = filled(fixture, documents.clone()).await;
    let request = SearchRequest {
        limit: 5,
        ..with_words("lima")
    };
    documents.retain(|document| document.row.0 % 3 != 2);
    documents.sort_by_key(|document| (document.row.0 % 3, Reverse(document.row)));
    let expected: Vec<_> = documents.iter().map(|document| document.row).collect();
    assert_eq!(pages(&*engine, request).await, (expected, 3), "by score");
}

pub(crate) async fn the_last_page_may_be_full(fixture: &dyn Fixture) {
    let engine = filled(fixture, alike(1..11)).await;
    let request = SearchRequest {
        limit: 5,
        ..everything()
    };
    let (rows, count) = pages(&*engine, request).await;
    assert_eq!((rows.len(), count), (10, 2));
}

/// Reads a page, adds and replaces orders, and reads the other pages. The other pages must contain
/// the orders from before, and may contain new ones.
async fn pages_while_orders_come(engine: &dyn Engine, request: SearchRequest) {
    let (before, _) = pages(engine, request.clone()).await;
    let page = search(engine, request.clone()).await;
    for number in 0..9 {
        let mut documents = alike(100 + 5 * number..105 + 5 * number);
        documents.extend(alike(1 + number..3 + number));
        write(engine, documents, checkpoint(2 + number)).await;
    }
    let after = SearchRequest {
        after: page.cursor(page.hits.len()),
        ..request
    };
    let (mut rows, _) = pages(engine, after).await;
    rows.retain(|row| row.0 < 100);
    assert_eq!([page.rows(), rows].concat(), before);
}

pub(crate) async fn pages_by_time_stay_right_while_orders_come(fixture: &dyn Fixture) {
    let engine = filled(fixture, alike(1..24)).await;
    let request = SearchRequest {
        sort: Some(Sort {
            field: SortField::CreatedAt,
            descending: true,
        }),
        limit: 5,
        ..everything()
    };
    pages_while_orders_come(&*engine, request).await;
}

pub(crate) async fn pages_by_score_stay_right_while_orders_come(fixture: &dyn Fixture) {
    let mut documents = alike(1..24);
    documents.push(customer(24, "Ernst"));
    let engine = filled(fixture, documents).await;
    let request = SearchRequest {
        limit: 5,
        newest: 24,
        ..with_words("lima")
    };
    pages_while_orders_come(&*engine, request).await;
}

/// Reads a page, changes names so that orders match no longer, match newly or rank elsewhere, and reads
/// the other pages. Each order that did not change must come once, where it was.
async fn pages_while_orders_change(engine: &dyn Engine, request: SearchRequest) {
    let (before, _) = pages(engine, request.clone()).await;
    let page = search(engine, request.clone()).await;
    let (first, last) = (before[0].0, before[before.len() - 1].0);
    let mut changed: Vec<_> = alike(1..24)
        .into_iter()
        .filter(|document| document.row.0 % 3 == 2 || [first, last].contains(&document.row.0))
        .collect();
    for document in &mut changed {
        let name = if document.row == first {
            "Ernst"
        } else {
            "Lima"
        };
        document.order.customer_name = name.into();
    }
    let rows: Vec<_> = changed.iter().map(|document| document.row).collect();
    write(engine, changed, checkpoint(25)).await;
    let after = SearchRequest {
        after: page.cursor(page.hits.len()),
        ..request
    };
    let (rest, _) = pages(engine, after).await;
    let unchanged = |found: Vec<Row>| -> Vec<_> {
        let found = found.into_iter();
        found.filter(|row| !rows.contains(row)).collect()
    };
    assert_eq!(unchanged([page.rows(), rest].concat()), unchanged(before));
}

pub(crate) async fn pages_by_time_stay_right_while_orders_change(fixture: &dyn Fixture) {
    let engine = filled(fixture, alike(1..24)).await;
    let request = SearchRequest {
        sort: Some(Sort {
            field: SortField::CreatedAt,
            descending: true,
        }),
        limit: 5,
        ..with_words("lima")
    };
    pages_while_orders_change(&*engine, request).await;
}

pub(crate) async fn pages_by_score_stay_right_while_orders_change(fixture: &dyn Fixture) {
    let engine = filled(fixture, alike(1..24)).await;
    let request = SearchRequest {
        limit: 5,
        ..with_words("lima")
    };
    pages_while_orders_change(&*engine, request).await;
}

pub(crate) async fn g13_a_page_may_end_at_any_hit(fixture: &dyn Fixture) {
    let engine = filled(fixture, alike(1..24)).await;
    let by_time = Sort {
        field: SortField::CreatedAt,
        descending: true,
    };
    for sort in [None, Some(by_time)] {
        let mut request = SearchRequest {
            sort,
            limit: 8,
            ..with_words("lima")
        };
        let (all, _) = pages(&*engine, request.clone()).await;
        // The first page has no cursor, and the second one has the cursor of the first.
        for first in [0, 8] {
            let page = search(&*engine, request.clone()).await;
            for count in 1..=page.hits.len() {
                let after = page.cursor(count);
                assert_eq!(after.is_none(), first + count == all.len());
                let rest = SearchRequest {
                    after,
                    ..request.clone()
                };
                let rows = match after {
                    Some(_) => pages(&*engine, rest).await.0,
                    None => Vec::new(),
                };
                assert_eq!(rows, all[first + count..], "{sort:?} {first} {count}");
            }
            request.after = page.cursor(8);
        }
    }
}
