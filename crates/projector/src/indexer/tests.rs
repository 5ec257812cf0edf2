use contract::orders::v1::{
    AggregateType, OrderCreated, OrderDelivered, RecordedEvent, recorded_event::Payload,
};
use read_model::{
    search::{Document, Hits, Request},
    store::Writer,
};
use tokio::sync::Semaphore;
use wire::convert;

use super::*;

/// An engine that keeps nothing but its checkpoint, and writes when it is allowed to.
#[derive(Debug)]
struct Gated {
    writes: Semaphore,
    checkpoint: watch::Sender<Option<Checkpoint>>,
}

#[async_trait::async_trait]
impl Engine for Gated {
    async fn checkpoint(&self) -> Result<Option<Checkpoint>, search::Error> {
        Ok(self.checkpoint.borrow().clone())
    }

    async fn write(&self, _: Vec<Document>, checkpoint: Checkpoint) -> Result<(), search::Error> {
        self.writes.acquire().await.unwrap().forget();
        self.checkpoint.send_replace(Some(checkpoint));
        Ok(())
    }

    async fn clear(&self) -> Result<(), search::Error> {
        self.checkpoint.send_replace(None);
        Ok(())
    }

    async fn search(&self, _: Request) -> Result<Hits, search::Error> {
        unreachable!("nobody searches")
    }
}

fn event(position: u64, order_id: &str, version: u64, payload: Payload) -> RecordedEvent {
    RecordedEvent {
        position,
        aggregate_type: AggregateType::Order.into(),
        aggregate_id: order_id.into(),
        version,
        occurred_at: Some(convert::timestamp(0)),
        payload: Some(payload),
        ..RecordedEvent::default()
    }
}

fn created() -> Payload {
    Payload::OrderCreated(OrderCreated {
        total_amount: Some(convert::money(1, "EUR")),
        ..OrderCreated::default()
    })
}

#[tokio::test]
async fn g8_an_index_on_its_way_answers_from_nowhere_until_it_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("read.db");
    let mut writer = Writer::open(&file, GENERATION).await.unwrap();
    let events = [
        event(1, "a", 1, created()),
        event(2, "b", 1, created()),
        event(3, "c", 1, created()),
        event(4, "a", 2, Payload::OrderDelivered(OrderDelivered {})),
    ];
    writer.apply("log", &events, 4).await.unwrap();
    let engine = Arc::new(Gated {
        writes: Semaphore::new(1),
        checkpoint: watch::Sender::new(None),
    });
    let mut checkpoint = engine.checkpoint.subscribe();
    let indexer = Indexer {
        batch: 2,
        ..Indexer::new(writer.reader(1).await.unwrap(), engine.clone())
    };
    let progress = indexer.progress();
    let stop = CancellationToken::new();
    let running = tokio::spawn(indexer.run(stop.clone()));

    // It has been told b, at 2; a, which was created at 1, is told where it was delivered.
    let written = checkpoint.wait_for(Option::is_some).await.unwrap().clone();
    assert_eq!(written.unwrap().position, 2);
    let mut report = progress.subscribe();
    let on_its_way = report.wait_for(|report| report.position == 2).await;
    assert_eq!(on_its_way.unwrap().answers, 0);

    engine.writes.add_permits(10);
    progress.wait_for(4).await;
    assert_eq!(progress.report().position, 4);
    stop.cancel();
    running.await.unwrap();
}
