//! Calls every method with a tool that knows the contract only by reflection.

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Command, Stdio},
};

use prost_reflect::DescriptorPool;

use crate::binary::start;

/// The methods of the contract in call order, each with its request and a part of its answer.
const CALLS: [(&str, &str, &str); 24] = [
    (
        "grpc.health.v1.Health/Check",
        r#"{"service": "orders.v1.CommandService"}"#,
        r#""status": "SERVING""#,
    ),
    (
        "orders.v1.CommandService/RegisterCustomer",
        r#"{"customer_id": "ann", "name": "Ann Müller"}"#,
        r#""position": "1""#,
    ),
    (
        "orders.v1.CommandService/RegisterProduct",
        r#"{"productId": "tea", "name": "Green Tea"}"#,
        r#""position": "2""#,
    ),
    (
        "orders.v1.CommandService/CreateOrder",
        r#"{"order_id": "a", "customer_id": "ann", "items": [{"product_id": "tea", "quantity": 2,
            "unit_price": {"currency_code": "EUR", "units": 12, "nanos": 500000000}}]}"#,
        r#""orderId": "a""#,
    ),
    (
        "orders.v1.CommandService/ShipOrder",
        r#"{"orderId": "a", "shippingAddress": "1 Harbour Street", "trackingNumber": "T-1",
            "expectedVersion": "1"}"#,
        r#""version": "2""#,
    ),
    (
        "orders.v1.CommandService/DeliverOrder",
        r#"{"order_id": "a"}"#,
        r#""version": "3""#,
    ),
    (
        "orders.v1.CommandService/ExecuteCommands",
        r#"{"createOrder": {"orderId": "b", "customerId": "ann", "items": [{"productId": "tea",
            "quantity": 1, "unitPrice": {"currencyCode": "EUR", "units": "3"}}]}}
           {"shipOrder": {"orderId": "nobody"}}"#,
        "shipping_address must not be empty",
    ),
    (
        "orders.v1.CommandService/CancelOrder",
        r#"{"order_id": "b", "reason": "changed my mind"}"#,
        r#""position": "7""#,
    ),
    ("orders.v1.EventService/GetHead", "{}", r#""position": "7""#),
    (
        "orders.v1.EventService/GetOrderHistory",
        r#"{"order_id": "a"}"#,
        r#""orderDelivered": {}"#,
    ),
    (
        "orders.v1.EventService/Subscribe",
        r#"{"after_position": 5, "filter": {"aggregate_types": ["AGGREGATE_TYPE_ORDER"]}}"#,
        r#""orderCancelled""#,
    ),
    (
        "orders.v1.EventService/VerifyLog",
        "{}",
        r#""totalPosition": "7""#,
    ),
    (
        "orders.v1.QueryService/GetOrder",
        r#"{"order_id": "b", "min_position": 7, "max_wait": "30s"}"#,
        r#""cancellationReason": "changed my mind""#,
    ),
    (
        "orders.v1.QueryService/SearchOrders",
        r#"{"query": "muller", "min_position": 7, "max_wait": "30s", "statuses":
            ["ORDER_STATUS_DELIVERED"], "facets": ["status"]}"#,
        r#""trackingNumber": "T-1""#,
    ),
    (
        "orders.v1.QueryService/GetCustomerStatistics",
        r#"{"customer_id": "ann"}"#,
        r#""totalOrders": "2""#,
    ),
    (
        "orders.v1.QueryService/GetStatistics",
        r#"{"by_day": true}"#,
        r#""days""#,
    ),
    (
        "orders.v1.QueryService/WatchOrders",
        r#"{"order_ids": ["a"]}"#,
        r#""ORDER_STATUS_DELIVERED""#,
    ),
    (
        "orders.v1.ProjectionService/GetStatus",
        "{}",
        r#""PROJECTION_STATE_LIVE""#,
    ),
    (
        "orders.v1.ProjectionService/Rebuild",
        r#"{"projections": ["documents"]}"#,
        r#""REBUILD_STAGE_DONE""#,
    ),
    (
        "orders.v1.ProjectionService/Verify",
        "{}",
        r#""finished": true"#,
    ),
    ("orders.v1.ProjectionService/ListParked", "{}", "{}"),
    ("orders.v1.ProjectionService/RetryParked", "{}", "{}"),
    // Such a tool also shows error details.
    (
        "orders.v1.QueryService/GetOrder",
        r#"{"order_id": "nobody"}"#,
        "google.rpc.ResourceInfo",
    ),
    (
        "orders.v1.CommandService/CreateOrder",
        "{}",
        "customer_id must match",
    ),
];

/// Calls a method and returns the output. A stream that follows the log is stopped when it has
/// caught up.
fn call(buf: &Path, url: &str, method: &str, sent: &str) -> String {
    let mut process = Command::new(buf)
        .args(["curl", "--protocol", "grpc", "--http2-prior-knowledge"])
        .args(["--data", sent, &format!("{url}/{method}")])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = String::new();
    for line in BufReader::new(process.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        output.push_str(&line);
        output.push('\n');
        if line.contains(r#""caughtUp": true"#) {
            process.kill().unwrap();
        }
    }
    let ended = process.wait_with_output().unwrap();
    output + &String::from_utf8(ended.stderr).unwrap()
}

#[test]
#[ignore = "needs buf"]
fn every_method_can_be_called_by_reflection_alone() {
    let buf = test_support::buf();
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path());
    for (method, sent, expected) in CALLS {
        let answer = call(&buf, server.url(), method, sent);
        assert!(answer.contains(expected), "{method} {sent}: {answer}");
    }
    let pool = DescriptorPool::decode(contract::FILE_DESCRIPTOR_SET).unwrap();
    for method in pool
        .services()
        .flat_map(|service| service.methods().collect::<Vec<_>>())
    {
        let name = format!("{}/{}", method.parent_service().full_name(), method.name());
        assert!(CALLS.iter().any(|(called, ..)| *called == name), "{name}");
    }
}
