//! `orderlog import`, against a server.

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

/// The public Northwind sample, where it lies beside the project: what its own README says must
/// come out.
#[test]
fn northwind_comes_out_as_its_readme_says() {
    let file =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/northwind/commands.jsonl");
    if !file.exists() {
        eprintln!("skipped: there is no {}", file.display());
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path());
    for _ in 0..2 {
        let output = server.run(["import".as_ref(), file.as_os_str()]);
        assert!(output.status.success(), "{output:?}");
        let told = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(told.contains("1807 accepted"), "{told}");
        let json = |arguments: &[&str]| -> serde_json::Value {
            let told = server.ask(arguments.iter().chain(&["--json"]));
            serde_json::from_str(&told).unwrap()
        };
        let all = json(&["statistics"]);
        assert_eq!(all["totalOrders"], "830");
        assert_eq!(all["amounts"][0]["totalAmount"]["units"], "1354458");
        assert_eq!(all["amounts"][0]["totalAmount"]["nanos"], 590_000_000);
        let created = &all["ordersByStatus"][0];
        assert_eq!(
            (&created["status"], &created["count"]),
            (&"ORDER_STATUS_CREATED".into(), &"21".into())
        );
        let shipped = &all["ordersByStatus"][1];
        assert_eq!(
            (&shipped["status"], &shipped["count"]),
            (&"ORDER_STATUS_SHIPPED".into(), &"809".into())
        );
        let savea = json(&["customer", "statistics", "SAVEA"]);
        assert_eq!(savea["totalOrders"], "31");
        assert_eq!(savea["amounts"][0]["totalAmount"]["units"], "115673");
        assert_eq!(savea["amounts"][0]["totalAmount"]["nanos"], 390_000_000);
        assert_eq!(
            json(&["customer", "statistics", "PARIS"])["totalOrders"],
            "0"
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
