//! Tests of the dispatch: what a watcher is handed, and what it must read itself.

use std::{sync::Arc, time::Duration};

use contract::orders::v1::{
    AggregateType, CustomerRegistered, Order, OrderCancelled, OrderCreated, OrderCreatedItem,
    RecordedEvent, recorded_event::Payload,
};
use read_model::{generations::lists_folder, request::OrderFilter, store::Writer};
use tempfile::TempDir;
use tokio::{task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;
use wire::convert;

use super::dispatch::{Dispatch, Registration, Taken};

const DEADLINE: Duration = Duration::from_secs(30);

/// Documents with a dispatch that runs.
struct Documents {
    _folder: TempDir,
    writer: Writer,
    dispatch: Dispatch,
    stop: CancellationToken,
    running: JoinHandle<()>,
}

impl Documents {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let writer = Writer::open(&folder.path().join("read.db"), 1).await;
        Self::of(folder, writer.unwrap()).await
    }

    async fn of(folder: TempDir, writer: Writer) -> Self {
        let dispatch = Dispatch::new(writer.reader(1).await.unwrap());
        let stop = CancellationToken::new();
        let running = tokio::spawn(dispatch.clone().run(stop.clone()));
        Self {
            _folder: folder,
            writer,
            dispatch,
            stop,
            running,
        }
    }

    async fn record(&mut self, id: &str, version: u64, payload: Payload) -> u64 {
        let position = self.writer.position() + 1;
        let event = event(position, AggregateType::Order, id, version, payload);
        self.writer.apply("log", &[event], position).await.unwrap();
        position
    }

    async fn create(&mut self, id: &str, customer: &str) -> u64 {
        let item = OrderCreatedItem {
            product_id: "tea".into(),
            quantity: 1,
            unit_price: Some(convert::money(1, "EUR")),
        };
        let created = OrderCreated {
            customer_id: customer.into(),
            items: vec![item],
            total_amount: Some(convert::money(1, "EUR")),
        };
        self.record(id, 1, Payload::OrderCreated(created)).await
    }

    async fn cancel(&mut self, id: &str) -> u64 {
        let reason = "no".into();
        let cancelled = Payload::OrderCancelled(OrderCancelled { reason });
        self.record(id, 2, cancelled).await
    }

    async fn stop(self) {
        self.stop.cancel();
        timeout(DEADLINE, self.running).await.unwrap().unwrap();
    }
}

fn event(
    position: u64,
    kind: AggregateType,
    id: &str,
    version: u64,
    payload: Payload,
) -> RecordedEvent {
    RecordedEvent {
        position,
        aggregate_type: kind.into(),
        aggregate_id: id.to_owned(),
        version,
        occurred_at: Some(convert::timestamp(0)),
        payload: Some(payload),
        ..RecordedEvent::default()
    }
}

/// Returns the event that gives the customer `ann` another name.
fn renamed(position: u64) -> RecordedEvent {
    let name = format!("Ann {position}");
    let named = Payload::CustomerRegistered(CustomerRegistered { name });
    event(position, AggregateType::Customer, "ann", position, named)
}

fn of_customer(customer: &str) -> OrderFilter {
    OrderFilter {
        customer_ids: vec![customer.to_owned()],
        ..OrderFilter::default()
    }
}

/// Takes what is handed out until all changes up to a position are, as `id vVERSION`.
async fn taken(registration: &Registration, position: u64) -> Result<Vec<String>, ()> {
    let mut all = Vec::new();
    let taking = async {
        loop {
            match registration.take() {
                Taken::Cut => return Err(()),
                Taken::Orders(orders, complete) => {
                    let told = |order: Arc<Order>| format!("{} v{}", order.order_id, order.version);
                    all.extend(orders.into_iter().map(told));
                    if complete >= position {
                        return Ok(());
                    }
                }
            }
            tokio::task::yield_now().await;
        }
    };
    timeout(DEADLINE, taking).await.unwrap()?;
    Ok(all)
}

#[tokio::test]
async fn a_watcher_is_handed_the_changes_of_its_orders_and_is_woken_for_no_others() {
    let mut documents = Documents::new().await;
    documents.create("o-0", "ann").await;
    let of_ann = documents.dispatch.register(&of_customer("ann"));
    let of_bob = documents.dispatch.register(&of_customer("bob"));
    documents.create("o-1", "ann").await;
    let last = documents.cancel("o-1").await;
    assert_eq!(
        taken(&of_ann, last).await.unwrap().last().unwrap(),
        "o-1 v2"
    );
    assert_eq!(taken(&of_bob, last).await.unwrap(), [""; 0]);
    timeout(DEADLINE, of_ann.filled()).await.unwrap();
    let of_bob_is_woken = timeout(Duration::from_millis(1), of_bob.filled()).await;
    assert!(of_bob_is_woken.is_err());
    documents.stop().await;
}

#[tokio::test]
async fn a_watcher_that_takes_nothing_is_cut_and_goes_on_where_it_resumes() {
    let mut documents = Documents::new().await;
    let slow = documents.dispatch.register(&of_customer("ann"));
    let other = documents.dispatch.register(&of_customer("bob"));
    let mut last = 0;
    for index in 0..450 {
        last = documents.create(&format!("o-{index}"), "ann").await;
    }
    taken(&other, last).await.unwrap();
    assert_eq!(slow.take(), Taken::Cut);
    assert_eq!(slow.take(), Taken::Cut, "until it resumes");
    assert_eq!(slow.resume(), last);
    let cancelled = documents.cancel("o-7").await;
    assert_eq!(taken(&slow, cancelled).await.unwrap(), ["o-7 v2"]);
    documents.stop().await;
}

#[tokio::test]
async fn an_ended_watcher_leaves_nothing_behind_and_a_later_one_begins_at_its_time() {
    let mut documents = Documents::new().await;
    let first = documents.dispatch.register(&of_customer("ann"));
    let created = documents.create("o-1", "ann").await;
    assert_eq!(taken(&first, created).await.unwrap(), ["o-1 v1"]);
    drop(first);
    for index in 2..5 {
        documents.create(&format!("o-{index}"), "ann").await;
    }
    let second = documents.dispatch.register(&of_customer("ann"));
    let last = documents.cancel("o-1").await;
    assert_eq!(taken(&second, last).await.unwrap(), ["o-1 v2"]);
    documents.stop().await;
}

#[tokio::test]
async fn while_a_new_name_waits_for_the_lists_all_other_changes_are_handed_out() {
    // An index of lists that lacks more than this many events is not filled when the file is opened.
    const AT_ONCE: u64 = 65_536;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("read.db");
    let mut writer = Writer::open(&file, 1).await.unwrap();
    let names = Vec::from_iter((1..=AT_ONCE + 1).map(renamed));
    for names in names.chunks(8000) {
        let last = names.last().unwrap().position;
        writer.apply("log", names, last).await.unwrap();
    }
    writer.close().await;
    std::fs::remove_dir_all(lists_folder(&file)).unwrap();
    let writer = Writer::open(&file, 1).await.unwrap();
    let mut documents = Documents::of(folder, writer).await;
    documents.create("o-0", "ann").await;
    let of_ann = documents.dispatch.register(&of_customer("ann"));
    let of_bob = documents.dispatch.register(&of_customer("bob"));
    let before = documents.writer.position();
    let named = before + 1;
    let name = [renamed(named)];
    documents.writer.apply("log", &name, named).await.unwrap();
    for id in ["o-1", "o-2"] {
        documents.create(id, "bob").await;
        timeout(DEADLINE, of_bob.filled()).await.unwrap();
        let Taken::Orders(orders, complete) = of_bob.take() else {
            panic!("it is cut");
        };
        let ids = Vec::from_iter(orders.iter().map(|order| &*order.order_id));
        assert_eq!((&ids[..], complete), (&[id][..], before));
    }
    assert!(documents.writer.is_filling_lists());
    while documents.writer.is_filling_lists() {
        documents.writer.fill_lists().await.unwrap();
    }
    let last = documents.writer.position();
    assert_eq!(taken(&of_ann, last).await.unwrap(), ["o-0 v1"]);
    taken(&of_bob, last).await.unwrap();
    documents.stop().await;
}

#[tokio::test]
async fn g12_watchers_are_cut_when_the_log_goes_back() {
    let mut documents = Documents::new().await;
    let before = documents.dispatch.register(&of_customer("ann"));
    let created = documents.create("o-1", "ann").await;
    taken(&before, created).await.unwrap();
    documents.writer.set_consistent(false);
    documents.writer.set_consistent(true);
    documents.create("o-2", "ann").await;
    let cut = async {
        while before.take() != Taken::Cut {
            tokio::task::yield_now().await;
        }
    };
    timeout(DEADLINE, cut).await.unwrap();
    documents.stop().await;
}
