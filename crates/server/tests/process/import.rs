//! Tests of `orderlog import` against a server.

use std::{fs, path::Path};

use crate::binary::start;

const COMMANDS: &str = r#"{"registerCustomer": {"customerId": "ann", "name": "Ann Lee"}}
{"createOrder": {"orderId": "o-1", "customerId": "ann", "items": [{"productId": "tea", "quantity": 2, "unitPrice": {"currencyCode": "EUR", "units": "12", "nanos": 500000000}}]}}

{"shipOrder": {"orderId": "o-9", "shippingAddress": "1 Harbour Street", "trackingNumber": "T-1"}}
this is no command
{"shipOrder": {"orderId": "o-1", "shippingAddress": "1 Harbour Street", "trackingNumber": "T-1"}}
"#;

#[test]
fn what_is_refused_is_told_by_line_and_the_rest_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("commands.jsonl");
    fs::write(&file, COMMANDS).unwrap();
    let server = start(&folder.path().join("data"));
    for round in 0..2 {
        let output = server.run(["import".as_ref(), file.as_os_str()]);
        assert_eq!(output.status.code(), Some(1));
        let told = String::from_utf8(output.stderr).unwrap();
        let refused: Vec<_> = told
            .lines()
            .filter(|line| line.starts_with("line "))
            .collect();
        assert_eq!(refused.len(), 2, "{told}");
        let of = |number: &str| {
            refused
                .iter()
                .find(|line| line.starts_with(number))
                .unwrap()
        };
        assert!(of("line 4:").contains("ORDER_NOT_FOUND"), "{told}");
        assert!(!of("line 5:").is_empty());
        let head = server.ask(["status", "--json"]);
        assert!(
            head.contains(r#""headPosition": "3""#) || head.contains(r#""headPosition":"3""#),
            "round {round}: {head}"
        );
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
fn amount(money: &serde_json::Value) -> String {
    let units = money["units"].as_str().unwrap();
    let cents = money["nanos"].as_u64().unwrap_or(0) / 10_000_000;
    format!(
        "{units}.{cents:02} {}",
        money["currencyCode"].as_str().unwrap()
    )
}

#[test]
fn g5_northwind_imported_twice_matches_its_readme() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let file = root.join("examples/northwind/commands.jsonl");
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
        let told = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        let summary = format!(
            "{} accepted, {} refused",
            northwind_figure("commands accepted"),
            northwind_figure("commands refused")
        );
        assert!(told.contains(&summary), "{summary} in {told}");
        let json = |arguments: &[&str]| -> serde_json::Value {
            let told = server.ask(arguments.iter().chain(&["--json"]));
            serde_json::from_str(&told).unwrap()
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
                .find(|count| count["status"] == format!("ORDER_STATUS_{status}"))
                .unwrap();
            assert_eq!(
                found["count"],
                northwind_figure(&format!("orders {status}"))
            );
        }
        let savea = json(&["customer", "statistics", "SAVEA"]);
        assert_eq!(
            savea["totalOrders"],
            northwind_figure("orders of customer SAVEA")
        );
        assert_eq!(
            amount(&savea["amounts"][0]["totalAmount"]),
            northwind_figure("total amount of customer SAVEA")
        );
        let paris = json(&["customer", "statistics", "PARIS"]);
        assert_eq!(
            paris["totalOrders"],
            northwind_figure("orders of customer PARIS")
        );
        let found = json(&["order", "search", "toms spezialitaten"]);
        assert_eq!(found["orders"][0]["customerName"], "Toms Spezialitäten");
        let found = json(&["order", "search", "munster"]);
        assert!(
            found["orders"][0].to_string().contains("Münster"),
            "{found}"
        );
    }
}
