//! Tests of counts, sums and averages.

use contract::{
    google::r#type::Money,
    orders::v1::{CurrencyAmounts, DayStatistics, StatusCount},
};
use prost::Message as _;

use super::*;

/// Counts and sums the documents one by one.
fn figures(orders: &[&Order]) -> (u64, Vec<CurrencyAmounts>, Vec<StatusCount>) {
    let mut sums = BTreeMap::<String, Vec<i64>>::new();
    let mut statuses = BTreeMap::<i32, u64>::new();
    for order in orders {
        let total = order.total_amount.clone().unwrap();
        let amount = convert::amount(&total).unwrap();
        sums.entry(total.currency_code).or_default().push(amount);
        *statuses.entry(order.status).or_default() += 1;
    }
    let amounts = sums.into_iter().map(|(currency, amounts)| {
        let sum: i64 = amounts.iter().sum();
        let count = amounts.len() as i64;
        // Half to even, computed naively: the closest integer, or the even one of two equally
        // close.
        let average = [sum / count, sum / count + 1]
            .into_iter()
            .min_by_key(|average| ((average * count - sum).abs(), average % 2))
            .unwrap();
        CurrencyAmounts {
            total_amount: Some(convert::money(sum, &currency)),
            average_order_amount: Some(convert::money(average, &currency)),
        }
    });
    let statuses = statuses.into_iter();
    (
        orders.len() as u64,
        amounts.collect(),
        statuses
            .map(|(status, count)| StatusCount { status, count })
            .collect(),
    )
}

fn day(order: &Order) -> String {
    let seconds = order.created_at.as_ref().unwrap().seconds;
    let day = seconds.div_euclid(86_400);
    // The days of the logs are around the beginning of 1970.
    match day {
        -1 => "1969-12-31".to_owned(),
        _ => format!("1970-01-{:02}", day + 1),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn statistics_equal_the_sums_over_the_documents(
        log in logs(60),
        size in 1_usize..20,
        limit in 1_usize..4,
    ) {
        run(async {
            let mut store = Store::new().await;
            store.follow(&log, size).await;
            let documents = log.documents(log.events.len());
            let orders: Vec<_> = documents.iter().map(|document| &document.order).collect();

            let halves = "SELECT count(*) FROM statistics WHERE low NOT BETWEEN 0 AND 4294967295";
            let uncarried: i64 = sqlx::query_scalar(halves)
                .fetch_one(store.reader.snapshot().await.unwrap().connection())
                .await
                .unwrap();
            prop_assert_eq!(uncarried, 0, "or it would overflow one day");

            let told = store.reader.statistics(ALL_DAYS).await.unwrap();
            prop_assert_eq!(
                (told.total_orders, told.amounts, told.orders_by_status),
                figures(&orders)
            );
            let mut days = BTreeMap::<String, Vec<&Order>>::new();
            for order in &orders {
                days.entry(day(order)).or_default().push(order);
            }
            let days: Vec<_> = days
                .into_iter()
                .map(|(day, orders)| {
                    let (total_orders, amounts, orders_by_status) = figures(&orders);
                    DayStatistics { day, total_orders, amounts, orders_by_status }
                })
                .collect();
            prop_assert_eq!(&told.days, &days);
            prop_assert_eq!(told.next_page_token, "");
            let (mut found, mut after) = (Vec::new(), String::new());
            loop {
                let page = DayPage { after: &after, limit };
                let page = store.reader.statistics(Some(page)).await.unwrap();
                prop_assert_eq!(page.total_orders, told.total_orders);
                prop_assert!(page.days.len() <= limit);
                found.extend(page.days);
                after = page.next_page_token;
                if after.is_empty() {
                    break;
                }
            }
            prop_assert_eq!(found, days);

            for customer in ["c0", "c1", "c2"] {
                let orders: Vec<_> = orders
                    .iter()
                    .copied()
                    .filter(|order| order.customer_id == customer)
                    .collect();
                let told = store.reader.customer_statistics(customer).await.unwrap();
                let registered = log.events.iter().any(|event| event.aggregate_id == customer);
                prop_assert_eq!(told.is_some(), registered || !orders.is_empty());
                if let Some(told) = told {
                    prop_assert_eq!(told.as_of_position, log.head());
                    prop_assert_eq!(
                        (told.total_orders, told.amounts, told.orders_by_status),
                        figures(&orders)
                    );
                }
            }
            Ok(())
        })?;
    }
}

#[tokio::test]
async fn a_registered_customer_without_orders_has_zeros() {
    let mut log = Log::default();
    log.customer("c1", "Ann");
    let store = Store::holding(&log).await;
    let told = store.reader.customer_statistics("c1").await.unwrap();
    let told = told.unwrap();
    assert_eq!((told.customer_name.as_str(), told.total_orders), ("Ann", 0));
    assert!(told.amounts.is_empty() && told.orders_by_status.is_empty());
    let unknown = store.reader.customer_statistics("c2").await.unwrap();
    assert_eq!(unknown, None);
}

#[tokio::test]
async fn sums_beyond_64_bits_are_exact() {
    let mut log = Log::default();
    let dear = i64::MAX - 3;
    for index in 0..5 {
        let id = format!("o{index}");
        log.create(&id, "c1", &["p1"], (dear, "EUR"), 0);
        log.ship(&id, 1);
    }
    let mut store = Store::new().await;
    store.follow(&log, 3).await;
    let told = store.reader.statistics(None).await.unwrap();
    let sum = i128::from(dear) * 5;
    let amounts = &told.amounts[0];
    assert_eq!(
        amounts.total_amount,
        Some(Money {
            currency_code: "EUR".into(),
            units: i64::try_from(sum / 10_000).unwrap(),
            nanos: i32::try_from(sum % 10_000).unwrap() * 100_000,
        })
    );
    assert_eq!(
        amounts.average_order_amount,
        Some(convert::money(dear, "EUR"))
    );
}

#[tokio::test]
async fn a_sum_beyond_the_money_type_is_left_out_and_all_else_is_told() {
    let store = Store::new().await;
    let sum = i128::from(i64::MAX) * 10_001;
    let (high, low) = (sum >> 32, sum & 0xffff_ffff);
    let sums = format!(
        "INSERT INTO statistics VALUES
            (0, '', 'EUR', 1, 10001, {high}, {low}), (0, '', 'USD', 1, 2, 0, 20000)"
    );
    store.change(&sums).await;
    let told = store.reader.statistics(None).await.unwrap();
    assert_eq!(told.total_orders, 10_003);
    let [euros, dollars] = &told.amounts[..] else {
        panic!("{told:?}")
    };
    assert_eq!(euros.total_amount, None);
    let average = convert::money(i64::MAX, "EUR");
    assert_eq!(euros.average_order_amount, Some(average));
    assert_eq!(dollars.total_amount, Some(convert::money(20_000, "USD")));
}

#[tokio::test]
async fn averages_are_rounded_half_to_even() {
    let mut log = Log::default();
    for (customer, amounts) in [("down", [2, 3]), ("up", [3, 4])] {
        for amount in amounts {
            let id = format!("{customer}{amount}");
            log.create(&id, customer, &["p1"], (amount, "EUR"), 0);
        }
    }
    let store = Store::holding(&log).await;
    for (customer, average) in [("down", 2), ("up", 4)] {
        let told = store.reader.customer_statistics(customer).await.unwrap();
        let amounts = told.unwrap().amounts;
        assert_eq!(
            amounts[0].average_order_amount,
            Some(convert::money(average, "EUR"))
        );
    }
}

#[tokio::test]
async fn g13_a_page_of_days_with_many_currencies_ends_early_and_goes_on() {
    let store = Store::new().await;
    // Each day has orders in 676 currencies and 4 states, and two orders of each kind.
    store
        .change(
            "WITH RECURSIVE number(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM number WHERE n < 675)
             INSERT INTO statistics
             SELECT 2, '2026-11-' || (day.n + 10),
                    'X' || char(65 + currency.n / 26) || char(65 + currency.n % 26),
                    status.n + 1, 2, 0, 20000
             FROM number day, number currency, number status WHERE day.n < 15 AND status.n < 4",
        )
        .await;
    let (mut found, mut after, mut pages) = (Vec::new(), String::new(), 0);
    loop {
        let page = DayPage {
            after: &after,
            limit: 1000,
        };
        let page = store.reader.statistics(Some(page)).await.unwrap();
        assert!(page.encoded_len() < 1 << 20, "{} bytes", page.encoded_len());
        found.extend(page.days);
        pages += 1;
        after = page.next_page_token;
        if after.is_empty() {
            break;
        }
    }
    let days: Vec<_> = found.iter().map(|day| day.day.as_str()).collect();
    let expected: Vec<_> = (10..25).map(|day| format!("2026-11-{day}")).collect();
    assert_eq!(days, expected);
    assert!(found.iter().all(|day| day.total_orders == 676 * 4 * 2));
    assert_eq!(pages, 4, "four days have more than 10,000 lines");
}
