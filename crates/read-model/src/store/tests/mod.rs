//! Shared parts of the tests: a log in memory, and the expected documents, computed naively.

mod apply;
mod changes;
mod comparison;
mod list;
mod list_index;
mod names;
mod page;
mod parked;
mod parked_names;
mod rebuild;
mod snapshot;
mod statistics;

use std::collections::BTreeMap;

use contract::orders::v1::{
    AggregateType, CustomerRegistered, Order, OrderCancelled, OrderCreated, OrderCreatedItem,
    OrderDelivered, OrderShipped, OrderStatus, ProductRenamed, RecordedEvent,
    recorded_event::Payload,
};
use proptest::prelude::*;
use tempfile::TempDir;
use wire::convert;

use super::*;
use crate::{
    AggregateId,
    projection::evolve,
    request::{Bound, FacetField, OrderFilter, Sort, SortField},
    search::Document,
};

const LOG: &str = "log-1";
const DAY: i64 = 86_400_000_000_000;
const ALL_DAYS: Option<DayPage<'static>> = Some(DayPage {
    after: "",
    limit: 1000,
});

/// The events of a log.
#[derive(Debug, Clone, Default)]
struct Log {
    events: Vec<RecordedEvent>,
    versions: BTreeMap<(i32, String), u64>,
}

impl Log {
    fn head(&self) -> u64 {
        self.events.len() as u64
    }

    fn record(&mut self, kind: AggregateType, id: &str, at: i64, payload: Payload) {
        let version = self.versions.entry((kind.into(), id.into())).or_default();
        *version += 1;
        self.events.push(RecordedEvent {
            position: self.events.len() as u64 + 1,
            aggregate_type: kind.into(),
            aggregate_id: id.into(),
            version: *version,
            occurred_at: Some(convert::timestamp(at)),
            payload: Some(payload),
            ..RecordedEvent::default()
        });
    }

    /// Creates an order with one piece of each product; the first product has the whole price.
    fn create(&mut self, id: &str, customer: &str, products: &[&str], total: (i64, &str), at: i64) {
        let (amount, currency) = total;
        let items = products.iter().enumerate().map(|(index, product)| {
            let price = if index == 0 { amount } else { 0 };
            OrderCreatedItem {
                product_id: (*product).into(),
                quantity: 1,
                unit_price: Some(convert::money(price, currency)),
            }
        });
        let created = OrderCreated {
            customer_id: customer.into(),
            items: items.collect(),
            total_amount: Some(convert::money(amount, currency)),
        };
        self.record(AggregateType::Order, id, at, Payload::OrderCreated(created));
    }

    fn ship(&mut self, id: &str, at: i64) {
        let shipped = OrderShipped {
            shipping_address: "1 Main St".into(),
            tracking_number: "T1".into(),
        };
        self.record(AggregateType::Order, id, at, Payload::OrderShipped(shipped));
    }

    fn deliver(&mut self, id: &str, at: i64) {
        let payload = Payload::OrderDelivered(OrderDelivered {});
        self.record(AggregateType::Order, id, at, payload);
    }

    fn cancel(&mut self, id: &str, at: i64) {
        let reason = "no".into();
        let payload = Payload::OrderCancelled(OrderCancelled { reason });
        self.record(AggregateType::Order, id, at, payload);
    }

    fn customer(&mut self, id: &str, name: &str) {
        let name = name.into();
        let payload = Payload::CustomerRegistered(CustomerRegistered { name });
        self.record(AggregateType::Customer, id, 0, payload);
    }

    fn product(&mut self, id: &str, name: &str) {
        let name = name.into();
        let payload = Payload::ProductRenamed(ProductRenamed { name });
        self.record(AggregateType::Product, id, 0, payload);
    }

    /// Returns every document after the first `count` events, by row.
    fn documents(&self, count: usize) -> Vec<Document> {
        let mut orders = BTreeMap::<&str, Document>::new();
        let mut names = BTreeMap::<(AggregateType, &str), (&str, u64)>::new();
        for event in &self.events[..count] {
            let id = event.aggregate_id.as_str();
            let name = match event.payload.as_ref().unwrap() {
                Payload::CustomerRegistered(customer) => &customer.name,
                Payload::ProductRenamed(product) => &product.name,
                _ => {
                    let before = orders.remove(id);
                    let row = before
                        .as_ref()
                        .map_or(Row(event.position), |before| before.row);
                    let mut order = before.map(|before| before.order);
                    evolve(&mut order, event).unwrap();
                    let order = order.unwrap();
                    orders.insert(id, Document { row, order });
                    continue;
                }
            };
            names.insert((event.aggregate_type(), id), (name, event.position));
        }
        let mut documents: Vec<_> = orders.into_values().collect();
        documents.sort_by_key(|document| document.row);
        for Document { order, .. } in &mut documents {
            if let Some((name, position)) =
                names.get(&(AggregateType::Customer, order.customer_id.as_str()))
            {
                order.customer_name = (*name).into();
                order.position = order.position.max(*position);
            }
            for item in &mut order.items {
                if let Some((name, position)) =
                    names.get(&(AggregateType::Product, item.product_id.as_str()))
                {
                    item.product_name = (*name).into();
                    order.position = order.position.max(*position);
                }
            }
        }
        documents
    }
}

/// A store in its own folder.
struct Store {
    dir: TempDir,
    writer: Writer,
    reader: Reader,
}

impl Store {
    async fn new() -> Self {
        Self::open(tempfile::tempdir().unwrap()).await
    }

    async fn open(dir: TempDir) -> Self {
        let writer = Writer::open(&dir.path().join("read.db"), 1).await.unwrap();
        let reader = writer.reader(2).await.unwrap();
        Self {
            dir,
            writer,
            reader,
        }
    }

    /// Opens the documents once more, as after the end of the process.
    async fn reopened(self) -> Self {
        let Self { dir, writer, .. } = self;
        drop(writer);
        Self::open(dir).await
    }

    /// Opens the documents once more, as after the loss of their lists.
    async fn reopened_without_lists(self) -> Self {
        let folder = crate::generations::lists_folder(&self.dir.path().join("read.db"));
        std::fs::remove_dir_all(folder).unwrap();
        self.reopened().await
    }

    /// Brings to the lists what they lack.
    async fn fill_lists(&mut self) {
        while self.writer.is_filling_lists() {
            self.writer.fill_lists().await.unwrap();
        }
    }

    /// Brings changes to the index of lists whenever there are this many.
    fn flush_lists_at(&mut self, changes: usize) {
        self.writer.lists.flush_at(changes);
    }

    /// Applies the new events of a log, in batches of at most `size`.
    async fn follow(&mut self, log: &Log, size: usize) {
        let done = self.reader.position() as usize;
        for batch in log.events[done..].chunks(size) {
            let position = batch.last().unwrap().position;
            self.writer.apply(LOG, batch, position).await.unwrap();
        }
    }

    async fn holding(log: &Log) -> Self {
        let mut store = Self::new().await;
        store.follow(log, 1000).await;
        store
    }

    /// Changes the file without the writer's knowledge.
    async fn change(&self, sql: &str) {
        let options = sqlx::sqlite::SqliteConnectOptions::new();
        let options = options.filename(self.dir.path().join("read.db"));
        let mut other = sqlx::ConnectOptions::connect(&options).await.unwrap();
        let sql = sqlx::AssertSqlSafe(sql.to_owned());
        sqlx::raw_sql(sql).execute(&mut other).await.unwrap();
    }

    async fn order(&self, id: &str) -> Order {
        self.reader.order(id).await.unwrap().order.unwrap()
    }
}

/// Generates logs of up to `most` events. The few customers, products and days collide often.
fn logs(most: usize) -> impl Strategy<Value = Log> {
    let step = (0_u8..10, any::<u16>(), 0_i64..40, -2_i64..4);
    proptest::collection::vec(step, 0..most).prop_map(|steps| {
        let mut log = Log::default();
        let mut states = Vec::<OrderStatus>::new();
        for (kind, pick, amount, day) in steps {
            let at = day * DAY / 2;
            let pick = usize::from(pick);
            let customer = format!("c{}", pick % 3);
            let product = format!("p{}", pick % 4);
            let chosen = pick.checked_rem(states.len());
            let order = chosen.map(|chosen| format!("o{chosen}"));
            match (kind, chosen.zip(order)) {
                (0, _) => log.customer(&customer, &format!("customer {pick}")),
                (1, _) => log.product(&product, &format!("product {pick}")),
                (2..=4, Some((chosen, order))) => match states[chosen] {
                    OrderStatus::Created if kind == 2 => {
                        log.cancel(&order, at);
                        states[chosen] = OrderStatus::Cancelled;
                    }
                    OrderStatus::Created => {
                        log.ship(&order, at);
                        states[chosen] = OrderStatus::Shipped;
                    }
                    OrderStatus::Shipped => {
                        log.deliver(&order, at);
                        states[chosen] = OrderStatus::Delivered;
                    }
                    _ => log.customer(&customer, "once more"),
                },
                _ => {
                    let other = format!("p{}", pick / 4 % 4);
                    let currency = ["EUR", "USD"][pick / 16 % 2];
                    let id = format!("o{}", states.len());
                    let products = [product.as_str(), other.as_str(), product.as_str()];
                    log.create(&id, &customer, &products, (amount, currency), at);
                    states.push(OrderStatus::Created);
                }
            }
        }
        log
    })
}

/// Runs an async body in a property test.
fn run(body: impl Future<Output = Result<(), TestCaseError>>) -> Result<(), TestCaseError> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap()
        .block_on(body)
}
