//! Tests of the places of a query's words, as people see them, and against the embedded engine.

use std::time::{Duration, Instant};

use contract::orders::v1::{Order, OrderItem};
use proptest::{
    prelude::*,
    sample::{Index, select},
};
use prost::Message as _;

use super::{Fields, MAX_HIGHLIGHTS, Word, highlights, in_fields, names_with_words};
use crate::{
    search::{
        Engine as _, SearchRequest,
        contract_suite::{checkpoint, document, everything, write},
        embedded::EmbeddedIndex,
        tokens,
    },
    store::MAX_PAGE_BYTES,
};

fn customer(name: &str) -> Order {
    Order {
        customer_name: name.into(),
        ..Order::default()
    }
}

fn item(product_name: &str) -> OrderItem {
    OrderItem {
        product_name: product_name.into(),
        ..OrderItem::default()
    }
}

/// Returns the text of a field in an order.
fn text<'a>(order: &'a Order, field: &str) -> &'a str {
    match field {
        "order_id" => &order.order_id,
        "tracking_number" => &order.tracking_number,
        "customer_name" => &order.customer_name,
        "shipping_address" => &order.shipping_address,
        item => {
            let index = item.strip_prefix("items[").unwrap();
            let index = index.strip_suffix("].product_name").unwrap();
            &order.items[index.parse::<usize>().unwrap()].product_name
        }
    }
}

/// Returns the fields of the highlights, and the highlighted parts of the texts.
fn marked(query: &str, order: &Order) -> Vec<(String, String)> {
    let late = Instant::now() + Duration::from_secs(600);
    let found = highlights(query, std::slice::from_ref(order), late).unwrap();
    let [found] = &found[..] else {
        panic!("{found:?}")
    };
    let parts = found.highlights.iter().map(|highlight| {
        let characters = text(order, &highlight.field).chars();
        let (start, length) = (highlight.start as usize, highlight.length as usize);
        let part: String = characters.skip(start).take(length).collect();
        assert_eq!(part.chars().count(), length, "{highlight:?}");
        (highlight.field.clone(), part)
    });
    parts.collect()
}

/// Asserts the highlighted parts of each text, with `|` between them.
fn assert_marked(cases: &[(&str, &str, &str)]) {
    let mut wrong = Vec::new();
    for (text, query, expected) in cases {
        let parts = marked(query, &customer(text)).into_iter();
        let parts: Vec<_> = parts.map(|(_, part)| part).collect();
        let parts = parts.join("|");
        if parts != *expected {
            wrong.push(format!("{query:?} marks {parts:?} in {text:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_highlight_is_the_word_or_the_beginning_that_was_typed() {
    assert_marked(&[
        ("Toms Spezialitäten", "spezi", "Spezi"),
        (
            "Toms Spezialitäten",
            "spezialitaten TOM",
            "Tom|Spezialitäten",
        ),
        ("Toms Spezialitäten", "ten", ""),
        ("🎉 Lima, Lima-Lim 🎉", "lima", "Lima|Lima"),
        ("Lima", "lim lima l", "Lima"),
        ("Lima", "", ""),
        ("Lima!!!", "!!!", ""),
    ]);
}

#[test]
fn a_highlight_is_in_the_original_text_whatever_folding_does_to_it() {
    assert_marked(&[
        ("Spezialita\u{308}ten", "spezialita", "Spezialita\u{308}"),
        ("x Mu\u{308}nster", "münster", "Mu\u{308}nster"),
        ("Luisenstraße 48", "luisenstrasse 4", "Luisenstraße|4"),
        ("Luisenstraße 48", "luisenstras", "Luisenstraß"),
        ("Smørrebrød Łódź", "smorre lodz", "Smørre|Łódź"),
        ("Ærø", "a", "Æ"),
        ("ﬁn ½", "f 2", "ﬁ|½"),
        ("ＡＢＣ ﾃﾚﾋﾞ", "ab テレビ", "ＡＢ|ﾃﾚﾋﾞ"),
        ("ＡＢＣ ﾃﾚﾋﾞ", "テレヒ", "ﾃﾚﾋﾞ"),
        ("Οδυσσεύς Παπαδόπουλος", "ΟΔΥΣΣΕΥΣ παπ", "Οδυσσεύς|Παπ"),
        ("Сергей Королёв", "королев", "Королёв"),
        ("שָׁלוֹם", "שלום", "שָׁלוֹם"),
        ("أَحْمَد", "اح", "أَحْ"),
        ("محـــمد", "مح", "محـــ"),
        ("Nguyễn Đặng", "nguyen dang", "Nguyễn|Đặng"),
        ("Işık Yıldız", "IŞIK yildiz", "Işık|Yıldız"),
        ("شارع ١٢٣", "12", "١٢"),
        ("हिन्दी चाय", "हिन्दी च", "हिन्दी|चा"),
        ("zero\u{200d}width", "zero", "zero\u{200d}"),
    ]);
}

#[test]
fn a_highlight_is_any_part_of_a_word_without_spaces() {
    let long = "東京都渋谷区神南一丁目代々木公園前南口商店街振興組合";
    assert_marked(&[
        ("김철수", "철수", "철수"),
        ("김철수", "ㄱ", "김"),
        ("김철수", "김ㅊ", "김철"),
        ("김철수", "김처", "김철"),
        ("김철수", "김첤", "김철수"),
        ("김철수", "철ㅅ", "철수"),
        ("김 철수", "김철수", "김 철수"),
        ("김철수", "김 철수", "김철수"),
        ("김, 철수", "김철수", ""),
        (
            "서울특별시 강남구 테헤란로 123",
            "테헤란로123",
            "테헤란로|123",
        ),
        (
            "서울특별시 강남구 테헤란로 123",
            "강남구 서울",
            "서울|강남구",
        ),
        ("山田　太郎", "山田太郎", "山田　太郎"),
        ("東京都渋谷区神南一丁目19番11号", "渋谷区", "渋谷区"),
        (long, long, long),
        (
            long,
            "渋谷区神南一丁目代々木公園",
            "渋谷区神南一丁目代々木公園",
        ),
        ("東京都渋谷区神南一丁目", long, ""),
        ("ああああ", "ああ", "ああああ"),
        ("上海市浦东新区世纪大道100号", "大道100号", "大道100号"),
        ("ชาเขียวน้ำผึ้ง", "น้ำ", "น้ำ"),
        ("ກາເຟລາວ", "ລາວ", "ລາວ"),
        ("កាហ្វេខ្មែរ", "ខ្មែរ", "ខ្មែរ"),
    ]);
}

#[test]
fn a_word_with_typos_is_highlighted_if_there_is_no_better_match() {
    assert_marked(&[
        ("Hanari Carnes", "hanaro", "Hanari"),
        ("Hanari Carnes", "hanri carn", "Hanari|Carn"),
        ("Toms Spezialitäten", "spezilaitaden", "Spezialitäten"),
        ("Toms Spezialitäten", "spexi", "Spezi"),
        ("Anders Andres", "anders", "Anders"),
        ("Rome", "rime", ""),
        ("Chassis W124abc", "w124abd chassus", "Chassis"),
        ("김철수", "김칠수", "김철수"),
        ("서울 테헤란로", "태해란로", "테헤란로"),
    ]);
    let order = Order {
        shipping_address: "Andres".into(),
        ..customer("Anders")
    };
    let expected = ("customer_name".to_owned(), "Anders".to_owned());
    assert_eq!(marked("anders", &order), [expected]);
    let id = Order {
        order_id: "alphabet".into(),
        ..Order::default()
    };
    assert_eq!(marked("alphabat", &id), []);
}

#[test]
fn an_id_or_code_is_highlighted_however_it_is_grouped() {
    assert_marked(&[
        ("Chassis GR-123", "GR123", "GR-123"),
        ("Chassis GR-123", "gr12", "GR-12"),
        ("Chassis GR-123", "gr 123", "GR-123"),
        ("Cable 100-200-300", "100200300", "100-200-300"),
        ("Cable 100-200-300", "100200-3", "100-200-3"),
        ("Cable 100 200-300", "100200", ""),
        ("дом №45", "дом 45", "дом|45"),
        ("Chassis GR456", "GR-45", "GR45"),
        ("Chassis GR-123", "gr1234", ""),
    ]);
    for (id, query, expected) in [
        (
            "0190a5b2-7c1e-7000-8000-abcdef012345",
            "0190a5b27c1e70008000",
            "0190a5b2-7c1e-7000-8000",
        ),
        ("0190a5b2-7c1e-7000-8000-abcdef012345", "7c1e", "7c1e"),
        ("0190a5b2-7c1e-7000-8000-abcdef012345", "c1e", ""),
        ("1Z999AA10123456784", "1Z 999 AA1 01 2345", "1Z999AA1012345"),
        ("RR 123 456 789 KR", "RR123456789", "RR 123 456 789"),
        ("서울-12", "서울12", "서울|12"),
        ("서울-12", "울", ""),
    ] {
        let order = Order {
            tracking_number: id.into(),
            ..Order::default()
        };
        let parts: Vec<_> = marked(query, &order).into_iter().map(|it| it.1).collect();
        assert_eq!(parts.join("|"), expected, "{query:?} in {id:?}");
    }
}

#[test]
fn every_searched_field_has_highlights_under_its_path() {
    let order = Order {
        order_id: "lima-1".into(),
        customer_id: "lima".into(),
        customer_name: "Lima Trading".into(),
        shipping_address: "Lima 1".into(),
        tracking_number: "LIMA1".into(),
        cancellation_reason: "lima".into(),
        items: vec![item("Tea"), item(""), item("Beans of Lima")],
        ..Order::default()
    };
    let fields: Vec<_> = marked("lima", &order).into_iter().map(|it| it.0).collect();
    let expected = [
        "order_id",
        "tracking_number",
        "customer_name",
        "shipping_address",
        "items[2].product_name",
    ];
    assert_eq!(fields, expected);
}

#[test]
fn g13_the_highlights_of_an_order_and_a_page_are_bounded() {
    let order = Order {
        order_id: "a".into(),
        items: vec![item(&"a b ".repeat(50)); 1000],
        ..Order::default()
    };
    let found = marked("a", &order);
    assert_eq!(found.len(), MAX_HIGHLIGHTS);
    assert_eq!(found[0].0, "order_id");
    assert_eq!(found[1].0, "items[0].product_name");
    // The longest path, and numbers of two bytes.
    let mut last = in_last_item();
    last.highlights = vec![last.highlights.remove(0); MAX_HIGHLIGHTS];
    let reply = contract::orders::v1::SearchOrdersResponse {
        highlights: vec![last; 500],
        ..Default::default()
    };
    assert!(reply.encoded_len() + MAX_PAGE_BYTES < 4 << 20);
}

fn in_last_item() -> contract::orders::v1::OrderHighlights {
    let mut items = vec![item(""); 999];
    items.push(item(&format!(
        "{} lima{}",
        "x ".repeat(90),
        "a".repeat(200)
    )));
    let order = Order {
        items,
        ..Order::default()
    };
    let query = format!("lima{}", "a".repeat(200));
    let late = Instant::now() + Duration::from_secs(600);
    highlights(&query, &[order], late).unwrap().remove(0)
}

#[test]
fn highlights_past_the_deadline_are_none() {
    assert_eq!(
        highlights("lima", &[customer("Lima")], Instant::now()),
        None
    );
}

/// Words of every script, some of which are parts of others or near them.
const WORDS: [&str; 36] = [
    "Lima",
    "Limassol",
    "Anders",
    "Andres",
    "Anderson",
    "Spezialitäten",
    "Spezialita\u{308}ten",
    "Straße",
    "Ærø",
    "ﬁn",
    "Οδυσσεύς",
    "Королёв",
    "שָׁלוֹם",
    "أَحْمَد",
    "محـــمد",
    "Đặng",
    "Işık",
    "ＡＢＣ",
    "ﾃﾚﾋﾞ",
    "١٢٣",
    "हिन्दी",
    "김철수",
    "김칠",
    "철수",
    "닭과오리",
    "서울특별시강남구테헤란로",
    "山田太郎",
    "東京都渋谷区神南一丁目",
    "ชาเขียวน้ำผึ้ง",
    "ខ្មែរ",
    "GR-123",
    "GR456",
    "1Z999AA1",
    "0190a5b2-7c1e",
    "7",
    "🎉",
];

const SEPARATORS: [&str; 7] = [" ", "", "-", ", ", "　", "_", "\u{301}"];

prop_compose! {
    fn any_text(most: usize)(
        words in prop::collection::vec((select(&WORDS[..]), select(&SEPARATORS[..])), 0..=most),
    ) -> String {
        words.iter().flat_map(|(word, separator)| [*word, *separator]).collect()
    }
}

prop_compose! {
    fn any_order()(
        order_id in any_text(2),
        tracking_number in any_text(2),
        customer_name in any_text(3),
        shipping_address in any_text(4),
        items in prop::collection::vec(any_text(2).prop_map(|name| item(&name)), 0..3),
    ) -> Order {
        Order { order_id, tracking_number, customer_name, shipping_address, items, ..Order::default() }
    }
}

prop_compose! {
    /// A part of a word, with a letter replaced by one of another word, left out or swapped.
    fn typed()(
        word in select(&WORDS[..]),
        other in select(&WORDS[..]),
        places: [Index; 4],
        change in 0..6_u8,
    ) -> String {
        let mut letters: Vec<_> = word.chars().collect();
        let other: Vec<_> = other.chars().collect();
        let at = places[0].index(letters.len());
        match change {
            0 => letters[at] = *places[1].get(&other),
            1 => letters.insert(at, *places[1].get(&other)),
            2 => drop(letters.remove(at)),
            3 => letters.swap(at, at.saturating_sub(1)),
            _ => {}
        }
        if change == 4 {
            letters.truncate(places[2].index(letters.len()) + 1);
            letters.drain(..places[3].index(letters.len()));
        }
        letters.into_iter().collect()
    }
}

prop_compose! {
    fn any_query()(
        words in prop::collection::vec((typed(), select(&SEPARATORS[..])), 1..4),
    ) -> String {
        words.iter().flat_map(|(word, separator)| [word, *separator]).collect()
    }
}

/// Asserts that the highlights are in order and apart, and end where a letter and its marks end.
fn assert_in_text(query: &str, order: &Order) -> Result<(), TestCaseError> {
    let late = Instant::now() + Duration::from_secs(600);
    let found = highlights(query, std::slice::from_ref(order), late).unwrap();
    let mut before: Option<(&str, usize)> = None;
    for highlight in &found[0].highlights {
        let text = text(order, &highlight.field);
        let start = highlight.start as usize;
        let end = start + highlight.length as usize;
        prop_assert!(highlight.length > 0 && end <= text.chars().count());
        if let Some((field, last)) = before {
            prop_assert!(field != highlight.field || last < start);
        }
        before = Some((&highlight.field, end));
        let letters = tokens::segments(text);
        let letters: Vec<_> = letters.iter().flat_map(|it| &it.letters).collect();
        prop_assert!(letters.iter().any(|it| it.source.start == start));
        prop_assert!(letters.iter().any(|it| it.source.end == end));
    }
    Ok(())
}

/// Returns whether each word of a query has a place in an order.
fn has_all_words(query: &str, order: &Order) -> bool {
    let segments = tokens::segments(query);
    let fields = Fields::default().of(order);
    let mut words = (0..segments.len()).map(|index| Word::new(&segments, index));
    !segments.is_empty() && words.all(|word| !in_fields(&[word], &fields).is_empty())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn every_word_has_a_highlight_exactly_in_the_orders_that_the_embedded_engine_finds(
        orders in prop::collection::vec(any_order(), 1..24),
        queries in prop::collection::vec(any_query(), 24),
    ) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let index = EmbeddedIndex::open(folder.path()).unwrap();
        let documents = (1..).zip(&orders).map(|(row, order)| {
            document(row, |it| *it = Order { created_at: it.created_at, ..order.clone() })
        });
        runtime.block_on(write(&index, documents.collect(), checkpoint(1)));
        for query in queries {
            let request = SearchRequest { query: query.clone(), ..everything() };
            let hits = runtime.block_on(index.search(request)).unwrap();
            // A slow machine may not let the engine finish.
            if hits.degraded {
                continue;
            }
            let rows: Vec<_> = hits.rows().iter().map(|row| row.0).collect();
            for (row, order) in (1..).zip(&orders) {
                assert_in_text(&query, order)?;
                if query.trim().is_empty() {
                    continue;
                }
                let is_found = rows.contains(&row);
                prop_assert_eq!(has_all_words(&query, order), is_found, "{:?} {:?}", query, order);
            }
        }
    }
}

#[test]
fn names_have_the_words_that_a_search_would_find_in_them() {
    let names = ["Ann Miller", "김철수", "Grüne Teekanne", ""];
    for (query, expected) in [
        ("berlin mill", [true, false, false, false]),
        ("miller kanne", [true, false, false, false]),
        ("miler", [true, false, false, false]),
        ("철수", [false, true, false, false]),
        ("grune", [false, false, true, false]),
        ("berlin", [false; 4]),
        ("!", [false; 4]),
    ] {
        assert_eq!(names_with_words(query, &names), expected, "{query}");
    }
}
