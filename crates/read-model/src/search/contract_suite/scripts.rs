//! Scripts: texts of every script are found as people type them.

use super::{
    Document, Fixture, SearchRequest, customer, document, filled, found, item, search, with_words,
};
use crate::request::FacetField;

fn address(row: u64, address: &str) -> Document {
    document(row, |order| order.shipping_address = address.into())
}

fn product(row: u64, name: &str) -> Document {
    document(row, |order| order.items = vec![item("p", name)])
}

/// Asserts that each query finds exactly these rows, in any order.
async fn assert_found(fixture: &dyn Fixture, documents: Vec<Document>, cases: &[(&str, &[u64])]) {
    let engine = filled(fixture, documents).await;
    let mut wrong = Vec::new();
    for (query, expected) in cases {
        let mut rows: Vec<_> = found(&*engine, query)
            .await
            .iter()
            .map(|row| row.0)
            .collect();
        rows.sort_unstable();
        if rows != *expected {
            wrong.push(format!("{query:?} finds {rows:?} instead of {expected:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

pub(crate) async fn words_without_spaces_are_found_by_their_parts(fixture: &dyn Fixture) {
    let documents = vec![
        customer(1, "김철수"),
        address(2, "서울특별시 강남구 테헤란로 123"),
        product(3, "제주 유기농녹차 100g"),
        customer(4, "山田太郎"),
        address(5, "東京都渋谷区神南一丁目19番11号"),
        address(6, "東京都港区六本木ヒルズ"),
        address(7, "上海市浦东新区世纪大道100号"),
        product(8, "ชาเขียวน้ำผึ้ง"),
        product(9, "ກາເຟລາວ"),
        product(10, "កាហ្វេខ្មែរ"),
        customer(11, "Nobody"),
    ];
    let cases: [(&str, &[u64]); 23] = [
        ("김철수", &[1]),
        ("철수", &[1]),
        ("서울", &[2]),
        ("특별시", &[2]),
        ("강남구", &[2]),
        ("테헤란로", &[2]),
        ("테헤란로 123", &[2]),
        ("테헤란로123", &[2]),
        ("녹차", &[3]),
        ("太郎", &[4]),
        ("山田", &[4]),
        ("渋谷区", &[5]),
        ("神南", &[5]),
        ("東京都", &[5, 6]),
        ("港区", &[6]),
        ("六本木", &[6]),
        ("ヒルズ", &[6]),
        ("浦东新区", &[7]),
        ("大道100号", &[7]),
        ("น้ำ", &[8]),
        ("เขียว", &[8]),
        ("ລາວ", &[9]),
        ("ខ្មែរ", &[10]),
    ];
    assert_found(fixture, documents, &cases).await;
}

pub(crate) async fn words_without_spaces_are_found_whole_however_long(fixture: &dyn Fixture) {
    let long = "東京都渋谷区神南一丁目代々木公園前南口商店街振興組合";
    let documents = vec![address(1, long), address(2, "東京都渋谷区神南一丁目")];
    let cases: [(&str, &[u64]); 3] = [
        (long, &[1]),
        ("渋谷区神南一丁目代々木公園", &[1]),
        ("渋谷区神南一丁目", &[1, 2]),
    ];
    assert_found(fixture, documents, &cases).await;
}

pub(crate) async fn names_are_found_with_spaces_and_without(fixture: &dyn Fixture) {
    let documents = vec![
        customer(1, "김 철수"),
        customer(2, "김철수"),
        customer(3, "山田　太郎"),
        customer(4, "이영희"),
    ];
    let cases: [(&str, &[u64]); 4] = [
        ("김철수", &[1, 2]),
        ("김 철수", &[1, 2]),
        ("山田太郎", &[3]),
        ("이 영희", &[4]),
    ];
    assert_found(fixture, documents, &cases).await;
}

pub(crate) async fn hangul_is_found_while_it_is_being_typed(fixture: &dyn Fixture) {
    let documents = vec![
        customer(1, "김철수"),
        customer(2, "박영희"),
        customer(3, "닭과오리"),
    ];
    let cases: [(&str, &[u64]); 15] = [
        ("ㄱ", &[1, 3]),
        ("기", &[1]),
        ("김", &[1]),
        ("김ㅊ", &[1]),
        ("김처", &[1]),
        ("김철", &[1]),
        ("김첤", &[1]),
        ("김철ㅅ", &[1]),
        ("김철수", &[1]),
        ("철ㅅ", &[1]),
        ("영흐", &[2]),
        ("다", &[3]),
        ("달", &[3]),
        ("닭고", &[3]),
        ("닭과", &[3]),
    ];
    assert_found(fixture, documents, &cases).await;
}

pub(crate) async fn hangul_forgives_a_wrong_letter(fixture: &dyn Fixture) {
    let documents = vec![
        customer(1, "김철수"),
        customer(2, "서울"),
        address(3, "테헤란로"),
    ];
    let cases: [(&str, &[u64]); 7] = [
        ("김칠수", &[1]),
        ("김철슈", &[1]),
        ("김처수", &[1]),
        ("김칠슈", &[]),
        ("테해란로", &[3]),
        ("태해란로", &[3]),
        ("태해런로", &[]),
    ];
    assert_found(fixture, documents, &cases).await;
}

pub(crate) async fn case_and_marks_do_not_matter_in_any_script(fixture: &dyn Fixture) {
    let documents = vec![
        customer(1, "Οδυσσεύς Παπαδόπουλος"),
        customer(2, "Сергей Королёв"),
        customer(3, "שָׁלוֹם"),
        customer(4, "أَحْمَد"),
        customer(5, "Nguyễn Đặng"),
        customer(6, "Işık Yıldız"),
        customer(7, "ＡＢＣ ﾃﾚﾋﾞ"),
        address(8, "شارع ١٢٣"),
        customer(9, "हिन्दी चाय"),
    ];
    let cases: [(&str, &[u64]); 22] = [
        ("ΟΔΥΣΣΕΥΣ", &[1]),
        ("οδυσσευς", &[1]),
        ("παπαδοπουλος", &[1]),
        ("королев", &[2]),
        ("КОРОЛЁВ", &[2]),
        ("שלום", &[3]),
        ("احمد", &[4]),
        ("أحمد", &[4]),
        ("nguyen", &[5]),
        ("NGUYỄN", &[5]),
        ("dang", &[5]),
        ("isik", &[6]),
        ("IŞIK", &[6]),
        ("yildiz", &[6]),
        ("YILDIZ", &[6]),
        ("abc", &[7]),
        ("テレビ", &[7]),
        ("123", &[8]),
        ("۱۲۳", &[8]),
        ("हिन्दी", &[9]),
        ("चाय", &[9]),
        ("चा", &[9]),
    ];
    assert_found(fixture, documents, &cases).await;
}

pub(crate) async fn codes_are_found_with_separators_and_without(fixture: &dyn Fixture) {
    let uuid = "0190a5b2-7c1e-7000-8000-abcdef012345";
    let documents = vec![
        document(1, |order| order.order_id = uuid.into()),
        document(2, |order| {
            order.tracking_number = "1Z999AA10123456784".into()
        }),
        document(3, |order| {
            order.tracking_number = "RR 123 456 789 KR".into()
        }),
        product(4, "Chassis GR-123"),
        product(5, "Chassis GR456"),
    ];
    let without: String = uuid.split('-').collect();
    let cases: [(&str, &[u64]); 12] = [
        (uuid, &[1]),
        (&without, &[1]),
        (&without[..20], &[1]),
        ("1z999aa10123456784", &[2]),
        ("1Z999AA1", &[2]),
        ("RR123456789KR", &[3]),
        ("RR 123 456 789 KR", &[3]),
        ("GR123", &[4]),
        ("gr-123", &[4]),
        ("GR 123", &[4]),
        ("gr-456", &[5]),
        ("GR 456", &[5]),
    ];
    assert_found(fixture, documents, &cases).await;
}

pub(crate) async fn codes_are_found_in_any_groups(fixture: &dyn Fixture) {
    let documents = vec![
        document(1, |order| {
            order.tracking_number = "1Z999AA10123456784".into();
            order.customer_name = "김철수".into();
        }),
        document(2, |order| {
            order.tracking_number = "1Z999AA10123456785".into()
        }),
        document(3, |order| order.tracking_number = "VNP8842136".into()),
        document(4, |order| order.tracking_number = "JD0146000034".into()),
        document(5, |order| {
            order.order_id = "0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b".into()
        }),
        document(6, |order| {
            order.tracking_number = "RR 123 456 785 CN".into()
        }),
    ];
    let cases: [(&str, &[u64]); 16] = [
        ("VNP 8842136", &[3]),
        ("VNP 884 2136", &[3]),
        ("vnp-884-2136", &[3]),
        ("V NP 88 42 13 6", &[3]),
        ("JD01 4600 0034", &[4]),
        ("J D 0146 0000 34", &[4]),
        ("J D 0146 0000 35", &[]),
        ("0190a1b2c3d4 7e5f8a9b0c1d2e3f4a5b", &[5]),
        ("RR123 456785CN", &[6]),
        ("RR 123 456785CN", &[6]),
        ("1Z 999 AA1 01 2345 6784", &[1]),
        ("1Z 999 AA1 01 2345", &[1, 2]),
        ("김철수 1Z 999 AA1 01 2345 6784", &[1]),
        ("김철수 1Z999AA10123456784", &[1]),
        ("1Z 999 AA1 01 2345 6784 김철수", &[1]),
        ("1Z 999 AA1 02", &[]),
    ];
    assert_found(fixture, documents, &cases).await;
}

pub(crate) async fn codes_in_texts_are_found_without_their_separators(fixture: &dyn Fixture) {
    let documents = vec![
        product(1, "Cable 100-200-300"),
        product(2, "Book 978-3-16-148410-0, hardcover"),
        product(3, "Part 4711-AB-99"),
        product(4, "Pump X.Y.Z-99"),
        address(5, "Flat 12/34 C, Harborville"),
        product(6, "Cable 777 888 999"),
        product(7, "5522-AB-99 서울"),
        product(8, "서울 5533-AB-99"),
    ];
    let cases: [(&str, &[u64]); 16] = [
        ("5522AB99", &[7]),
        ("5533AB99", &[8]),
        ("100200300", &[1]),
        ("100-200-300", &[1]),
        ("100 200 300", &[1]),
        ("100200-300", &[1]),
        ("cable 1002003", &[1]),
        ("777888999", &[]),
        ("9783161484100", &[2]),
        ("978-3161484100", &[2]),
        ("hardcover 978316", &[2]),
        ("4711AB99", &[3]),
        ("4711-ab99", &[3]),
        ("XYZ99", &[4]),
        ("XYZ-99", &[4]),
        ("1234 harborville", &[5]),
    ];
    assert_found(fixture, documents, &cases).await;
}

pub(crate) async fn signs_and_apostrophes_are_between_words(fixture: &dyn Fixture) {
    let documents = vec![
        address(1, "дом №45, кв.№6"),
        customer(2, "Демʼянюк"),
        customer(3, "Кам'янецька"),
        address(4, "Oʻahu Street"),
        product(5, "Acme™ Phone"),
    ];
    let cases: [(&str, &[u64]); 10] = [
        ("дом 45", &[1]),
        ("дом №45", &[1]),
        ("кв 6", &[1]),
        ("дем'янюк", &[2]),
        ("дем’янюк", &[2]),
        ("демʼянюк", &[2]),
        ("камʼянецька", &[3]),
        ("o'ahu", &[4]),
        ("acme phone", &[5]),
        ("phone tm", &[5]),
    ];
    assert_found(fixture, documents, &cases).await;
}

pub(crate) async fn a_code_after_a_word_without_spaces_is_found_while_it_is_being_typed(
    fixture: &dyn Fixture,
) {
    let documents = vec![document(1, |order| {
        order.tracking_number = "1Z999AA10123456784".into();
        order.customer_name = "김철수".into();
    })];
    let cases: [(&str, &[u64]); 2] = [
        ("김철수 1Z 999 AA1 01 2345", &[1]),
        ("김철수 1Z999AA1012345", &[1]),
    ];
    assert_found(fixture, documents, &cases).await;
}

pub(crate) async fn an_exact_id_comes_first(fixture: &dyn Fixture) {
    let documents = vec![
        document(1, |order| order.order_id = "Order-1".into()),
        document(2, |order| order.order_id = "order-1".into()),
        document(3, |order| order.order_id = "Order-12".into()),
        document(4, |order| {
            order.items = vec![item("p", "Order 1"), item("q", "RR1")]
        }),
        document(5, |order| order.tracking_number = "RR1".into()),
        document(6, |order| order.order_id = "RR1-7".into()),
        document(7, |order| order.customer_name = "RR1".into()),
        document(8, |order| order.order_id = "a_b".into()),
        document(9, |order| order.order_id = "A-a-a".into()),
        document(10, |order| order.order_id = "a-a-a".into()),
        document(11, |order| order.customer_name = "a_b a-a-a".into()),
    ];
    let engine = filled(fixture, documents).await;
    let cases = [
        ("Order-1", 1),
        ("order-1", 2),
        ("RR1", 5),
        ("a_b", 8),
        ("A-a-a", 9),
        (" a-a-a ", 10),
    ];
    for (query, row) in cases {
        let rows = found(&*engine, query).await;
        assert_eq!(
            rows.first().map(|row| row.0),
            Some(row),
            "{query}: {rows:?}"
        );
    }
}

pub(crate) async fn an_exact_id_comes_first_on_the_first_page_only(fixture: &dyn Fixture) {
    let mut documents = vec![document(1, |order| {
        order.tracking_number = "RR 12-KR".into()
    })];
    documents.extend((2..=9).map(|row| customer(row, "Rr 12 Kr")));
    let engine = filled(fixture, documents).await;
    let request = SearchRequest {
        limit: 4,
        facets: vec![FacetField::CustomerId],
        ..with_words("RR 12 KR")
    };
    let hits = search(&*engine, request.clone()).await;
    assert_eq!(hits.rows(), [1, 9, 8, 7]);
    assert_eq!((hits.total, hits.facets[0].values[0].count), (9, 9));
    let after = hits.cursor(4);
    let hits = search(&*engine, SearchRequest { after, ..request }).await;
    assert_eq!(hits.rows(), [6, 5, 4, 3]);
    assert_eq!((hits.total, hits.more), (9, true));
}

pub(crate) async fn a_text_without_letter_or_digit_finds_nothing(fixture: &dyn Fixture) {
    let documents = (1..=3).map(|row| customer(row, "Lima 🎉!")).collect();
    let engine = filled(fixture, documents).await;
    for query in ["!!!", "-?!* \"", "🎉", "\u{301}"] {
        assert!(found(&*engine, query).await.is_empty(), "{query:?}");
    }
    for query in ["", "  "] {
        assert_eq!(found(&*engine, query).await, [3, 2, 1], "{query:?}");
    }
    assert_eq!(found(&*engine, "lima !!!").await, [3, 2, 1]);
}
