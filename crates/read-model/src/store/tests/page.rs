//! Tests of pages that end at their limit of bytes.

use prost::Message as _;

use super::*;

/// Creates orders, of which some are small and some have 1000 lines. Half of the large ones exceed
/// the others only by the names of their products.
fn large_log() -> Log {
    let ids: Vec<_> = (0..1000).map(|index| format!("{index:064}")).collect();
    let short: Vec<_> = (0..1000).map(|index| format!("{index}")).collect();
    let mut log = Log::default();
    for id in &short {
        log.product(id, &"n".repeat(200));
    }
    for index in 0..40 {
        let products = match index % 4 {
            0 => &ids[..],
            1 => &short[..],
            _ => &ids[..1],
        };
        let products: Vec<_> = products.iter().map(String::as_str).collect();
        log.create(&format!("o{index}"), "c1", &products, (index, "EUR"), index);
    }
    log
}

fn size(orders: &[Order]) -> usize {
    orders.iter().map(Order::encoded_len).sum()
}

/// Asserts that a page is not empty, and that it is full unless it is the last one.
fn assert_page(page: &[Order], next: Option<&Order>) {
    let bytes = size(page);
    assert!(!page.is_empty() && bytes <= MAX_PAGE_BYTES, "{bytes} bytes");
    if let Some(next) = next {
        assert!(bytes + next.encoded_len() > MAX_PAGE_BYTES, "{bytes} bytes");
    }
}

#[tokio::test]
async fn g13_a_list_ends_a_page_at_its_bytes_and_goes_on_with_the_next_order() {
    let log = large_log();
    let store = Store::holding(&log).await;
    let documents = log.documents(log.events.len());
    for descending in [false, true] {
        let mut expected: Vec<_> = documents.iter().map(|it| it.order.clone()).collect();
        if descending {
            expected.reverse();
        }
        let sort = Sort {
            field: SortField::TotalAmount,
            descending,
        };
        let facets = [FacetField::Status];
        let filter = OrderFilter::default();
        let (mut found, mut after, mut pages) = (Vec::new(), None, 0);
        loop {
            let page = store.reader.list(&filter, sort, after, 500, &facets);
            let page = page.await.unwrap();
            assert_eq!(page.total, 40);
            assert_eq!(page.facets[0].values[0].count, 40);
            found.extend(page.orders.iter().cloned());
            assert_page(&page.orders, expected.get(found.len()));
            pages += 1;
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(found, expected);
        assert!(pages > 3, "{pages} pages tell little");
    }
}

#[tokio::test]
async fn g13_a_page_of_hits_ends_at_its_bytes_and_covers_the_rows_up_to_there() {
    let log = large_log();
    let store = Store::holding(&log).await;
    let mut documents = log.documents(log.events.len());
    documents.reverse();
    // Half of the rows have no order that matches the filter.
    let filter = OrderFilter {
        order_ids: (0..40)
            .filter(|index| index % 8 < 4)
            .map(|index| format!("o{index}"))
            .collect(),
        ..OrderFilter::default()
    };
    let expected: Vec<_> = documents
        .iter()
        .map(|document| document.order.clone())
        .filter(|order| filter.matches(order))
        .collect();
    let mut rows: Vec<_> = documents.iter().map(|document| document.row).collect();
    rows.insert(3, Row(9999));
    let (mut found, mut rest, mut pages) = (Vec::new(), &rows[..], 0);
    while !rest.is_empty() {
        let page = store.reader.orders_by_rows(rest, &filter).await.unwrap();
        found.extend(page.orders.iter().cloned());
        assert_page(&page.orders, expected.get(found.len()));
        rest = &rest[page.covered..];
        pages += 1;
    }
    assert_eq!(found, expected);
    assert!(pages > 1, "{pages} pages tell little");
}

#[tokio::test]
async fn g11_a_step_of_changes_ends_at_its_bytes_and_goes_on_with_the_next_change() {
    let mut log = large_log();
    log.ship("o4", 50);
    log.ship("o3", 51);
    log.product("7", "Pear");
    log.customer("c1", "Ann");
    let store = Store::holding(&log).await;
    // The orders of the customer follow the time of their creation.
    let documents = log.documents(log.events.len()).into_iter();
    let expected: Vec<_> = documents.map(|document| document.order).collect();
    let (mut found, mut steps, mut at) = (Vec::new(), 0, ChangeCursor::at(1000));
    loop {
        let changes = store.reader.changed_since(at, 500).await.unwrap();
        let orders: Vec<_> = changes.documents.into_iter().map(|it| it.order).collect();
        assert!(size(&orders) <= MAX_PAGE_BYTES);
        found.extend(orders);
        steps += 1;
        assert_ne!(changes.next, at, "no progress");
        at = changes.next;
        if at.position >= changes.as_of {
            break;
        }
    }
    assert_eq!(found, expected);
    assert!(steps > 3, "{steps} steps tell little");
}

#[tokio::test]
async fn g13_an_order_larger_than_a_page_is_a_page() {
    let ids: Vec<_> = (0..1000).map(|index| format!("{index:01500}")).collect();
    let ids: Vec<_> = ids.iter().map(String::as_str).collect();
    let mut log = Log::default();
    for id in ["o1", "o2"] {
        log.create(id, "c1", &ids, (1, "EUR"), 0);
    }
    let store = Store::holding(&log).await;
    let found = store
        .reader
        .orders_by_rows(&[1, 2].map(Row), &OrderFilter::default())
        .await
        .unwrap();
    assert_eq!((found.orders.len(), found.covered), (1, 1));
    assert!(size(&found.orders) > MAX_PAGE_BYTES);
}
