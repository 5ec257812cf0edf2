//! Tests of names in documents, and of lookups by row and id.

use super::*;

#[tokio::test]
async fn a_late_name_and_a_rename_show_on_every_order_with_their_positions() {
    let mut log = Log::default();
    log.create("o1", "c1", &["p1", "p2"], (100, "EUR"), 0);
    log.create("o2", "c2", &["p2"], (100, "EUR"), 0);
    let mut store = Store::holding(&log).await;
    let shown = |order: Order| {
        let products = order.items.iter().map(|item| item.product_name.clone());
        let products: Vec<_> = products.collect();
        (order.customer_name, products.join(","), order.position)
    };
    let names = |customer: &str, products: &str, position| {
        (customer.to_owned(), products.to_owned(), position)
    };
    assert_eq!(shown(store.order("o1").await), names("", ",", 1));

    log.product("p2", "Pear");
    log.customer("c1", "Ann");
    store.follow(&log, 10).await;
    assert_eq!(shown(store.order("o1").await), names("Ann", ",Pear", 4));
    assert_eq!(shown(store.order("o2").await), names("", "Pear", 3));

    log.customer("c1", "Anna");
    log.ship("o2", 1);
    store.follow(&log, 10).await;
    assert_eq!(shown(store.order("o1").await), names("Anna", ",Pear", 5));
    assert_eq!(shown(store.order("o2").await), names("", "Pear", 6));
}

#[tokio::test]
async fn orders_are_found_by_their_rows_in_the_order_asked_for() {
    let mut log = Log::default();
    for id in ["o1", "o2", "o3"] {
        log.create(id, "c1", &["p1"], (100, "EUR"), 0);
    }
    log.product("p1", "Pear");
    let store = Store::holding(&log).await;
    let found = store
        .reader
        .orders_by_rows(&[3, 9, 1, 4].map(Row), &OrderFilter::default())
        .await
        .unwrap();
    let orders = found.orders.iter();
    let ids: Vec<_> = orders.map(|order| order.order_id.as_str()).collect();
    assert_eq!((ids, found.covered, found.as_of), (vec!["o3", "o1"], 4, 4));
    assert_eq!(found.orders[0].items[0].product_name, "Pear");
}

#[tokio::test]
async fn an_order_that_does_not_exist_is_none() {
    let store = Store::new().await;
    let found = store.reader.order("o1").await.unwrap();
    assert_eq!(
        (found.order, found.is_parked, found.as_of),
        (None, false, 0)
    );
}
