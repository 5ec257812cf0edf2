//! A steady load of commands, and a check of their effects at the end.

use std::collections::BTreeMap;

use contract::orders::v1::{execute_commands_request::Command, *};
use e2e::{Clients, Process};
use test_support::{DEADLINE, order, reason};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Duration, Instant},
};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};
use uuid::Uuid;

/// A writer waits 30 ms between two orders, so that the server has time for its read models.
const PACE: Duration = Duration::from_millis(30);

/// A writer waits 20 ms between two attempts to reach the server.
const RETRY_INTERVAL: Duration = Duration::from_millis(20);

/// The newest versions of orders by id.
type Versions = BTreeMap<String, u64>;

/// Writers that follow the server across restarts and send each command until it is answered.
pub(crate) struct Load {
    node: watch::Sender<String>,
    stop: CancellationToken,
    writers: JoinSet<Versions>,
}

impl Load {
    /// Starts `writers` writers.
    pub(crate) fn start(process: &Process, writers: usize) -> Self {
        let (node, stop) = (
            watch::Sender::new(process.url().to_owned()),
            CancellationToken::new(),
        );
        let writers = (0..writers).map(|index| {
            let writer = Writer {
                name: format!("w{index}"),
                node: node.subscribe(),
                clients: None,
                acknowledged: Versions::new(),
            };
            writer.run(stop.clone())
        });
        let writers = writers.collect();
        Self {
            node,
            stop,
            writers,
        }
    }

    /// Directs the writers to another process.
    pub(crate) fn follow(&self, process: &Process) {
        self.node.send_replace(process.url().to_owned());
    }

    /// Ends the writers. Checks that every acknowledged version is in the log, and runs `verify`
    /// for the read models.
    pub(crate) async fn finish(self, process: &Process) {
        self.stop.cancel();
        let acknowledged = self.writers.join_all().await.into_iter().flatten();
        let mut clients = process.clients().await;
        let head = clients.head().await;
        let logged = versions(&mut clients).await;
        for (order_id, version) in acknowledged {
            let there = logged.get(&order_id).copied();
            assert!(there >= Some(version), "{order_id}: {there:?} < {version}");
        }
        assert_eq!(clients.total_orders(head).await, logged.len() as u64);
        process.ask(["verify"]);
    }
}

/// Returns the newest version of each order in the log.
async fn versions(clients: &mut Clients) -> Versions {
    let events = clients.log().await.into_iter();
    events
        .filter(|event| event.aggregate_type() == AggregateType::Order)
        .map(|event| (event.aggregate_id, event.version))
        .collect()
}

struct Writer {
    name: String,
    node: watch::Receiver<String>,
    clients: Option<Clients>,
    acknowledged: Versions,
}

impl Writer {
    async fn run(mut self, stop: CancellationToken) -> Versions {
        for index in 0_u64.. {
            if stop.is_cancelled() {
                break;
            }
            // A rename reaches every order of a customer: these have few.
            let customer = format!("{}-{}", self.name, index / 16);
            let create = order::create(&format!("{}-{index}", self.name), &customer);
            self.send(Command::CreateOrder(create)).await;
            // The change applies to an order created 20 orders earlier, which the documents hold by
            // now.
            if let Some(older) = index.checked_sub(20) {
                self.change(older).await;
            }
            if index % 16 == 0 {
                let name = RegisterCustomerRequest {
                    request_id: Uuid::now_v7().to_string(),
                    ..order::customer(&customer, &format!("Ann {index} of {}", self.name))
                };
                self.send(Command::RegisterCustomer(name)).await;
            }
            tokio::time::sleep(PACE).await;
        }
        self.acknowledged
    }

    /// Ships or cancels an order of this writer. Every third order stays unchanged.
    async fn change(&mut self, index: u64) {
        let request_id = Uuid::now_v7().to_string();
        let id = format!("{}-{index}", self.name);
        match index % 3 {
            0 => {
                let ship = order::ship(&id);
                self.send(Command::ShipOrder(ShipOrderRequest { request_id, ..ship }))
                    .await;
            }
            1 => {
                let cancel = order::cancel(&id);
                self.send(Command::CancelOrder(CancelOrderRequest {
                    request_id,
                    ..cancel
                }))
                .await;
            }
            _ => {}
        }
    }

    /// Sends a command with the same request id until it is answered.
    async fn send(&mut self, command: Command) {
        loop {
            if self.clients.is_none() {
                let url = self.node.borrow().clone();
                self.clients = Clients::connect(&url).await.ok();
            }
            if let Some(clients) = &mut self.clients {
                match call(clients, command.clone()).await {
                    Ok(version) => {
                        self.acknowledged.extend(version);
                        return;
                    }
                    // The process was killed or is shutting down.
                    Err(status) => assert!(
                        matches!(
                            status.code(),
                            Code::Unavailable | Code::Unknown | Code::Cancelled
                        ),
                        "{status:?}"
                    ),
                }
            }
            self.clients = None;
            tokio::time::sleep(RETRY_INTERVAL).await;
        }
    }
}

/// Sends a command. Returns the id and version of its order, if it concerns an order.
async fn call(clients: &mut Clients, command: Command) -> Result<Option<(String, u64)>, Status> {
    let (order_id, version) = match command {
        Command::CreateOrder(create) => {
            let reply = clients.create_order(create).await?;
            (reply.order_id, reply.version)
        }
        Command::ShipOrder(ship) => {
            let reply = clients.ship_order(ship).await?;
            (reply.order_id, reply.version)
        }
        Command::CancelOrder(cancel) => {
            let reply = clients.cancel_order(cancel).await?;
            (reply.order_id, reply.version)
        }
        Command::RegisterCustomer(register) => {
            clients.register_customer(register).await?;
            return Ok(None);
        }
        other => panic!("no writer sends {other:?}"),
    };
    Ok(Some((order_id, version)))
}

/// Creates an order, and reads it by id and by text at the position of the reply.
pub(crate) async fn read_own_write(clients: &mut Clients, order_id: &str) {
    let create = order::create(order_id, "reader");
    let position = clients.create_order(create).await.unwrap().position;
    clients.order(order_id, position).await;
    let deadline = Instant::now() + DEADLINE;
    let found = loop {
        match clients.search(order_id, position).await {
            Ok(found) => break found,
            // The machine is busy, so the read model lags. The error says how far it is.
            Err(late) if reason(&late) == "READ_MODEL_BEHIND" => {
                assert!(Instant::now() < deadline, "{order_id}: {}", late.message());
            }
            Err(error) => panic!("{error:?}"),
        }
    };
    let first = found.orders.first().map(|order| &order.order_id[..]);
    assert_eq!(first, Some(order_id));
}
