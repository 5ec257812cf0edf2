//! Words: the matches of a query's words, and their ranking.

use super::{Fixture, customer, document, filled, found, item};

pub(crate) async fn accents_case_and_unicode_form_do_not_matter(fixture: &dyn Fixture) {
    let documents = vec![
        customer(1, "Toms Spezialitäten"),
        document(2, |order| {
            order.shipping_address = "Luisenstraße 48, Mu\u{308}nster".into();
        }),
        document(3, |order| {
            order.items = vec![item("p", "Smørrebrød Łódź")];
        }),
    ];
    let engine = filled(fixture, documents).await;
    for (query, row) in [
        ("toms spezialitaten", 1),
        ("Spezialita\u{308}ten TOMS", 1),
        ("munster", 2),
        ("MÜNSTER", 2),
        ("mu\u{308}nster", 2),
        ("luisenstrasse", 2),
        ("Luisenstraße", 2),
        ("smorrebrod", 3),
        ("lodz", 3),
    ] {
        assert_eq!(found(&*engine, query).await, [row], "{query}");
    }
}

pub(crate) async fn every_text_of_an_order_is_searched(fixture: &dyn Fixture) {
    let texts = document(1, |order| {
        order.order_id = "ORD-77_x".into();
        order.tracking_number = "1Z-999-AA".into();
        order.customer_name = "Hanari".into();
        order.shipping_address = "Rua do Paço".into();
        order.items = vec![item("p", "Chai"), item("q", "Tofu")];
        order.cancellation_reason = "unwanted".into();
    });
    let engine = filled(fixture, vec![texts, customer(2, "Nobody")]).await;
    for query in [
        "ORD-77_x",
        "1Z-999-AA",
        "Hanari",
        "Rua do Paço",
        "Chai",
        "Tofu",
    ] {
        assert_eq!(found(&*engine, query).await, [1], "{query}");
    }
    assert!(found(&*engine, "unwanted").await.is_empty());
}

pub(crate) async fn an_order_is_found_while_a_word_is_being_typed(fixture: &dyn Fixture) {
    let documents = vec![customer(1, "Toms Spezialitäten"), customer(2, "Ernst")];
    let engine = filled(fixture, documents).await;
    let word = "spezialitaten";
    for end in 1..=word.len() {
        assert_eq!(found(&*engine, &word[..end]).await, [1], "{}", &word[..end]);
        let both = format!("toms {}", &word[..end]);
        assert_eq!(found(&*engine, &both).await, [1], "{both}");
    }
}

pub(crate) async fn an_order_is_found_while_its_id_is_being_typed(fixture: &dyn Fixture) {
    let id = "0190a5b2-7c1e-7000-8000-abcdef_Z9";
    let documents = vec![
        document(1, |order| order.order_id = id.into()),
        document(2, |order| order.tracking_number = id.into()),
        customer(3, "Ernst"),
    ];
    let engine = filled(fixture, documents).await;
    for end in 1..=id.len() {
        let mut rows = found(&*engine, &id[..end]).await;
        rows.sort_unstable();
        assert_eq!(rows, [1, 2], "{}", &id[..end]);
    }
}

pub(crate) async fn every_word_matches_as_a_prefix(fixture: &dyn Fixture) {
    let documents = vec![customer(1, "Toms Spezialitäten"), customer(2, "Tomson")];
    let engine = filled(fixture, documents).await;
    assert_eq!(found(&*engine, "tom spezi").await, [1]);
    assert_eq!(found(&*engine, "spezi tom").await, [1]);
}

pub(crate) async fn one_typo_is_forgiven_from_five_letters_on(fixture: &dyn Fixture) {
    let documents = vec![
        customer(1, "Hanari"),
        customer(2, "Rome"),
        customer(3, "Carnival"),
    ];
    let engine = filled(fixture, documents).await;
    for query in ["hanaro", "hanarri", "hanri", "hanrai"] {
        assert_eq!(found(&*engine, query).await, [1], "{query}");
    }
    assert_eq!(found(&*engine, "carnixal").await, [3]);
    for (query, reason) in [
        ("rime", "four letters"),
        ("hxnaxi", "two typos"),
        ("cxrnixal", "two typos in eight letters"),
    ] {
        assert!(found(&*engine, query).await.is_empty(), "{reason}");
    }
}

pub(crate) async fn two_typos_are_forgiven_from_nine_letters_on(fixture: &dyn Fixture) {
    let documents = vec![
        customer(1, "Spezialitäten"),
        document(2, |order| order.shipping_address = "Cunewalde".into()),
    ];
    let engine = filled(fixture, documents).await;
    assert_eq!(found(&*engine, "spezilaitaden").await, [1]);
    assert_eq!(found(&*engine, "cunxwalxe").await, [2]);
    assert!(found(&*engine, "spezilaidaden").await.is_empty(), "three");
}

pub(crate) async fn a_beginning_forgives_typos_wherever_they_are(fixture: &dyn Fixture) {
    let engine = filled(fixture, vec![customer(1, "Andersonville")]).await;
    for query in [
        "anderxxson",
        "andersoxxn",
        "andersonxx",
        "andexrson",
        "andersn",
    ] {
        assert_eq!(found(&*engine, query).await, [1], "{query}");
    }
    assert!(found(&*engine, "andersoxxxn").await.is_empty());
}

pub(crate) async fn ids_and_words_with_digits_forgive_no_typo(fixture: &dyn Fixture) {
    let texts = document(1, |order| {
        order.order_id = "alphabet".into();
        order.tracking_number = "transport".into();
        order.items = vec![item("p", "Chassis W124abc")];
    });
    let engine = filled(fixture, vec![texts]).await;
    for query in ["alphabet", "transport", "w124abc", "chassus"] {
        assert_eq!(found(&*engine, query).await, [1], "{query}");
    }
    for query in ["alphabat", "transpart", "w124abd"] {
        assert!(found(&*engine, query).await.is_empty(), "{query}");
    }
}

pub(crate) async fn every_word_must_match_in_some_field(fixture: &dyn Fixture) {
    let order = |row, name: &str, address: &str| {
        document(row, |order| {
            order.customer_name = name.into();
            order.shipping_address = address.into();
        })
    };
    let documents = vec![
        order(1, "Maria", "Berlin"),
        order(2, "Maria", "London"),
        order(3, "Paula", "Berlin"),
    ];
    let engine = filled(fixture, documents).await;
    assert_eq!(found(&*engine, "maria berlin").await, [1]);
    assert_eq!(found(&*engine, "berlin maria").await, [1]);
    assert_eq!(found(&*engine, "maria").await, [2, 1]);
    assert!(found(&*engine, "maria berlin kyoto").await.is_empty());
}

pub(crate) async fn better_matches_come_first(fixture: &dyn Fixture) {
    let documents = vec![
        customer(1, "Anders"),
        customer(2, "Anderson"),
        customer(3, "Andres"),
    ];
    let engine = filled(fixture, documents).await;
    assert_eq!(found(&*engine, "anders").await, [1, 2, 3]);
}

pub(crate) async fn words_that_follow_each_other_come_first(fixture: &dyn Fixture) {
    let documents = vec![
        customer(1, "Anna Maria Berg"),
        customer(2, "Anna Berg Olga Maria"),
        customer(3, "강남구 테헤란로 김"),
        customer(4, "강남구 김 서초 테헤란로"),
    ];
    let engine = filled(fixture, documents).await;
    assert_eq!(found(&*engine, "anna maria").await, [1, 2]);
    assert_eq!(found(&*engine, "강남구 테헤란로").await, [3, 4]);
}

/// Whole words come before beginnings and parts, those before typos; then neighbours, fields and age.
pub(crate) async fn the_rank_follows_the_contract(fixture: &dyn Fixture) {
    let order = |row, name: &str, address: &str| {
        document(row, |order| {
            order.customer_name = name.into();
            order.shipping_address = address.into();
        })
    };
    let documents = vec![
        order(1, "", "Lima Anders"),
        order(2, "Lima", "Anders"),
        order(3, "Limassol Anders", ""),
        order(4, "Lima Andres", ""),
        order(5, "", "Lima Anders"),
        order(6, "김철", ""),
        order(7, "김철수", ""),
        order(8, "김칠", ""),
    ];
    let engine = filled(fixture, documents).await;
    assert_eq!(found(&*engine, "lima anders").await, [5, 1, 2, 3, 4]);
    assert_eq!(found(&*engine, "김철").await, [6, 7, 8]);
}

pub(crate) async fn matches_in_better_fields_come_first(fixture: &dyn Fixture) {
    let documents = vec![
        document(1, |order| order.tracking_number = "lima".into()),
        document(2, |order| order.customer_name = "lima".into()),
        document(3, |order| order.items = vec![item("p", "lima")]),
        document(4, |order| order.shipping_address = "lima".into()),
        document(5, |order| order.tracking_number = "limab".into()),
    ];
    let engine = filled(fixture, documents).await;
    let rows = found(&*engine, "lima").await;
    assert_eq!(
        rows,
        [1, 2, 3, 4, 5],
        "a worse match in a better field last"
    );
}

pub(crate) async fn equally_good_matches_come_newest_first(fixture: &dyn Fixture) {
    let documents = (1..=5).map(|row| customer(row, "Lima")).collect();
    let engine = filled(fixture, documents).await;
    assert_eq!(found(&*engine, "lima").await, [5, 4, 3, 2, 1]);
}

pub(crate) async fn a_word_too_long_to_be_indexed_is_not_found(fixture: &dyn Fixture) {
    let engine = filled(fixture, vec![customer(1, "Lima")]).await;
    assert!(found(&*engine, &"x".repeat(500)).await.is_empty());
}

pub(crate) async fn words_are_never_operators(fixture: &dyn Fixture) {
    let documents = vec![customer(1, "Lima Berlin"), customer(2, "Lima Kyoto")];
    let engine = filled(fixture, documents).await;
    for (query, rows) in [
        ("lima -berlin", &[1][..]),
        ("\"berlin lima\"", &[1]),
        ("\"lima", &[2, 1]),
    ] {
        assert_eq!(found(&*engine, query).await, rows, "{query}");
    }
}
