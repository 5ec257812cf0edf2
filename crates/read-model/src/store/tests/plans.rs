//! Tests of the query plans of pages.

use super::*;
use crate::store::{filter::Access, list::page};

/// Returns SQLite's plan for a page.
async fn plan(store: &Store, filter: &OrderFilter, field: SortField, access: Access) -> String {
    let sort = Sort {
        field,
        descending: true,
    };
    let after = Cursor { key: 5, row: 5 };
    let mut query = page(filter, sort, Some(after), 50, access);
    let sql = format!("EXPLAIN QUERY PLAN {}", query.sql().as_str());
    let arguments = sqlx::Execute::take_arguments(&mut query.build());
    let arguments = arguments.unwrap().unwrap_or_default();
    let mut snapshot = store.reader.snapshot().await.unwrap();
    let steps: Vec<(i64, i64, i64, String)> =
        sqlx::query_as_with(sqlx::AssertSqlSafe(sql), arguments)
            .fetch_all(snapshot.connection())
            .await
            .unwrap();
    let steps: Vec<_> = steps.into_iter().map(|(.., step)| step).collect();
    steps.join("\n")
}

fn filters() -> [OrderFilter; 4] {
    let ids = |id: &str| vec![id.to_owned()];
    [
        OrderFilter::default(),
        OrderFilter {
            customer_ids: ids("c1"),
            ..OrderFilter::default()
        },
        OrderFilter {
            statuses: vec![OrderStatus::Shipped],
            ..OrderFilter::default()
        },
        OrderFilter {
            product_ids: ids("p1"),
            ..OrderFilter::default()
        },
    ]
}

#[tokio::test]
async fn a_long_list_follows_an_index_and_sorts_nothing() {
    let store = Store::new().await;
    for field in [
        SortField::CreatedAt,
        SortField::UpdatedAt,
        SortField::TotalAmount,
    ] {
        for filter in filters() {
            let index = match field {
                SortField::UpdatedAt => "orders_by_update",
                SortField::TotalAmount => "orders_by_total",
                SortField::CreatedAt if !filter.customer_ids.is_empty() => "orders_by_customer",
                SortField::CreatedAt if !filter.statuses.is_empty() => "orders_by_status",
                SortField::CreatedAt => "orders_by_creation",
            };
            let plan = plan(&store, &filter, field, Access::Walk).await;
            let first = plan.lines().next().unwrap();
            // An index that has every column of the page is a covering one.
            let first = first.replace("COVERING ", "");
            assert!(first.starts_with("SEARCH orders USING INDEX"), "{plan}");
            assert!(first.contains(index), "{index}: {plan}");
            assert!(!plan.contains("TEMP B-TREE"), "{plan}");
        }
    }
}

#[tokio::test]
async fn a_short_list_is_found_by_the_index_of_its_filter() {
    let store = Store::new().await;
    let [_, customer, status, product] = filters();
    let day = OrderFilter {
        created_from: Some(0),
        created_to: Some(DAY),
        ..OrderFilter::default()
    };
    let order = OrderFilter {
        order_ids: vec!["o1".into(), "o2".into()],
        ..OrderFilter::default()
    };
    for (filter, index) in [
        (customer, "orders_by_customer (customer_id=?)"),
        (status, "orders_by_status (status=?)"),
        (product, "INTEGER PRIMARY KEY (rowid=?)"),
        (day, "orders_by_creation (created_at>? AND created_at<?)"),
        (order, "(order_id=?)"),
    ] {
        let plan = plan(&store, &filter, SortField::TotalAmount, Access::Gather).await;
        assert!(
            plan.lines().next().unwrap().contains(index),
            "{index}: {plan}"
        );
    }
}
