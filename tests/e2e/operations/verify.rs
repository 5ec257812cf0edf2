//! Tests of verify on corrupted and on busy systems.

use std::{cell::Cell, fs};

use contract::orders::v1::OrderStatus;
use e2e::Server;
use sqlx::{Connection as _, PgConnection};
use test_support::{order, postgres, request, sqlite};

use super::{fill, while_writing};

/// A corruption of one file by SQL, and a part of each difference that `verify` reports for it.
type Corruption = (&'static str, &'static str, &'static [&'static str]);

/// The corruptions of a system that [`fill`] filled with six orders.
const CORRUPTIONS: [Corruption; 9] = [
    (
        "read.db",
        "UPDATE customers SET name = 'Bob' WHERE customer_id = 'c-0'",
        &[
            "customer c-0 is called Bob since event 11, instead of Ann since event 11",
            "order o-0 is another one in the search index",
            "order o-3 is another one in the search index",
        ],
    ),
    (
        "read.db",
        "UPDATE statistics SET orders = orders + 1 WHERE scope = 0 AND status = 1",
        &[
            "statistics of all orders count 4 orders of 75.00 EUR with status CREATED, instead of 3 \
             of 75.00",
        ],
    ),
    (
        "read.db",
        "DELETE FROM orders WHERE order_id = 'o-5'",
        &[
            "order o-5 is missing",
            "the order of event 10 is in the search index, and is no order",
        ],
    ),
    (
        "events.db",
        "UPDATE events SET version = 5 WHERE aggregate_id = 'o-2' AND version = 2",
        &[
            "event 6 is version 5 of o-2, of which there is no version 4",
            "event 6 says that it is version 2 of o-2, and is stored as version 5 of o-2",
        ],
    ),
    (
        "events.db",
        "UPDATE events SET record = X'FFFF' WHERE aggregate_id = 'o-4' AND version = 2",
        &["event 9 cannot be read"],
    ),
    (
        "events.db",
        "UPDATE events SET record = CAST(record || X'0863' AS BLOB) WHERE aggregate_id = 'o-5'",
        &["event 10 says that it is event 99"],
    ),
    (
        "events.db",
        "DELETE FROM events WHERE position IN (2, 3)",
        &[
            "event 2 is missing",
            "event 3 is missing",
            "was answered with version 1 of o-0 at position 2, which is not there",
        ],
    ),
    (
        "events.db",
        "UPDATE requests SET position = 99 WHERE aggregate_id = 'o-1'",
        &[
            "led to event 4, and was answered with 99",
            "was answered with version 1 of o-1 at position 99, which is not there",
        ],
    ),
    (
        "events.db",
        "DELETE FROM requests WHERE aggregate_id = 'o-3'",
        &["led to event 7, and is not recorded"],
    ),
];

#[tokio::test]
async fn g10_each_corruption_is_named() {
    let mut server = Server::start().await;
    let mut clients = server.clients().await;
    let position = fill(&mut clients, 6).await;
    clients.search("tea", position).await.unwrap();
    clients.assert_verified(&[]).await;
    let backup = tempfile::tempdir().unwrap();
    for (name, sql, differences) in CORRUPTIONS {
        let (file, intact) = (server.folder().join(name), backup.path().join(name));
        server.stop().await;
        fs::copy(&file, &intact).unwrap();
        if name == "events.db" {
            sqlite::unlock(&file).await;
        }
        sqlite::run(&file, sql).await;
        server.start_again().await;
        let parts: &[&str] = match name {
            "events.db" => &["log"],
            _ => &["documents", "search"],
        };
        let found = server.clients().await.verify(parts).await.unwrap();
        assert_eq!(found.len(), differences.len(), "{sql}: {found:?}");
        for difference in differences {
            let is_named = found.iter().any(|it| it.contains(difference));
            assert!(is_named, "{sql}: {difference}: {found:?}");
        }
        server.stop().await;
        fs::copy(&intact, &file).unwrap();
    }
    server.start_again().await;
    server.clients().await.assert_verified(&[]).await;
}

#[tokio::test]
async fn g10_a_corrupted_document_is_named_with_its_fields() {
    let server = Server::start().await;
    let mut clients = server.clients().await;
    let position = fill(&mut clients, 6).await;
    clients.search("tea", position).await.unwrap();
    let file = server.folder().join("read.db");
    sqlite::edit_order(&file, "o-0", |order| order.set_status(OrderStatus::Created)).await;
    sqlite::edit_order(&file, "o-1", |order| {
        order.total_amount = order::euros(10_000)
    })
    .await;
    sqlite::edit_order(&file, "o-2", |order| order.items[0].quantity = 3).await;
    let mut found = clients.verify(&["documents"]).await.unwrap();
    found.sort();
    assert_eq!(
        found,
        [
            "order o-0 is wrong in status",
            "order o-1 is wrong in total_amount",
            "order o-2 is wrong in items",
        ]
    );
    let found = clients.verify(&["search"]).await.unwrap();
    for order in ["o-0", "o-1", "o-2"] {
        let difference = format!("order {order} is another one in the search index");
        assert!(found.contains(&difference), "{found:?}");
    }
}

#[tokio::test]
async fn g10_a_document_that_cannot_be_decoded_is_named_and_what_it_hides() {
    let server = Server::start().await;
    let mut clients = server.clients().await;
    let position = fill(&mut clients, 6).await;
    clients.search("tea", position).await.unwrap();
    let file = server.folder().join("read.db");
    let damage = "UPDATE orders SET body = X'FFFF' WHERE order_id = 'o-1'";
    sqlite::run(&file, damage).await;
    let found = clients.verify(&["documents", "search"]).await.unwrap();
    assert_eq!(found.len(), 2, "{found:?}");
    assert_eq!(found[0], "order o-1 cannot be decoded");
    let hidden =
        "the search index cannot be compared any further: the document in row 4 is damaged";
    assert!(found[1].starts_with(hidden), "{found:?}");
    clients.rebuild(request::rebuild(&[])).await.unwrap();
    clients.assert_verified(&[]).await;
}

#[tokio::test]
async fn g10_a_rebuild_repairs_corrupted_documents() {
    let server = Server::start().await;
    let mut clients = server.clients().await;
    let position = fill(&mut clients, 6).await;
    clients.search("tea", position).await.unwrap();
    for (name, sql, _) in CORRUPTIONS {
        if name == "read.db" {
            sqlite::run(&server.folder().join(name), sql).await;
        }
    }
    assert_ne!(clients.verify(&[]).await.unwrap(), [""; 0]);
    clients.rebuild(request::rebuild(&[])).await.unwrap();
    clients.assert_verified(&[]).await;
}

#[tokio::test]
#[ignore = "needs Postgres"]
async fn g10_corruptions_of_a_log_in_postgres_are_named() {
    let database = postgres::database().await;
    let server = Server::start_on(&database).await;
    let mut clients = server.clients().await;
    let position = fill(&mut clients, 6).await;
    clients.search("tea", position).await.unwrap();
    clients.assert_verified(&[]).await;
    let mut other = PgConnection::connect(&database).await.unwrap();
    let corrupt =
        "ALTER TABLE events DISABLE TRIGGER USER; ALTER TABLE requests DISABLE TRIGGER USER;
        DELETE FROM requests WHERE position = 4;
        UPDATE events SET record = 'no event' WHERE position = 9";
    sqlx::raw_sql(corrupt).execute(&mut other).await.unwrap();
    let found = clients.verify(&["log"]).await.unwrap();
    assert_eq!(found.len(), 2, "{found:?}");
    for difference in [
        "led to event 4, and is not recorded",
        "event 9 cannot be read",
    ] {
        let is_named = found.iter().any(|it| it.contains(difference));
        assert!(is_named, "{difference}: {found:?}");
    }
}

#[tokio::test]
async fn g10_a_busy_system_has_no_differences() {
    let server = Server::start().await;
    let mut clients = server.clients().await;
    fill(&mut clients, 50).await;
    let mut writing = clients.clone();
    let rounds = Cell::new(0);
    let write = async |count| {
        let id = format!("w-{count}");
        writing
            .create_order(order::create(&id, "c-0"))
            .await
            .unwrap();
        writing.ship_order(order::ship(&id)).await.unwrap();
        let name = order::customer("c-0", &format!("Ann {count}"));
        let renamed = writing.register_customer(name).await.unwrap();
        // A new name changes every order of the customer, and their number grows. Without this
        // search, the writer would outrun the index, which could then never be verified.
        let name = format!("ann {count}");
        writing.search(&name, renamed.position).await.unwrap();
        rounds.set(count + 1);
    };
    let verified = async {
        let mut verified = 0;
        while verified < 3 || rounds.get() < 3 {
            clients.assert_verified(&[]).await;
            verified += 1;
        }
    };
    while_writing(write, verified).await;
}
