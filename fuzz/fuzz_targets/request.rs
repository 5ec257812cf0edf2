//! Fuzzes requests as the server handles them: decoded, checked and, for a command, decided and
//! projected.
//!
//! The first byte selects the request type of the rest: `s` is `SearchOrders`, `w` is `WatchOrders`
//! and `e` is `Subscribe`. Any other byte selects a command of `ExecuteCommands`.

#![no_main]

use std::{
    sync::LazyLock,
    time::{Duration, Instant},
};

use command_side::{
    codec::record::{self, Known},
    codec::request,
    commands::decide::{Decider, Rejection},
    commands::{Action, Command, Origin},
    events::filter::Filter,
};
use contract::{Raw, orders::v1::*};
use domain::{items::Items, order};
use event_log::{Encoder, Loaded};
use execute_commands_request::Command as Sent;
use libfuzzer_sys::fuzz_target;
use prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage, Value};
use query_side::{
    check::{self, Search},
    wait::Wait,
};
use read_model::request::{Bound, Sort, SortField};
use recorded_event::Payload;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;
use wire::{Error, Violations, convert};

/// The time of the requests: 2027-01-15, in nanoseconds since 1970.
const NOW: i64 = 1_800_000_000_000_000_000;

static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| {
    DescriptorPool::decode(contract::FILE_DESCRIPTOR_SET).expect("the contract's own")
});

fuzz_target!(|data: &[u8]| {
    let Some((kind, bytes)) = data.split_first() else {
        return;
    };
    match kind {
        b's' => search(bytes),
        b'w' => watch(bytes),
        b'e' => subscribe(bytes),
        _ => command(bytes),
    }
});

fn command(bytes: &[u8]) {
    const NAME: &str = "ExecuteCommandsRequest";
    let decode = |bytes| {
        let raw = Raw::decode(bytes).expect("takes anything");
        request::decode::<ExecuteCommandsRequest>(&raw, NAME)
    };
    let began = Instant::now();
    let decoded = decode(bytes);
    // Linear in the bytes, with room for a slow machine and for the sanitizer.
    let most = Duration::from_millis(100) + Duration::from_micros(10) * bytes.len() as u32;
    assert!(began.elapsed() < most, "{:?}", began.elapsed());
    let request = match decoded {
        Ok(request) => request,
        Err(error) => return is_told(error),
    };
    assert_eq!(decode(&request.encode_to_vec()), Ok(request.clone()));
    let Some(sent) = request.command else {
        return;
    };
    match Command::new(sent.clone(), &Origin::default(), NOW) {
        Err(error) => is_told(error),
        Ok(command) => {
            assert!(!loses(bytes, NAME), "a field is not known: {command:?}");
            says_the_same_again(sent, &command);
            is_decided(command);
        }
    }
}

/// Returns whether decoding drops a field, according to a second decoder.
fn loses(bytes: &[u8], name: &str) -> bool {
    fn unknown(message: &DynamicMessage) -> bool {
        let inside = |value: &Value| match value {
            Value::Message(inside) => unknown(inside),
            Value::List(list) => list.iter().filter_map(Value::as_message).any(unknown),
            _ => false,
        };
        message.unknown_fields().next().is_some() || message.fields().any(|(_, it)| inside(it))
    }
    let descriptor = POOL.get_message_by_name(&format!("orders.v1.{name}"));
    let message = DynamicMessage::decode(descriptor.expect("a request"), bytes);
    unknown(&message.expect("is decoded already"))
}

/// Rebuilds the request from the command that it led to.
fn request(command: &Command) -> Sent {
    let Command {
        aggregate,
        fresh,
        action,
        request_id,
        occurred_at,
        ..
    } = command.clone();
    let id = aggregate.id;
    let occurred_at = occurred_at.map(convert::timestamp);
    match action {
        Action::Order {
            command,
            expected_version,
        } => match command {
            order::Command::Create { customer_id, items } => {
                Sent::CreateOrder(CreateOrderRequest {
                    request_id,
                    order_id: if fresh { String::new() } else { id },
                    customer_id,
                    items: sent(&items),
                    occurred_at,
                })
            }
            order::Command::Ship {
                shipping_address,
                tracking_number,
            } => Sent::ShipOrder(ShipOrderRequest {
                request_id,
                order_id: id,
                shipping_address,
                tracking_number,
                expected_version,
                occurred_at,
            }),
            order::Command::Deliver => Sent::DeliverOrder(DeliverOrderRequest {
                request_id,
                order_id: id,
                expected_version,
                occurred_at,
            }),
            order::Command::Cancel { reason } => Sent::CancelOrder(CancelOrderRequest {
                request_id,
                order_id: id,
                reason,
                expected_version,
                occurred_at,
            }),
        },
        Action::Register {
            name,
            expected_version,
        } if aggregate.kind == AggregateType::Customer as i32 => {
            Sent::RegisterCustomer(RegisterCustomerRequest {
                request_id,
                customer_id: id,
                name,
                expected_version,
                occurred_at,
            })
        }
        Action::Register {
            name,
            expected_version,
        } => Sent::RegisterProduct(RegisterProductRequest {
            request_id,
            product_id: id,
            name,
            expected_version,
            occurred_at,
        }),
    }
}

fn sent(items: &Items) -> Vec<CreateOrderItem> {
    let currency = items.currency();
    let line = |line: &domain::items::Item| CreateOrderItem {
        product_id: line.product_id.clone(),
        quantity: line.quantity,
        unit_price: Some(convert::money(line.unit_price.get(), currency.code())),
    };
    items.lines().iter().map(line).collect()
}

/// Checks that the command still says what the request said. The fingerprint, which detects a
/// repeated request, must also be equal.
fn says_the_same_again(mut sent: Sent, command: &Command) {
    match &mut sent {
        Sent::RegisterCustomer(RegisterCustomerRequest { name, .. })
        | Sent::RegisterProduct(RegisterProductRequest { name, .. }) => {
            *name = domain::text::composed(name);
        }
        _ => {}
    }
    assert_eq!(request(command), sent);
    let again = Command::new(sent, &Origin::default(), NOW);
    let mut again = again.expect("was accepted before");
    if command.fresh {
        again.aggregate.id.clone_from(&command.aggregate.id);
    }
    assert_eq!(again, *command);
}

/// Decides the command on a history that allows it. Checks that the resulting events can be
/// projected.
fn is_decided(command: Command) {
    let id = command.aggregate.id.clone();
    let mut decider = Decider::new(Loaded::default(), NOW).expect("nothing is loaded");
    let mut version = 0;
    let (Action::Order {
        expected_version, ..
    }
    | Action::Register {
        expected_version, ..
    }) = &command.action;
    if let Action::Order { command, .. } = &command.action {
        let before: &[Sent] = match command {
            order::Command::Create { .. } => &[],
            order::Command::Ship { .. } | order::Command::Cancel { .. } => &[created(&id)],
            order::Command::Deliver => &[created(&id), shipped(&id)],
        };
        for sent in before {
            let before = Command::new(sent.clone(), &Origin::default(), NOW);
            decider
                .decide(before.expect("is right"))
                .expect("is allowed");
            version += 1;
        }
    }
    let expected = expected_version.filter(|wanted| *wanted != version);
    let decided = decider.decide(command.clone());
    if let Some(expected) = expected {
        let actual = version;
        let mismatch = Error::VersionMismatch { expected, actual };
        return assert_eq!(decided, Err(Rejection::Refused(mismatch)));
    }
    let outcome = decided.expect("is allowed");
    assert_eq!((outcome.id, outcome.version.get()), (id, version + 1));

    let mut document = None;
    for (position, event) in (1_u64..).zip(decider.finish().events) {
        let mut encoder = Encoder::with_capacity(1, event.record.len());
        let sent = encoder.push(position.into(), &event.record);
        let recorded = projector::stream::decode(&sent).expect("was written just now");
        assert_eq!(recorded.position, position);
        let known = record::known(recorded.clone()).expect("was written by the rules");
        if let Known::Order(_) = known {
            let projected = read_model::projection::evolve(&mut document, &recorded);
            projected.expect("an event of the rules");
        }
        if let Some(Payload::OrderCreated(created)) = recorded.payload {
            is_exact(document.as_ref().expect("was just made"), &created);
        }
    }
}

/// Checks that the total is the sum of the lines, in 128-bit numbers that cannot overflow.
fn is_exact(document: &Order, created: &OrderCreated) {
    let amount = |money: &Option<_>| {
        let amount = convert::amount(money.as_ref().expect("is always there"));
        i128::from(amount.expect("fits"))
    };
    let sum: i128 = created
        .items
        .iter()
        .map(|item| i128::from(item.quantity) * amount(&item.unit_price))
        .sum();
    let lines: i128 = document
        .items
        .iter()
        .map(|item| amount(&item.line_total))
        .sum();
    assert_eq!(amount(&document.total_amount), sum);
    assert_eq!(lines, sum);
    assert!(sum >= 0);
}

fn created(order_id: &str) -> Sent {
    Sent::CreateOrder(CreateOrderRequest {
        order_id: order_id.to_owned(),
        customer_id: "ann".to_owned(),
        items: vec![CreateOrderItem {
            product_id: "tea".to_owned(),
            quantity: 1,
            unit_price: Some(convert::money(1, "EUR")),
        }],
        ..CreateOrderRequest::default()
    })
}

fn shipped(order_id: &str) -> Sent {
    Sent::ShipOrder(ShipOrderRequest {
        order_id: order_id.to_owned(),
        shipping_address: "1 Harbour Street".to_owned(),
        tracking_number: "T-4711".to_owned(),
        ..ShipOrderRequest::default()
    })
}

fn search(bytes: &[u8]) {
    let Ok(request) = SearchOrdersRequest::decode(bytes) else {
        return;
    };
    let mut violations = Violations::default();
    let wait = Wait::new(request.min_position, request.max_wait, &mut violations);
    let search = check::search(request.clone(), &mut violations);
    if let Err(error) = violations.finish() {
        return is_told(error);
    }
    let Search {
        query,
        filter,
        sort,
        limit,
        facets,
    } = search;
    // The request rebuilt from the checked search must equal the original.
    let understood = SearchOrdersRequest {
        query,
        customer_ids: filter.customer_ids,
        statuses: filter.statuses.into_iter().map(i32::from).collect(),
        product_ids: filter.product_ids,
        created_from: filter.created_from.map(convert::timestamp),
        created_to: filter.created_to.map(convert::timestamp),
        min_total: filter.min_total.map(money),
        max_total: filter.max_total.map(money),
        order_by: sort.map(order_by).unwrap_or_default(),
        page_size: u32::try_from(limit).expect("at most 500"),
        page_token: request.page_token.clone(),
        facets: facets.iter().map(|facet| facet.name().into()).collect(),
        min_position: wait.position,
        max_wait: request.max_wait,
    };
    let page_size = match request.page_size {
        0 => 50,
        size => size,
    };
    assert!(page_size <= 500);
    let meant = SearchOrdersRequest {
        page_size,
        ..request
    };
    assert_eq!(understood, meant);
}

fn order_by(Sort { field, descending }: Sort) -> String {
    let field = match field {
        SortField::CreatedAt => "created_at",
        SortField::UpdatedAt => "updated_at",
        SortField::TotalAmount => "total_amount",
    };
    format!("{field}{}", if descending { " desc" } else { "" })
}

fn watch(bytes: &[u8]) {
    let Ok(request) = WatchOrdersRequest::decode(bytes) else {
        return;
    };
    let mut violations = Violations::default();
    let wait = Wait::new(request.min_position, request.max_wait, &mut violations);
    let filter = check::filter(request.clone(), &mut violations);
    if let Err(error) = violations.finish() {
        return is_told(error);
    }
    let understood = WatchOrdersRequest {
        order_ids: filter.order_ids,
        customer_ids: filter.customer_ids,
        statuses: filter.statuses.into_iter().map(i32::from).collect(),
        product_ids: filter.product_ids,
        created_from: filter.created_from.map(convert::timestamp),
        created_to: filter.created_to.map(convert::timestamp),
        min_total: filter.min_total.map(money),
        max_total: filter.max_total.map(money),
        min_position: wait.position,
        max_wait: request.max_wait,
    };
    assert_eq!(understood, request);
}

fn money(bound: Bound) -> contract::google::r#type::Money {
    convert::money(bound.amount, &bound.currency.unwrap_or_default())
}

fn subscribe(bytes: &[u8]) {
    let Ok(request) = SubscribeRequest::decode(bytes) else {
        return;
    };
    let wanted = request.filter.unwrap_or_default();
    let mut violations = Violations::default();
    let filter = Filter::new(wanted.clone(), &mut violations);
    if let Err(error) = violations.finish() {
        return is_told(error);
    }
    let event = RecordedEvent {
        position: 7,
        aggregate_type: AggregateType::Order.into(),
        aggregate_id: "o-1".to_owned(),
        version: 3,
        customer_id: "ann".to_owned(),
        payload: Some(Payload::OrderDelivered(OrderDelivered {})),
        ..RecordedEvent::default()
    };
    fn any<T: PartialEq<U>, U: ?Sized>(list: &[T], value: &U) -> bool {
        list.is_empty() || list.iter().any(|it| it == value)
    }
    let is_wanted = any(&wanted.aggregate_types, &event.aggregate_type)
        && any(&wanted.aggregate_ids, "o-1")
        && any(&wanted.event_types, "OrderDelivered")
        && any(&wanted.customer_ids, "ann");
    assert_eq!(filter.matches(&event.encode_to_vec()), is_wanted);
}

/// Checks that an error names a field and its rule, in headers of less than 8 KiB that every client
/// accepts.
fn is_told(error: Error) {
    let Error::InvalidFields(violations) = &error else {
        panic!("{error:?}")
    };
    assert!(!violations.is_empty());
    for violation in violations {
        assert!(!violation.field.is_empty() && !violation.rule.is_empty());
    }
    let status = Status::from(error);
    assert_eq!(status.code(), Code::InvalidArgument);
    let details = status.get_error_details();
    let told = details.bad_request().expect("is told");
    assert!(!told.field_violations.is_empty());
    let headers = status.into_http::<()>().headers().clone();
    let size: usize = headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len())
        .sum();
    assert!(size < 8192, "{size}");
}
