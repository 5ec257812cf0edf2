//! Shows the crate `contract` as a client to the conformance suite, whose protocol is in
//! `clients/conformance/README.md`.
//!
//! - `client` calls the generated clients, with retries.
//! - The subscriber is that of `examples/subscriber`, with another warehouse.

mod client;
#[path = "../subscriber/follow.rs"]
mod follow;
mod messages;
#[path = "../subscriber/position.rs"]
mod position;
#[path = "../subscriber/source.rs"]
#[expect(dead_code, reason = "the suite has every token in a file")]
mod source;
mod warehouse;

use std::{error::Error, fs, path::PathBuf, time::Duration};

use client::Client;
use contract::orders::v1::{
    CreateOrderRequest, GetOrderRequest, SearchOrdersRequest, ShipOrderRequest,
    command_service_client::CommandServiceClient, query_service_client::QueryServiceClient,
};
use follow::{SILENCE, follow};
use messages::{end, message, refusal, reply};
use serde::Deserialize;
use serde_json::{Value, json};
use source::{Source, Token};
use tokio::io::{AsyncBufReadExt as _, BufReader, stdin};
use tonic::{Status, transport::Certificate};
use uuid::Uuid;
use warehouse::Warehouse;

/// A request of the suite.
#[derive(Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
enum Ask {
    Connect(Connect),
    CreateOrder {
        request: Value,
    },
    ShipOrder {
        request: Value,
    },
    GetOrder {
        request: Value,
    },
    Search {
        request: Value,
    },
    Follow(Follow),
    Rewind {
        store: PathBuf,
        position: u64,
    },
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Connect {
    target: String,
    tls: bool,
    ca: PathBuf,
    token_file: PathBuf,
    answer_within_ms: u64,
    patience_ms: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Follow {
    store: PathBuf,
    until: u64,
    silence_ms: u64,
    apply_ms: u64,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut lines = BufReader::new(stdin()).lines();
    let Some(first) = lines.next_line().await? else {
        return Ok(());
    };
    let Ask::Connect(it) = serde_json::from_str(&first)? else {
        return Err("the first request is connect".into());
    };
    let client = connect(it).await?;
    println!("{}", json!({ "ok": {} }));
    while let Some(line) = lines.next_line().await? {
        println!("{}", serve(&client, serde_json::from_str(&line)?).await?);
    }
    Ok(())
}

async fn connect(it: Connect) -> Result<Client, Box<dyn Error>> {
    let scheme = if it.tls { "https" } else { "http" };
    let authority = it.tls.then(|| fs::read(it.ca)).transpose()?;
    let has_token = it.token_file != PathBuf::new();
    let source = Source::new(
        format!("{scheme}://{}", it.target),
        has_token.then_some(Token::File(it.token_file)),
        authority.map(Certificate::from_pem),
    )?;
    let answer_within = time(it.answer_within_ms).unwrap_or(Duration::from_secs(10));
    let patience = time(it.patience_ms).unwrap_or(Duration::from_secs(30));
    Ok(Client::connect(source, answer_within, patience).await?)
}

/// Returns a time that the suite sets.
fn time(ms: u64) -> Option<Duration> {
    (ms > 0).then_some(Duration::from_millis(ms))
}

/// Serves a request, and returns its reply.
async fn serve(client: &Client, ask: Ask) -> Result<Value, Box<dyn Error>> {
    match ask {
        Ask::Connect(_) => Err("connect comes once".into()),
        Ask::CreateOrder { request } => {
            let mut request: CreateOrderRequest = message("CreateOrderRequest", request)?;
            request.request_id = Uuid::now_v7().to_string();
            let created = client.call(request, async |channel, request| {
                let mut commands = CommandServiceClient::new(channel);
                commands.create_order(request).await
            });
            reply("CreateOrderResponse", created.await)
        }
        Ask::ShipOrder { request } => {
            let mut request: ShipOrderRequest = message("ShipOrderRequest", request)?;
            request.request_id = Uuid::now_v7().to_string();
            let shipped = client.call(request, async |channel, request| {
                let mut commands = CommandServiceClient::new(channel);
                commands.ship_order(request).await
            });
            reply("ShipOrderResponse", shipped.await)
        }
        Ask::GetOrder { request } => {
            let request: GetOrderRequest = message("GetOrderRequest", request)?;
            let found = client.call(request, async |channel, request| {
                QueryServiceClient::new(channel).get_order(request).await
            });
            reply("GetOrderResponse", found.await)
        }
        Ask::Search { request } => {
            match search(client, message("SearchOrdersRequest", request)?).await {
                Ok(order_ids) => Ok(json!({ "ok": { "order_ids": order_ids } })),
                Err(status) => Ok(refusal(&status)),
            }
        }
        Ask::Follow(it) => follow_until(&client.source, it).await,
        Ask::Rewind { store, position } => {
            let mut warehouse = Warehouse::open(&store, Duration::ZERO).await?;
            warehouse.rewind(position).await?;
            Ok(json!({ "ok": {} }))
        }
        Ask::Other => {
            Ok(json!({ "unsupported": "the example has no ExecuteCommands and no WatchOrders" }))
        }
    }
}

/// Reads all pages.
async fn search(client: &Client, mut request: SearchOrdersRequest) -> Result<Vec<String>, Status> {
    let mut order_ids = Vec::new();
    loop {
        let page = client.call(request.clone(), async |channel, request| {
            QueryServiceClient::new(channel)
                .search_orders(request)
                .await
        });
        let page = page.await?;
        order_ids.extend(page.orders.into_iter().map(|order| order.order_id));
        if page.next_page_token.is_empty() {
            return Ok(order_ids);
        }
        request.page_token = page.next_page_token;
    }
}

/// Follows the log until the warehouse is at a position, or the subscriber ends.
async fn follow_until(source: &Source, it: Follow) -> Result<Value, Box<dyn Error>> {
    let mut warehouse = Warehouse::open(&it.store, Duration::from_millis(it.apply_ms)).await?;
    let mut position = warehouse.watch();
    let silence = time(it.silence_ms).unwrap_or(SILENCE);
    tokio::select! {
        Err(error) = follow(source, &mut warehouse, silence) => return end(error),
        reached = position.wait_for(|position| *position >= it.until) => reached.map(drop)?,
    }
    let (seen, position) = (
        warehouse.seen().await?,
        warehouse.position().await?.position,
    );
    Ok(json!({ "ok": { "seen": seen, "position": position } }))
}
