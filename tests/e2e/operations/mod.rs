//! Tests of rebuild, verify and parking as operators use them.

mod parked;
mod rebuild;
mod verify;

use std::{cell::Cell, future::Future};

use e2e::Clients;
use test_support::order;

/// Creates orders `o-0`, `o-1`, ... with named customers and products, and ships every second one.
/// Returns the newest position.
async fn fill(clients: &mut Clients, orders: u64) -> u64 {
    let tea = order::product("tea", "Green tea");
    clients.register_product(tea).await.unwrap();
    for index in 0..orders {
        let id = format!("o-{index}");
        let create = order::create(&id, &format!("c-{}", index % 3));
        clients.create_order(create).await.unwrap();
        if index % 2 == 0 {
            clients.ship_order(order::ship(&id)).await.unwrap();
        }
    }
    let ann = order::customer("c-0", "Ann");
    clients.register_customer(ann).await.unwrap().position
}

/// Returns the generations of the documents and of the search index.
async fn generations(clients: &mut Clients) -> Vec<u64> {
    let projections = clients.status().await.projections;
    projections.iter().map(|it| it.generation).collect()
}

/// Calls `write` with 0, 1, 2, ... until `check` ends. Returns the number of calls.
async fn while_writing(mut write: impl AsyncFnMut(u64), check: impl Future<Output = ()>) -> u64 {
    let checked = Cell::new(false);
    let writes = async {
        let mut count = 0;
        while !checked.get() {
            write(count).await;
            count += 1;
        }
        count
    };
    let check = async {
        check.await;
        checked.set(true);
    };
    tokio::join!(writes, check).0
}
