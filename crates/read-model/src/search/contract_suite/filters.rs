//! Filters: exact, and without influence on the ranking.

use contract::orders::v1::OrderStatus;
use wire::convert::{self, UNIT};

use super::{
    Document, Fixture, SearchRequest, customer, document, everything, filled, item, search,
    with_words,
};
use crate::request::{Bound, FacetField, OrderFilter};

fn bound(amount: i64, currency: Option<&str>) -> Option<Bound> {
    Some(Bound {
        amount,
        currency: currency.map(str::to_owned),
    })
}

/// Creates orders that differ in every filtered field.
fn different() -> Vec<Document> {
    let statuses = [OrderStatus::Created, OrderStatus::Shipped];
    let different = |row: u64| {
        let number = i64::try_from(row).unwrap();
        document(row, |order| {
            order.order_id = format!("Order_{row}");
            order.customer_id = format!("C-{}", row % 3);
            order.customer_name = "Lima".into();
            order.set_status(statuses[(row % 2) as usize]);
            order.items = vec![item(&format!("P-{}", row % 4), ""), item("p", "")];
            let currency = ["EUR", "USD"][(row % 2) as usize];
            order.total_amount = Some(convert::money((number - 3) * UNIT, currency));
            // A double cannot distinguish these nanoseconds.
            order.created_at = Some(convert::timestamp(1_700_000_000_000_000_000 + number));
        })
    };
    (1..=8).map(different).collect()
}

/// Returns filters that each match some, but not all, of the orders of [`different`].
fn selective_filters() -> [OrderFilter; 10] {
    let filter = OrderFilter::default();
    let time = |number: i64| Some(1_700_000_000_000_000_000 + number);
    [
        OrderFilter {
            order_ids: vec!["Order_2".into(), "Order_5".into(), "other".into()],
            ..filter.clone()
        },
        OrderFilter {
            customer_ids: vec!["C-1".into(), "C-2".into()],
            ..filter.clone()
        },
        OrderFilter {
            statuses: vec![OrderStatus::Shipped],
            ..filter.clone()
        },
        OrderFilter {
            product_ids: vec!["P-1".into(), "P-3".into()],
            ..filter.clone()
        },
        OrderFilter {
            created_from: time(3),
            ..filter.clone()
        },
        OrderFilter {
            created_to: time(3),
            ..filter.clone()
        },
        OrderFilter {
            created_from: time(3),
            created_to: time(6),
            ..filter.clone()
        },
        OrderFilter {
            min_total: bound(UNIT, None),
            ..filter.clone()
        },
        OrderFilter {
            max_total: bound(-UNIT, None),
            ..filter.clone()
        },
        OrderFilter {
            min_total: bound(-UNIT + 1, Some("EUR")),
            max_total: bound(4 * UNIT, Some("EUR")),
            ..filter.clone()
        },
    ]
}

pub(crate) async fn each_filter_matches_exactly_its_orders(fixture: &dyn Fixture) {
    let documents = different();
    let engine = filled(fixture, documents.clone()).await;
    for filter in selective_filters() {
        let mut rows: Vec<_> = documents
            .iter()
            .filter(|document| filter.matches(&document.order))
            .map(|document| document.row)
            .collect();
        rows.reverse();
        assert!((1..8).contains(&rows.len()), "tells nothing: {filter:?}");
        let request = SearchRequest {
            filter: filter.clone(),
            ..everything()
        };
        let hits = search(&*engine, request).await;
        assert_eq!(hits.rows(), rows, "{filter:?}");
        assert_eq!(hits.total, rows.len() as u64, "{filter:?}");
    }
}

pub(crate) async fn filters_combine_with_each_other_and_with_words(fixture: &dyn Fixture) {
    let mut documents = different();
    documents[3].order.customer_name = "Ernst".into();
    let engine = filled(fixture, documents).await;
    let filter = OrderFilter {
        customer_ids: vec!["C-1".into(), "C-2".into()],
        statuses: vec![OrderStatus::Created],
        ..OrderFilter::default()
    };
    let request = |query| SearchRequest {
        filter: filter.clone(),
        ..with_words(query)
    };
    assert_eq!(search(&*engine, request("")).await.rows(), [8, 4, 2]);
    assert_eq!(search(&*engine, request("lima")).await.rows(), [8, 2]);
    let contradiction = OrderFilter {
        min_total: bound(-100 * UNIT, Some("EUR")),
        max_total: bound(100 * UNIT, Some("USD")),
        ..OrderFilter::default()
    };
    let request = SearchRequest {
        filter: contradiction,
        ..everything()
    };
    assert_eq!(search(&*engine, request).await.total, 0);
}

pub(crate) async fn a_filter_does_not_change_the_ranking(fixture: &dyn Fixture) {
    let documents = vec![
        customer(1, "Lima"),
        customer(2, "Limassol"),
        customer(3, "Ernst"),
    ];
    let engine = filled(fixture, documents).await;
    let plain = SearchRequest {
        limit: 1,
        ..with_words("lima")
    };
    let filtered = SearchRequest {
        filter: OrderFilter {
            customer_ids: vec!["anyone".into()],
            statuses: vec![OrderStatus::Created],
            created_from: Some(0),
            min_total: bound(0, Some("EUR")),
            ..OrderFilter::default()
        },
        ..plain.clone()
    };
    let plain = search(&*engine, plain).await;
    assert_eq!(plain.rows(), [1]);
    assert_eq!(search(&*engine, filtered).await, plain);
}

pub(crate) async fn filters_distinguish_ids_that_differ_only_in_case(fixture: &dyn Fixture) {
    let order = |row, id: &str| {
        document(row, |order| {
            order.order_id = id.into();
            order.customer_id = id.into();
            order.items = vec![item(id, "")];
        })
    };
    let ids = ["A-b", "a-b", "a-B", "A_b"];
    let documents = (1..).zip(ids).map(|(row, id)| order(row, id));
    let engine = filled(fixture, documents.collect()).await;
    for (row, id) in (1..).zip(ids) {
        let only = || vec![id.to_owned()];
        let filter = OrderFilter::default();
        for filter in [
            OrderFilter {
                order_ids: only(),
                ..filter.clone()
            },
            OrderFilter {
                customer_ids: only(),
                ..filter.clone()
            },
            OrderFilter {
                product_ids: only(),
                ..filter
            },
        ] {
            let request = SearchRequest {
                filter,
                facets: vec![FacetField::CustomerId, FacetField::ProductId],
                ..everything()
            };
            let hits = search(&*engine, request).await;
            assert_eq!(hits.rows(), [row], "{id}");
            for facet in hits.facets {
                let values: Vec<_> = facet.values.iter().map(|v| &v.value[..]).collect();
                assert_eq!(values, [id], "{}", facet.field);
            }
        }
    }
}

pub(crate) async fn a_filter_value_is_never_parsed_as_an_operator(fixture: &dyn Fixture) {
    let engine = filled(fixture, vec![customer(1, "Lima")]).await;
    for id in [
        "\" OR row > 0 OR customer = \"",
        "' OR 1 = 1",
        "\\\"] OR row > 0",
        "*",
    ] {
        let request = SearchRequest {
            filter: OrderFilter {
                customer_ids: vec![id.to_owned()],
                ..OrderFilter::default()
            },
            ..with_words("lima")
        };
        assert_eq!(search(&*engine, request).await.total, 0, "{id}");
    }
}
