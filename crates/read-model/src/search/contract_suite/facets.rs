//! Facets: counts of all matches.

use contract::orders::v1::{Facet, FacetValue, OrderStatus};

use super::{
    Document, Fixture, SearchRequest, document, everything, filled, item, search, with_words,
};
use crate::Row;
use crate::request::{FacetField, MAX_FACET_VALUES, OrderFilter, Sort, SortField};

fn facet(field: &str, values: &[(&str, u64)]) -> Facet {
    let value = |(value, count): &(&str, u64)| FacetValue {
        value: (*value).to_owned(),
        count: *count,
    };
    Facet {
        field: field.into(),
        values: values.iter().map(value).collect(),
    }
}

fn orders() -> Vec<Document> {
    let order = |row, customer: &str, status, product: &str, name: &str| {
        document(row, |order| {
            order.customer_id = customer.into();
            order.set_status(status);
            order.items = vec![item(product, name)];
        })
    };
    vec![
        order(1, "b", OrderStatus::Shipped, "p", "Tofu"),
        order(2, "c", OrderStatus::Created, "p", "Tofu"),
        order(3, "a", OrderStatus::Shipped, "q", "Chai"),
        order(4, "c", OrderStatus::Shipped, "p", "Tofu"),
    ]
}

pub(crate) async fn facets_count_all_matches_on_every_page(fixture: &dyn Fixture) {
    let engine = filled(fixture, orders()).await;
    let mut request = SearchRequest {
        limit: 1,
        facets: vec![
            FacetField::CustomerId,
            FacetField::Status,
            FacetField::ProductId,
        ],
        ..everything()
    };
    let expected = [
        facet("customer_id", &[("c", 2), ("a", 1), ("b", 1)]),
        facet(
            "status",
            &[("ORDER_STATUS_SHIPPED", 3), ("ORDER_STATUS_CREATED", 1)],
        ),
        facet("product_id", &[("p", 3), ("q", 1)]),
    ];
    let oldest = Sort {
        field: SortField::CreatedAt,
        descending: false,
    };
    for (sort, second) in [(None, 3), (Some(oldest), 2)] {
        request.sort = sort;
        request.after = None;
        let page = search(&*engine, request.clone()).await;
        assert_eq!((&page.facets[..], page.total), (&expected[..], 4));
        request.after = page.cursor(1);
        let page = search(&*engine, request.clone()).await;
        assert_eq!((page.rows(), page.total), (vec![Row(second)], 4));
        assert_eq!(page.facets, expected);
    }
}

pub(crate) async fn facets_count_only_what_matches(fixture: &dyn Fixture) {
    let engine = filled(fixture, orders()).await;
    let request = SearchRequest {
        filter: OrderFilter {
            statuses: vec![OrderStatus::Shipped],
            ..OrderFilter::default()
        },
        facets: vec![FacetField::CustomerId],
        ..with_words("tofu")
    };
    let hits = search(&*engine, request).await;
    assert_eq!(hits.facets, [facet("customer_id", &[("b", 1), ("c", 1)])]);
    let request = SearchRequest {
        facets: vec![FacetField::ProductId],
        ..with_words("nothing")
    };
    let hits = search(&*engine, request).await;
    assert_eq!(hits.facets, [facet("product_id", &[])]);
}

pub(crate) async fn a_product_on_two_lines_counts_once(fixture: &dyn Fixture) {
    let order = document(1, |order| {
        order.items = vec![item("p", ""), item("q", ""), item("p", "")];
    });
    let engine = filled(fixture, vec![order]).await;
    let request = SearchRequest {
        facets: vec![FacetField::ProductId],
        ..everything()
    };
    let hits = search(&*engine, request).await;
    assert_eq!(hits.facets, [facet("product_id", &[("p", 1), ("q", 1)])]);
}

pub(crate) async fn facets_contain_only_the_largest_values(fixture: &dyn Fixture) {
    let count = MAX_FACET_VALUES as u64 + 5;
    let mut documents: Vec<_> = (1..=count)
        .map(|row| document(row, |order| order.customer_id = format!("c{row:03}")))
        .collect();
    documents.push(document(count + 1, |order| {
        order.customer_id = format!("c{count:03}");
    }));
    let engine = filled(fixture, documents).await;
    let request = SearchRequest {
        facets: vec![FacetField::CustomerId],
        ..everything()
    };
    let hits = search(&*engine, request).await;
    let values = &hits.facets[0].values;
    assert_eq!(values.len(), MAX_FACET_VALUES);
    assert_eq!((values[0].value.as_str(), values[0].count), ("c105", 2));
    assert_eq!(values[1].value, "c001");
    assert_eq!(values[MAX_FACET_VALUES - 1].value, "c099");
}
