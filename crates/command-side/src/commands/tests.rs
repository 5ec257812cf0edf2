//! Tests that [`Command::new`] checks the fields of requests.

use contract::{google::r#type::Money, orders::v1::*};

use wire::convert;

use super::*;

const NOW: i64 = 1_800_000_000_000_000_000;

fn price(units: i64, nanos: i32) -> Option<Money> {
    Some(Money {
        currency_code: "EUR".into(),
        units,
        nanos,
    })
}

fn item(unit_price: Option<Money>) -> CreateOrderItem {
    CreateOrderItem {
        product_id: "tea".into(),
        quantity: 2,
        unit_price,
    }
}

fn create() -> CreateOrderRequest {
    CreateOrderRequest {
        customer_id: "ann".into(),
        items: vec![item(price(1, 250_000_000))],
        ..CreateOrderRequest::default()
    }
}

fn ship() -> ShipOrderRequest {
    ShipOrderRequest {
        order_id: "o-1".into(),
        shipping_address: "1 Main St".into(),
        tracking_number: "T1".into(),
        ..ShipOrderRequest::default()
    }
}

fn check(request: Request) -> Result<Command, wire::Error> {
    Command::new(request, &Origin::default(), NOW)
}

/// Returns the fields that the error names.
fn wrong(request: Request) -> Vec<String> {
    match check(request) {
        Err(wire::Error::InvalidFields(violations)) => violations
            .into_iter()
            .map(|violation| violation.field)
            .collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn order_without_an_id_gets_a_generated_one() {
    let command = check(Request::CreateOrder(create())).unwrap();
    assert!(command.fresh);
    assert_eq!(command.aggregate.id.len(), 36);
    let given = CreateOrderRequest {
        order_id: "o-1".into(),
        ..create()
    };
    let command = check(Request::CreateOrder(given)).unwrap();
    assert!(!command.fresh);
    assert_eq!(command.aggregate.id, "o-1");
}

#[test]
fn every_invalid_field_is_named_at_once() {
    let request = CreateOrderRequest {
        request_id: "r".repeat(65),
        order_id: "o 1".into(),
        customer_id: String::new(),
        items: vec![
            CreateOrderItem {
                product_id: "é".into(),
                quantity: 0,
                unit_price: price(1, 0),
            },
            item(price(-1, 0)),
        ],
        occurred_at: Some(convert::timestamp(NOW + limits::MAX_NANOS_AHEAD + 1)),
    };
    let expected = [
        "request_id",
        "customer_id",
        "items[0].product_id",
        "items[0].quantity",
        "items[1].unit_price",
        "occurred_at",
        "order_id",
    ];
    assert_eq!(wrong(Request::CreateOrder(request)), expected);
}

#[test]
fn invalid_price_hides_no_other_violation() {
    let wrong_in = |unit_price| {
        let items = vec![
            CreateOrderItem {
                quantity: 0,
                ..item(unit_price)
            },
            item(price(-1, 0)),
        ];
        wrong(Request::CreateOrder(CreateOrderRequest {
            items,
            ..create()
        }))
    };
    let rest = ["items[0].quantity", "items[1].unit_price"];
    for (unit_price, field) in [
        (None, "items[0].unit_price"),
        (price(1, 10_000), "items[0].unit_price"),
        (
            Some(Money {
                currency_code: "eur".into(),
                units: 1,
                nanos: 0,
            }),
            "items[0].unit_price.currency_code",
        ),
    ] {
        assert_eq!(wrong_in(unit_price), [&[field], &rest[..]].concat());
    }
}

#[test]
fn each_line_has_a_valid_price_in_one_currency() {
    let of = |items| {
        wrong(Request::CreateOrder(CreateOrderRequest {
            items,
            ..create()
        }))
    };
    assert_eq!(of(vec![]), ["items"]);
    assert_eq!(of(vec![item(None)]), ["items[0].unit_price"]);
    assert_eq!(
        of(vec![item(price(1, 10_000))]),
        ["items[0].unit_price"],
        "5 decimals"
    );
    assert_eq!(
        of(vec![item(price(i64::MAX, 0))]),
        ["items[0].unit_price"],
        "does not fit"
    );
    let most = price(i64::MAX / convert::UNIT, 0);
    assert_eq!(of(vec![item(most)]), ["items"], "the total does not fit");
    let mut euro_and_dollar = vec![item(price(1, 0)), item(price(1, 0))];
    euro_and_dollar[1]
        .unit_price
        .as_mut()
        .unwrap()
        .currency_code = "USD".into();
    assert_eq!(of(euro_and_dollar), ["items[1].unit_price.currency_code"]);
    for code in ["euro", "XXX", "XTS"] {
        let mut no_currency = vec![item(price(1, 0))];
        no_currency[0].unit_price.as_mut().unwrap().currency_code = code.into();
        assert_eq!(
            of(no_currency),
            ["items[0].unit_price.currency_code"],
            "{code}"
        );
    }
}

#[test]
fn texts_have_limits_in_characters_not_bytes() {
    let address = |length| ShipOrderRequest {
        shipping_address: "ü".repeat(length),
        ..ship()
    };
    check(Request::ShipOrder(address(500))).unwrap();
    assert_eq!(
        wrong(Request::ShipOrder(address(501))),
        ["shipping_address"]
    );
    assert_eq!(wrong(Request::ShipOrder(address(0))), ["shipping_address"]);
    let blank = ShipOrderRequest {
        tracking_number: " ".into(),
        ..ship()
    };
    assert_eq!(wrong(Request::ShipOrder(blank)), ["tracking_number"]);
    let nul = ShipOrderRequest {
        tracking_number: "a\0b".into(),
        ..ship()
    };
    assert_eq!(wrong(Request::ShipOrder(nul)), ["tracking_number"]);
}

#[test]
fn names_can_be_seen_and_are_stored_composed() {
    let register = |name: &str| {
        Request::RegisterCustomer(RegisterCustomerRequest {
            customer_id: "ann".into(),
            name: name.into(),
            ..RegisterCustomerRequest::default()
        })
    };
    assert_eq!(wrong(register("\u{200b}\u{2060} ")), ["name"]);
    let name = |request| match check(request).unwrap().action {
        Action::Register { name, .. } => name,
        other => panic!("{other:?}"),
    };
    assert_eq!(name(register("Zoe\u{308}")), name(register("Zo\u{eb}")));
    assert_eq!(name(register("Zo\u{eb}")), "Zo\u{eb}");
}

#[test]
fn occurred_at_is_at_most_5_minutes_ahead_and_not_before_1700() {
    let at = |time| {
        let occurred_at = Some(convert::timestamp(time));
        check(Request::ShipOrder(ShipOrderRequest {
            occurred_at,
            ..ship()
        }))
    };
    assert_eq!(
        at(NOW + limits::MAX_NANOS_AHEAD).unwrap().occurred_at,
        Some(NOW + limits::MAX_NANOS_AHEAD)
    );
    at(NOW + limits::MAX_NANOS_AHEAD + 1).unwrap_err();
    assert_eq!(
        at(limits::EARLIEST_NANOS).unwrap().occurred_at,
        Some(limits::EARLIEST_NANOS)
    );
    at(limits::EARLIEST_NANOS - 1).unwrap_err();
}

#[test]
fn g5_fingerprint_covers_the_content_without_the_request_id() {
    let of = |request| check(request).unwrap().fingerprint;
    let with = |request_id: &str, order_id: &str| {
        Request::DeliverOrder(DeliverOrderRequest {
            request_id: request_id.into(),
            order_id: order_id.into(),
            ..DeliverOrderRequest::default()
        })
    };
    assert_eq!(of(with("r-1", "o-1")), of(with("r-2", "o-1")));
    assert_ne!(of(with("r-1", "o-1")), of(with("r-1", "o-2")));
    let customer = Request::RegisterCustomer(RegisterCustomerRequest {
        request_id: "r-1".into(),
        customer_id: "x".into(),
        name: "X".into(),
        ..Default::default()
    });
    let product = Request::RegisterProduct(RegisterProductRequest {
        request_id: "r-1".into(),
        product_id: "x".into(),
        name: "X".into(),
        ..Default::default()
    });
    assert_ne!(
        of(customer),
        of(product),
        "the same fields in another command"
    );
}
