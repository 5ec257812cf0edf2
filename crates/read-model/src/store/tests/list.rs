//! Tests of lists: filters, sort orders, pages and facets.

use contract::orders::v1::{Facet, FacetValue};

use super::*;

const FACETS: [FacetField; 3] = [
    FacetField::Status,
    FacetField::CustomerId,
    FacetField::ProductId,
];

fn key(order: &Order, field: SortField) -> i64 {
    let time = match field {
        SortField::CreatedAt => &order.created_at,
        SortField::UpdatedAt => &order.updated_at,
        SortField::TotalAmount => {
            return convert::amount(order.total_amount.as_ref().unwrap()).unwrap();
        }
    };
    convert::nanoseconds(time.as_ref().unwrap()).unwrap()
}

/// Filters and sorts the orders one by one.
fn matching(documents: &[Document], filter: &OrderFilter, sort: Sort) -> Vec<Order> {
    let mut matching: Vec<_> = documents
        .iter()
        .filter(|document| filter.matches(&document.order))
        .collect();
    matching.sort_by_key(|document| (key(&document.order, sort.field), document.row));
    if sort.descending {
        matching.reverse();
    }
    let orders = matching.into_iter().map(|document| document.order.clone());
    orders.collect()
}

fn facet(orders: &[Order], field: FacetField) -> Facet {
    let mut counts = BTreeMap::<String, u64>::new();
    for order in orders {
        let values: std::collections::BTreeSet<_> = match field {
            FacetField::Status => [order.status().as_str_name().to_owned()].into(),
            FacetField::CustomerId => [order.customer_id.clone()].into(),
            FacetField::ProductId => {
                let items = order.items.iter();
                items.map(|item| item.product_id.clone()).collect()
            }
        };
        for value in values {
            *counts.entry(value).or_default() += 1;
        }
    }
    let values = counts.into_iter();
    let mut values: Vec<_> = values
        .map(|(value, count)| FacetValue { value, count })
        .collect();
    values.sort_by_key(|value| std::cmp::Reverse(value.count));
    Facet {
        field: field.name().into(),
        values,
    }
}

fn any_sort() -> impl Strategy<Value = Sort> {
    let field = prop_oneof![
        Just(SortField::CreatedAt),
        Just(SortField::UpdatedAt),
        Just(SortField::TotalAmount)
    ];
    (field, any::<bool>()).prop_map(|(field, descending)| Sort { field, descending })
}

/// Generates filters. Each condition is present in one of three cases, so a filter has few or many.
fn any_filter() -> impl Strategy<Value = OrderFilter> {
    fn ids(letter: char, count: u8) -> impl Strategy<Value = Vec<String>> {
        let id = (0..count).prop_map(move |index| format!("{letter}{index}"));
        some(proptest::collection::vec(id, 1..4)).prop_map(Option::unwrap_or_default)
    }
    fn some<S: Strategy>(value: S) -> impl Strategy<Value = Option<S::Value>> {
        proptest::option::weighted(0.33, value)
    }
    let bound = || {
        let currency = prop_oneof![Just(None), Just(Some("EUR".to_owned()))];
        some((0_i64..40, currency).prop_map(|(amount, currency)| Bound { amount, currency }))
    };
    let time = || some((-2_i64..4).prop_map(|day| day * DAY / 2));
    let statuses = some(proptest::collection::vec(
        (1..5).prop_map(|status| OrderStatus::try_from(status).unwrap()),
        1..3,
    ));
    (
        (ids('o', 40), ids('c', 4), ids('p', 5), statuses),
        (time(), time(), bound(), bound()),
    )
        .prop_map(
            |(
                (order_ids, customer_ids, product_ids, statuses),
                (created_from, created_to, min_total, max_total),
            )| OrderFilter {
                order_ids,
                customer_ids,
                statuses: statuses.unwrap_or_default(),
                product_ids,
                created_from,
                created_to,
                min_total,
                max_total,
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn every_list_equals_a_scan_of_all_orders(
        log in logs(60),
        asked in proptest::collection::vec((any_filter(), any_sort(), 1_usize..8), 8),
        (batch, flush_at) in (1_usize..20, 1_usize..40),
    ) {
        run(async {
            let mut store = Store::new().await;
            store.flush_lists_at(flush_at);
            store.follow(&log, batch).await;
            let documents = log.documents(log.events.len());
            for (filter, sort, limit) in asked {
                let expected = matching(&documents, &filter, sort);
                let facets: Vec<_> = FACETS.map(|field| facet(&expected, field)).into();
                let mut found = Vec::new();
                let mut after = None;
                loop {
                    let page = store.reader.list(&filter, sort, after, limit, &FACETS);
                    let page = page.await.unwrap();
                    prop_assert_eq!(page.total, expected.len() as u64, "{:?}", filter);
                    prop_assert_eq!(&page.facets, &facets, "{:?}", filter);
                    prop_assert!(page.orders.len() <= limit);
                    found.extend(page.orders);
                    after = page.next;
                    if after.is_none() {
                        break;
                    }
                }
                prop_assert_eq!(&found, &expected, "{:?} {:?} {}", filter, sort, limit);
                let rows = store.reader.find(&filter, sort, None, limit).await.unwrap().0;
                let rows: Vec<_> = rows.iter().map(|found| Row(found.row)).collect();
                let first = store.reader.orders_by_rows(&rows, &filter).await.unwrap().orders;
                prop_assert_eq!(&first, &expected[..limit.min(expected.len())]);
            }
            Ok(())
        })?;
    }
}

#[tokio::test]
async fn pages_stay_right_while_orders_are_created() {
    let mut log = Log::default();
    for index in 0..20 {
        log.create(
            &format!("o{index}"),
            "c1",
            &["p1"],
            (index, "EUR"),
            index % 4,
        );
    }
    let mut store = Store::holding(&log).await;
    for descending in [true, false] {
        let sort = Sort {
            field: SortField::CreatedAt,
            descending,
        };
        let expected = matching(
            &log.documents(log.events.len()),
            &OrderFilter::default(),
            sort,
        );
        let old = log.head();
        let mut found = Vec::new();
        let mut after = None;
        loop {
            let filter = OrderFilter::default();
            let page = store
                .reader
                .list(&filter, sort, after, 3, &[])
                .await
                .unwrap();
            found.extend(
                page.orders
                    .into_iter()
                    .filter(|order| order.position <= old),
            );
            let Some(next) = page.next else { break };
            after = Some(next);
            // These times are before the page, after it, and equal to its last order.
            for at in [-1, next.key, 9] {
                let id = format!("new{}", log.head());
                log.create(&id, "c1", &["p1"], (1, "EUR"), at);
            }
            store.follow(&log, 10).await;
        }
        assert_eq!(found, expected);
        if descending {
            continue;
        }
        assert!(log.head() > old);
    }
}

#[tokio::test]
async fn a_facet_has_at_most_100_values_largest_counts_first() {
    let mut log = Log::default();
    for index in 0..150 {
        for time in 0..=u8::from(index >= 100) {
            let (id, customer) = (format!("o{index}-{time}"), format!("c{index:03}"));
            log.create(&id, &customer, &["p1"], (1, "EUR"), 0);
        }
    }
    let store = Store::holding(&log).await;
    let sort = Sort {
        field: SortField::CreatedAt,
        descending: true,
    };
    let facets = [FacetField::CustomerId];
    // The first filter takes the counts from the statistics, and the second one from the orders.
    let counted = OrderFilter {
        created_from: Some(0),
        ..OrderFilter::default()
    };
    for filter in [OrderFilter::default(), counted] {
        let list = store.reader.list(&filter, sort, None, 1, &facets);
        let facets = list.await.unwrap().facets;
        let values: Vec<_> = facets[0]
            .values
            .iter()
            .map(|value| (value.value.as_str(), value.count))
            .collect();
        assert_eq!(values.len(), 100);
        assert_eq!((values[0], values[49]), (("c100", 2), ("c149", 2)));
        assert_eq!((values[50], values[99]), (("c000", 1), ("c049", 1)));
    }
}
