//! Measures searches by text in an embedded index of many orders, without a server.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use contract::{
    google::r#type::Money,
    orders::v1::{Order, OrderItem, OrderStatus},
};
use prost::Message as _;
use prost_types::Timestamp;
use read_model::{
    Row,
    request::{FacetField, OrderFilter},
    search::{Document, Engine, IndexCheckpoint, SearchRequest, embedded::TantivyIndex},
    store::ChangeCursor,
};

use crate::{
    figures::{milliseconds, tell_latency},
    random::random,
};

const BATCH: u64 = 10_000;
const REPETITIONS: usize = 20;
const CUSTOMERS: u64 = 1_000_000;
const PRODUCTS: u64 = 5_000;

/// Family names and the syllables of first names.
const FAMILIES: [&str; 12] = [
    "김", "이", "박", "최", "정", "강", "조", "윤", "장", "임", "한", "오",
];
const SYLLABLES: [&str; 24] = [
    "철", "수", "영", "희", "민", "준", "서", "연", "지", "우", "현", "도", "윤", "하", "은", "주",
    "예", "린", "성", "호", "재", "원", "진", "아",
];
const FIRST_NAMES: [&str; 12] = [
    "Maria", "John", "Chen", "Olga", "Pierre", "Aisha", "Lukas", "Ingrid", "Diego", "Fatima",
    "Kenji", "Zoë",
];
const LAST_NAMES: [&str; 16] = [
    "Müller",
    "Smith",
    "Garcia",
    "Ivanova",
    "Dubois",
    "Hansen",
    "Rossi",
    "Nowak",
    "Jensen",
    "Papadopoulos",
    "Sato",
    "Okafor",
    "Silva",
    "Kowalski",
    "Fischer",
    "Andersson",
];
const ADJECTIVES: [&str; 10] = [
    "Green",
    "Small",
    "Wooden",
    "Heavy",
    "Classic",
    "Organic",
    "유기농",
    "프리미엄",
    "작은",
    "국산",
];
const GOODS: [&str; 10] = [
    "Tea",
    "Table",
    "Lamp",
    "Chair",
    "Notebook",
    "Kettle",
    "녹차",
    "책상",
    "의자",
    "주전자",
];
const STREETS: [&str; 8] = [
    "Main St",
    "Oak Avenue",
    "High Street",
    "Rue de la Paix",
    "Hauptstraße",
    "Calle Mayor",
    "Park Lane",
    "Station Road",
];
const CITIES: [&str; 8] = [
    "Springfield",
    "London",
    "Paris",
    "Berlin",
    "Madrid",
    "Oslo",
    "Lagos",
    "Osaka",
];
const DISTRICTS: [&str; 8] = [
    "서울특별시 강남구",
    "서울특별시 마포구",
    "부산광역시 해운대구",
    "대구광역시 수성구",
    "인천광역시 연수구",
    "경기도 성남시",
    "서울특별시 종로구",
    "제주특별자치도 제주시",
];
const ROADS: [&str; 8] = [
    "테헤란로",
    "세종대로",
    "강남대로",
    "월드컵북로",
    "해운대로",
    "동대구로",
    "판교역로",
    "중앙로",
];

pub(crate) async fn run(orders: u64, keep: Option<PathBuf>) {
    let temporary = tempfile::tempdir().unwrap();
    let folder = keep.as_deref().unwrap_or(temporary.path());
    let index = TantivyIndex::open(folder).unwrap();
    if index.checkpoint("").await.unwrap().is_none() {
        fill(&index, orders).await;
    }
    println!("index {:.0} MB", size(folder) as f64 / 1e6);
    for text in texts() {
        search(&index, text, &[]).await;
    }
    let all = [
        FacetField::Status,
        FacetField::CustomerId,
        FacetField::ProductId,
    ];
    for text in ["london", "서울"] {
        search(&index, text, &all).await;
    }
}

/// Texts of few and of very many orders, complete and while they are being typed.
fn texts() -> [&'static str; 24] {
    [
        "smith",
        "김철수",
        "철수",
        "smit",
        "smiht",
        "john smith",
        "maria oslo",
        "london",
        "서울",
        "서울특별시 강남구",
        "테헤란로 12",
        "green tea london",
        "유기농 녹차 서울",
        "main london street",
        "김",
        "s",
        "1",
        "o",
        "ord",
        "order-12345",
        "order-1234567",
        "3f",
        "1z999",
        "nothing-of-this",
    ]
}

async fn search(index: &TantivyIndex, text: &str, facets: &[FacetField]) {
    let request = SearchRequest {
        query: text.into(),
        filter: OrderFilter::default(),
        sort: None,
        after: None,
        limit: 50,
        facets: facets.to_vec(),
        newest: 0,
        timeout: Duration::from_secs(5),
    };
    let (mut taken, mut total, mut degraded) = (Vec::new(), 0, 0);
    for _ in 0..REPETITIONS {
        let began = Instant::now();
        let found = index.search(request.clone()).await.unwrap();
        taken.push(milliseconds(began.elapsed()));
        total = found.total;
        degraded += u64::from(found.degraded);
    }
    let facets = if facets.is_empty() {
        ""
    } else {
        ", three facets"
    };
    let degraded = if degraded == 0 { "" } else { ", degraded" };
    tell_latency(&format!("{text}{facets}: {total} orders{degraded}"), &taken);
}

async fn fill(index: &TantivyIndex, orders: u64) {
    let began = Instant::now();
    let mut bytes = 0;
    let mut written = None;
    for first in (0..orders).step_by(BATCH as usize) {
        let numbers = first..orders.min(first + BATCH);
        let documents: Vec<_> = numbers
            .map(|number| Document {
                row: Row(number + 1),
                order: order(number),
            })
            .collect();
        bytes += documents
            .iter()
            .map(|it| it.order.encoded_len())
            .sum::<usize>();
        let write = index
            .write(documents, checkpoint(first + BATCH))
            .await
            .unwrap();
        if let Some(before) = written.replace(write) {
            before.await.unwrap();
        }
    }
    if let Some(last) = written {
        last.await.unwrap();
    }
    let taken = began.elapsed().as_secs_f64();
    println!(
        "{orders} orders of {:.0} MB indexed in {taken:.1} s: {:.0} a second",
        bytes as f64 / 1e6,
        orders as f64 / taken
    );
}

fn checkpoint(position: u64) -> IndexCheckpoint {
    IndexCheckpoint {
        log_id: String::new(),
        history: String::new(),
        read_position: position,
        event_id: String::new(),
        position,
        names: ChangeCursor::default(),
        answers: position,
        generation: 1,
    }
}

fn size(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).unwrap();
    entries
        .map(|entry| entry.unwrap().metadata().unwrap().len())
        .sum()
}

/// Half of the orders have a number for an id, the others look like a UUID. Names and addresses are
/// Korean in one half and European in the other.
fn order(number: u64) -> Order {
    let customer = random(number, CUSTOMERS);
    let items = (0..1 + random(number + 11, 4)).map(|item| {
        let product = random(number * 5 + item, PRODUCTS);
        OrderItem {
            product_id: format!("product-{product}"),
            product_name: format!(
                "{} {} {product}",
                pick(&ADJECTIVES, product),
                pick(&GOODS, product + 1)
            ),
            quantity: 1,
            unit_price: euros(random(number + item, 500)),
            line_total: euros(random(number + item, 500)),
        }
    });
    let items: Vec<_> = items.collect();
    let time = Some(Timestamp {
        seconds: 1_700_000_000 + number.cast_signed(),
        nanos: 0,
    });
    let status = match random(number, 8) {
        0 => OrderStatus::Cancelled,
        1..=5 => OrderStatus::Delivered,
        6 => OrderStatus::Shipped,
        _ => OrderStatus::Created,
    };
    let [high, low] = [number, number + 3].map(|seed| random(seed, u64::MAX));
    Order {
        order_id: match number % 2 {
            0 => format!("order-{number}"),
            _ => uuid::Uuid::from_u64_pair(high, low).to_string(),
        },
        customer_id: format!("customer-{customer}"),
        customer_name: name(customer),
        items,
        shipping_address: address(number + 17),
        tracking_number: format!("1Z999AA1{:010}", random(number + 19, 10_000_000_000)),
        status: status.into(),
        total_amount: euros(random(number, 2000)),
        created_at: time,
        updated_at: time,
        ..Order::default()
    }
}

fn name(customer: u64) -> String {
    match customer % 2 {
        0 => format!(
            "{}{}{}",
            pick(&FAMILIES, customer),
            pick(&SYLLABLES, customer + 1),
            pick(&SYLLABLES, customer + 2)
        ),
        _ => format!(
            "{} {}",
            pick(&FIRST_NAMES, customer),
            pick(&LAST_NAMES, customer + 1)
        ),
    }
}

fn address(seed: u64) -> String {
    let house = 1 + random(seed + 2, 300);
    match random(seed, 2) {
        0 => format!(
            "{} {} {house}",
            pick(&DISTRICTS, seed),
            pick(&ROADS, seed + 1)
        ),
        _ => format!(
            "{house} {}, {}",
            pick(&STREETS, seed),
            pick(&CITIES, seed + 1)
        ),
    }
}

fn pick<'a>(of: &[&'a str], seed: u64) -> &'a str {
    of[random(seed + 23, of.len() as u64) as usize]
}

fn euros(units: u64) -> Option<Money> {
    Some(Money {
        currency_code: "EUR".into(),
        units: units.cast_signed() + 1,
        nanos: 0,
    })
}
