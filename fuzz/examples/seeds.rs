//! Writes the corpora of the fuzz targets to the current folder: `cd fuzz && cargo run --example
//! seeds`.
//!
//! Each target gets one file per kind of input that it accepts, and one per kind that it rejects.
//! The corpus of import lines is written by hand and stays unchanged.

use std::{collections::BTreeMap, error::Error, fs, path::Path};

use contract::orders::v1::{execute_commands_request::Command as Sent, recorded_event::Payload, *};
use prost::{Message, encoding};
use query_side::token;
use read_model::request::Cursor;
use wire::convert;

/// The separator between the records of an order. The target `stored_event` uses the same bytes.
const BETWEEN: [u8; 2] = [0xff, 0x00];

const STORED: &str = include_str!("../../tests/e2e/stored_events/version_1.txt");

/// The records of one aggregate.
type History = Vec<Vec<u8>>;

fn main() -> Result<(), Box<dyn Error>> {
    for (name, kind, bytes) in requests() {
        write("request", name, [&[kind][..], &bytes].concat())?;
    }
    for (name, bytes) in page_tokens() {
        write("page_token", name, bytes)?;
    }
    for (name, records) in histories()? {
        let version: &[u8] = if name == "of_a_newer_schema" {
            b"\x02"
        } else {
            b"\x01"
        };
        write(
            "stored_event",
            &name,
            [version, &records.join(&BETWEEN[..])].concat(),
        )?;
    }
    Ok(())
}

fn write(target: &str, name: &str, bytes: Vec<u8>) -> Result<(), Box<dyn Error>> {
    let folder = Path::new("corpus").join(target);
    fs::create_dir_all(&folder)?;
    Ok(fs::write(folder.join(name), bytes)?)
}

/// Returns a time on 2026-01-02.
fn time() -> Option<prost_types::Timestamp> {
    Some(convert::timestamp(1_767_323_045_000_000_006))
}

fn item(product_id: &str, quantity: u32, amount: i64) -> CreateOrderItem {
    CreateOrderItem {
        product_id: product_id.to_owned(),
        quantity,
        unit_price: Some(convert::money(amount, "EUR")),
    }
}

fn create() -> CreateOrderRequest {
    CreateOrderRequest {
        request_id: "r-1".to_owned(),
        order_id: "o-1".to_owned(),
        customer_id: "ann".to_owned(),
        items: vec![item("tea", 2, 125_000), item("cup", 1, 1)],
        occurred_at: time(),
    }
}

fn command(sent: Sent) -> Vec<u8> {
    let command = Some(sent);
    ExecuteCommandsRequest { command }.encode_to_vec()
}

fn requests() -> Vec<(&'static str, u8, Vec<u8>)> {
    let mut not_known = command(Sent::CreateOrder(create()));
    encoding::string::encode(99, &"as a gift".to_owned(), &mut not_known);
    let wrong = CreateOrderRequest {
        request_id: "r".repeat(65),
        order_id: "o 1".to_owned(),
        customer_id: String::new(),
        items: vec![item("é", 0, -1), item("tea", 1_000_001, i64::MAX)],
        occurred_at: Some(convert::timestamp(i64::MAX)),
    };
    let most = CreateOrderRequest {
        items: vec![item("tea", 1, i64::MAX - 1), item("cup", 1, 1)],
        ..create()
    };
    let too_much = CreateOrderRequest {
        items: vec![item("tea", 2, i64::MAX)],
        ..create()
    };
    let search = SearchOrdersRequest {
        query: "green tea münster".to_owned(),
        customer_ids: vec!["ann".to_owned()],
        statuses: vec![1, 2],
        product_ids: vec!["tea".to_owned()],
        created_from: time(),
        created_to: time(),
        min_total: Some(convert::money(10_000, "EUR")),
        max_total: Some(convert::money(-1, "")),
        order_by: "total_amount desc".to_owned(),
        page_size: 20,
        facets: vec!["status".to_owned(), "product_id".to_owned()],
        min_position: 7,
        max_wait: Some(prost_types::Duration {
            seconds: 5,
            nanos: 1,
        }),
        ..SearchOrdersRequest::default()
    };
    let search_wrong = SearchOrdersRequest {
        statuses: vec![0, -1],
        order_by: "name".to_owned(),
        page_size: 501,
        facets: vec!["status".to_owned(), "status".to_owned()],
        max_wait: Some(prost_types::Duration {
            seconds: i64::MIN,
            nanos: -1,
        }),
        ..search.clone()
    };
    let watch = WatchOrdersRequest {
        order_ids: vec!["o-1".to_owned()],
        customer_ids: vec!["ann".to_owned()],
        statuses: vec![3],
        min_total: Some(convert::money(10_000, "EUR")),
        created_to: time(),
        ..WatchOrdersRequest::default()
    };
    let subscribe = SubscribeRequest {
        after_position: 7,
        filter: Some(EventFilter {
            aggregate_types: vec![1, 2],
            aggregate_ids: vec!["o-1".to_owned()],
            event_types: vec!["OrderCreated".to_owned(), "OrderDelivered".to_owned()],
            customer_ids: vec!["ann".to_owned()],
        }),
        follow: true,
        ..SubscribeRequest::default()
    };
    let ship = ShipOrderRequest {
        request_id: "r-2".to_owned(),
        order_id: "o-1".to_owned(),
        shipping_address: "1 Harbour Street, Münster".to_owned(),
        tracking_number: "T-4711".to_owned(),
        expected_version: Some(1),
        occurred_at: time(),
    };
    let deliver = DeliverOrderRequest {
        order_id: "o-1".to_owned(),
        expected_version: Some(3),
        ..DeliverOrderRequest::default()
    };
    let cancel = CancelOrderRequest {
        order_id: "o-1".to_owned(),
        reason: "changed my mind".to_owned(),
        ..CancelOrderRequest::default()
    };
    let customer = RegisterCustomerRequest {
        customer_id: "ann".to_owned(),
        name: "Ann Müller".to_owned(),
        ..RegisterCustomerRequest::default()
    };
    let product = RegisterProductRequest {
        request_id: "r-3".to_owned(),
        product_id: "tea".to_owned(),
        name: "Green Tea".to_owned(),
        expected_version: Some(0),
        occurred_at: time(),
    };
    let unnamed = CreateOrderRequest {
        order_id: String::new(),
        ..create()
    };
    vec![
        ("create", b'c', command(Sent::CreateOrder(create()))),
        (
            "create_without_an_id",
            b'c',
            command(Sent::CreateOrder(unnamed)),
        ),
        (
            "create_for_the_largest_total",
            b'c',
            command(Sent::CreateOrder(most)),
        ),
        (
            "create_for_more_than_that",
            b'c',
            command(Sent::CreateOrder(too_much)),
        ),
        ("create_wrong", b'c', command(Sent::CreateOrder(wrong))),
        ("create_with_what_is_not_known", b'c', not_known),
        ("ship", b'c', command(Sent::ShipOrder(ship))),
        (
            "deliver_at_another_version",
            b'c',
            command(Sent::DeliverOrder(deliver)),
        ),
        ("cancel", b'c', command(Sent::CancelOrder(cancel))),
        (
            "register_customer",
            b'c',
            command(Sent::RegisterCustomer(customer)),
        ),
        (
            "register_product",
            b'c',
            command(Sent::RegisterProduct(product)),
        ),
        ("search", b's', search.encode_to_vec()),
        ("search_wrong", b's', search_wrong.encode_to_vec()),
        ("watch", b'w', watch.encode_to_vec()),
        ("subscribe", b'e', subscribe.encode_to_vec()),
    ]
}

fn page_tokens() -> Vec<(&'static str, Vec<u8>)> {
    let request = SearchOrdersRequest {
        query: "tea".to_owned(),
        customer_ids: vec!["ann".to_owned()],
        page_size: 20,
        ..SearchOrdersRequest::default()
    };
    let fingerprint = token::fingerprint("log", None, &request);
    let of = |fingerprint, key, row| token::write(fingerprint, Cursor { key, row });
    let with = |token: &str| [token.as_bytes(), b"\n", &request.encode_to_vec()].concat();
    let right = of(fingerprint, 1_767_323_045_000_000_006, 7);
    vec![
        ("right", with(&right)),
        ("of_the_smallest_key", with(&of(fingerprint, i64::MIN, 1))),
        ("of_the_largest_row", with(&of(fingerprint, -1, u64::MAX))),
        ("of_another_request", with(&of(!fingerprint, 125_000, 7))),
        ("of_no_request", of(0, 0, 0).into_bytes()),
        ("none", with("")),
        ("too_short", with(&right[1..])),
        ("too_long", with(&format!("{right}0"))),
        ("with_a_sign", with(&right.replacen(&right[16..17], "+", 1))),
        ("not_ascii", with(&format!("{}é", &right[..46]))),
    ]
}

/// Returns the histories of all aggregates in the oldest stored log, and variants that the log does
/// not contain.
fn histories() -> Result<BTreeMap<String, History>, Box<dyn Error>> {
    let mut histories: BTreeMap<String, History> = BTreeMap::new();
    for line in STORED.lines() {
        let fields: Vec<_> = line.split(' ').collect();
        let [kind, id, _, _, _, hex] = fields[..] else {
            return Err(line.into());
        };
        let bytes = (0..hex.len()).step_by(2);
        let bytes = bytes.map(|at| u8::from_str_radix(&hex[at..at + 2], 16));
        let name = format!("version_1_{kind}_{id}");
        let record = bytes.collect::<Result<_, _>>()?;
        histories.entry(name).or_default().push(record);
    }
    let created = histories["version_1_1_c"][0].clone();
    let event = RecordedEvent::decode(&*created)?;
    let changed = |change: fn(&mut OrderCreated)| {
        let mut event = event.clone();
        if let Some(Payload::OrderCreated(created)) = &mut event.payload {
            change(created);
        }
        vec![event.encode_to_vec()]
    };
    let mut added = created.clone();
    encoding::string::encode(99, &"as a gift".to_owned(), &mut added);
    let mut returned = RecordedEvent {
        version: 2,
        payload: None,
        ..event.clone()
    }
    .encode_to_vec();
    encoding::bytes::encode(40, &Vec::new(), &mut returned);
    let more: [(&str, History); 8] = [
        ("with_a_field_that_is_not_known", vec![added]),
        (
            "with_an_event_that_is_not_known",
            vec![created.clone(), returned],
        ),
        ("cut_off", vec![created[..created.len() - 1].to_vec()]),
        ("of_a_newer_schema", vec![created]),
        ("without_items", changed(|created| created.items.clear())),
        (
            "with_a_line_that_does_not_fit",
            changed(|created| {
                created.items[0].quantity = 3;
                created.items[0].unit_price = Some(convert::money(i64::MAX, "EUR"));
            }),
        ),
        (
            "with_another_total",
            changed(|created| created.total_amount = Some(convert::money(1, "EUR"))),
        ),
        (
            "without_a_total",
            changed(|created| created.total_amount = None),
        ),
    ];
    histories.extend(more.map(|(name, records)| (name.to_owned(), records)));
    Ok(histories)
}
