//! Tests of `orderlog import` against a server.

use std::fs;

use e2e::Process;
use serde_json::Value;

use crate::binary::{failed, repository, start};

const COMMANDS: &str = r#"{"registerCustomer": {"customerId": "ann", "name": "Ann Lee"}}
{"createOrder": {"orderId": "o-1", "customerId": "ann", "items": [{"productId": "tea", "quantity": 2, "unitPrice": {"currencyCode": "EUR", "units": "12", "nanos": 500000000}}]}}

{"shipOrder": {"orderId": "o-9", "shippingAddress": "1 Harbour Street", "trackingNumber": "T-1"}}
this is no command
{"shipOrder": {"orderId": "o-1", "shippingAddress": "1 Harbour Street", "trackingNumber": "T-1"}}
"#;

#[test]
fn refused_lines_are_reported_by_number_and_the_others_are_imported() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("commands.jsonl");
    fs::write(&file, COMMANDS).unwrap();
    let server = start(&folder.path().join("data"));
    for round in 0..2 {
        let error = failed(&server.run(["import".as_ref(), file.as_os_str()]), 1);
        let mut refused: Vec<_> = error
            .lines()
            .filter(|line| line.starts_with("line "))
            .collect();
        refused.sort_unstable();
        let [fourth, fifth] = refused[..] else {
            panic!("{error}")
        };
        assert!(fourth.starts_with("line 4:"), "{error}");
        assert!(fourth.contains("ORDER_NOT_FOUND"), "{error}");
        assert!(fifth.starts_with("line 5:"), "{error}");
        let status: Value = serde_json::from_str(&server.ask(["status", "--json"])).unwrap();
        let head = &status["projections"][0]["headPosition"];
        assert_eq!(*head, "3", "round {round}");
    }
    let card = server.ask(["order", "get", "o-1"]);
    assert!(card.contains("Ann Lee"), "{card}");
}

/// Returns a figure from the table in `examples/northwind/README.md`, without separators.
fn northwind_figure(name: &str) -> String {
    let readme = include_str!("../../../../examples/northwind/README.md");
    let prefix = format!("| {name} | ");
    let value = readme
        .lines()
        .find_map(|line| line.strip_prefix(&prefix)?.strip_suffix(" |"));
    value
        .unwrap_or_else(|| panic!("the README has no figure {name:?}"))
        .replace(',', "")
}

/// Formats a money amount in protobuf JSON as the README does: `12.50 USD`.
fn amount(money: &Value) -> String {
    let units = money["units"].as_str().unwrap();
    let cents = money["nanos"].as_u64().unwrap_or(0) / 10_000_000;
    format!(
        "{units}.{cents:02} {}",
        money["currencyCode"].as_str().unwrap()
    )
}

/// Checks the answers of a server with the imported data set.
fn assert_matches_readme(server: &Process) {
    let json = |arguments: &[&str]| -> Value {
        let printed = server.ask(arguments.iter().chain(&["--json"]));
        serde_json::from_str(&printed).unwrap()
    };
    let all = json(&["statistics"]);
    // Each command appends one event, so a command that took effect twice would change this
    // position.
    assert_eq!(all["asOfPosition"], northwind_figure("commands accepted"));
    assert_eq!(all["totalOrders"], northwind_figure("orders"));
    assert_eq!(
        amount(&all["amounts"][0]["totalAmount"]),
        northwind_figure("total amount")
    );
    for status in ["CREATED", "SHIPPED"] {
        let by_status = all["ordersByStatus"].as_array().unwrap();
        let found = by_status
            .iter()
            .find(|count| count["status"] == format!("ORDER_STATUS_{status}"));
        let expected = northwind_figure(&format!("orders {status}"));
        assert_eq!(found.unwrap()["count"], expected);
    }
    for customer in ["SAVEA", "PARIS"] {
        let statistics = json(&["customer", "statistics", customer]);
        let expected = northwind_figure(&format!("orders of customer {customer}"));
        assert_eq!(statistics["totalOrders"], expected);
    }
    let savea = json(&["customer", "statistics", "SAVEA"]);
    assert_eq!(
        amount(&savea["amounts"][0]["totalAmount"]),
        northwind_figure("total amount of customer SAVEA")
    );
    let found = json(&["order", "search", "toms spezialitaten"]);
    assert_eq!(found["orders"][0]["customerName"], "Toms Spezialitäten");
    let found = json(&["order", "search", "munster"]);
    let first = found["orders"][0].to_string();
    assert!(first.contains("Münster"), "{found}");
}

#[test]
fn g5_northwind_imported_twice_matches_its_readme() {
    let file = repository().join("examples/northwind/commands.jsonl");
    let commands = fs::read_to_string(&file).unwrap();
    for (command, name) in [
        ("registerCustomer", "customers"),
        ("registerProduct", "products"),
    ] {
        let count = commands.matches(&format!("{{\"{command}\": ")).count();
        assert_eq!(count.to_string(), northwind_figure(name));
    }
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path());
    for _ in 0..2 {
        let output = server.run(["import".as_ref(), file.as_os_str()]);
        assert!(output.status.success(), "{output:?}");
        let printed = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        let summary = format!(
            "{} accepted, {} refused",
            northwind_figure("commands accepted"),
            northwind_figure("commands refused")
        );
        assert!(printed.contains(&summary), "{summary} in {printed}");
        assert_matches_readme(&server);
    }
}
