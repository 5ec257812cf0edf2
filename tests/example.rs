//! The subscriber of `examples/`, while the network breaks.

#![cfg(test)]

#[path = "../examples/subscriber/follow.rs"]
mod follow;
#[path = "../examples/subscriber/warehouse.rs"]
mod warehouse;

use std::time::Duration;

use contract::orders::v1::SubscribeResponse;
use follow::{Error, SILENCE, follow};
use testkit::{Clients, DEADLINE, Proxy, Server, eventually, order, reason};
use tokio::time::timeout;
use tonic::transport::Endpoint;
use warehouse::Warehouse;

/// Creates orders, and ships every other one; while that goes on, does something to the network.
async fn write(clients: &mut Clients, ids: std::ops::Range<u64>, between: impl Fn(u64)) {
    for id in ids {
        let name = format!("o-{id}");
        let created = clients.commands.create_order(order::create(&name, "ann"));
        created.await.unwrap();
        if id % 2 == 0 {
            clients
                .commands
                .ship_order(order::ship(&name))
                .await
                .unwrap();
        }
        between(id);
    }
}

async fn reached(file: &std::path::Path, position: u64) {
    eventually(format!("position {position}"), async || {
        let mut looked_at = Warehouse::open(file).await.unwrap();
        (looked_at.position().await.unwrap().1 == position).then_some(())
    })
    .await;
}

#[tokio::test]
async fn g6_a_warehouse_loses_and_repeats_nothing_while_the_network_breaks() {
    let server = Server::start().await;
    let address = server.url().replace("http://", "");
    let network = Proxy::to(&address).await;
    let through = Endpoint::from_shared(format!("http://{}", network.address())).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("warehouse.db");
    let mut clients = server.clients().await;

    let mut warehouse = Warehouse::open(&file).await.unwrap();
    let writes = async {
        write(&mut clients, 0..50, |id| match id % 10 {
            3 => network.cut(),
            5 => network.mend(),
            _ => {}
        })
        .await;
        reached(&file, 75).await;
        // Silent, without an end.
        network.darken();
        write(&mut clients, 50..60, |_| ()).await;
        network.mend();
        reached(&file, 90).await;
    };
    tokio::select! {
        () = writes => {}
        ended = follow(&through, &mut warehouse, Duration::from_millis(300)) => panic!("{ended:?}"),
    }
    // Another one on the same file.
    let mut warehouse = Warehouse::open(&file).await.unwrap();
    let writes = async {
        write(&mut clients, 60..70, |_| ()).await;
        reached(&file, 105).await;
    };
    tokio::select! {
        () = writes => {}
        ended = follow(&through, &mut warehouse, SILENCE) => panic!("{ended:?}"),
    }
    let url = format!("sqlite:{}", file.display());
    let pool = sqlx::SqlitePool::connect(&url).await.unwrap();
    let to_pack: Vec<String> = sqlx::query_scalar("SELECT order_id FROM to_pack ORDER BY rowid")
        .fetch_all(&pool)
        .await
        .unwrap();
    let expected: Vec<_> = (0..70)
        .filter(|id| id % 2 == 1)
        .map(|id| format!("o-{id}"))
        .collect();
    assert_eq!(to_pack, expected);
}

#[tokio::test]
async fn another_log_ends_it() {
    let server = Server::start().await;
    let folder = tempfile::tempdir().unwrap();
    let mut warehouse = Warehouse::open(folder.path().join("warehouse.db"))
        .await
        .unwrap();
    let another = SubscribeResponse {
        log_id: "another".into(),
        ..SubscribeResponse::default()
    };
    warehouse.apply(&another).await.unwrap();
    let third = SubscribeResponse {
        log_id: "a third".into(),
        ..SubscribeResponse::default()
    };
    assert!(warehouse.apply(&third).await.is_err());
    let endpoint = Endpoint::from_shared(server.url()).unwrap();
    let ended = timeout(DEADLINE, follow(&endpoint, &mut warehouse, SILENCE)).await;
    let Err(Error::Refused(status)) = ended.unwrap() else {
        panic!("it goes on")
    };
    assert_eq!(reason(&status), "LOG_MISMATCH");
}
