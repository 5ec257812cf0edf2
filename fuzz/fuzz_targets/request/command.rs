//! Fuzzes a command of `ExecuteCommands`.

use std::{
    sync::LazyLock,
    time::{Duration, Instant},
};

use command_side::{
    codec::record::{self, Known},
    codec::request,
    commands::decide::{Decider, Rejection},
    commands::{Action, Command, Origin},
};
use contract::{Raw, orders::v1::*};
use domain::{items::Items, order};
use event_log::{Encoder, Loaded};
use execute_commands_request::Command as Sent;
use prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage, Value};
use recorded_event::Payload;
use wire::{Error, convert};

use crate::is_told;

/// The time of the requests: 2027-01-15, in nanoseconds since 1970.
const NOW: i64 = 1_800_000_000_000_000_000;

static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| {
    DescriptorPool::decode(contract::FILE_DESCRIPTOR_SET).expect("the contract's own")
});

pub(crate) fn execute(bytes: &[u8]) {
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
    let mut decider = Decider::new(Loaded::default(), NOW);
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
