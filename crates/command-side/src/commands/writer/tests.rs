//! Tests of [`Writer`] on a log in a SQLite file.

use contract::orders::v1::{
    CreateOrderItem, CreateOrderRequest, execute_commands_request::Command as Sent,
};
use event_log::{Log, Reader};
use tempfile::TempDir;
use wire::convert;

use super::*;
use crate::{codec::record, commands::Origin};

struct Fixture {
    _folder: TempDir,
    jobs: mpsc::Sender<Job>,
    reader: Arc<dyn Reader>,
    writer: Writer,
}

async fn fixture() -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("events.db");
    let log = event_log::sqlite::open(&file, record::SCHEMA).await;
    let Log {
        appender, reader, ..
    } = log.unwrap();
    let (sender, jobs) = mpsc::channel(QUEUE_CAPACITY);
    let writer = Writer {
        jobs,
        appender,
        tail: Arc::new(Tail::new(Point::START)),
        signals: Arc::default(),
        available: watch::Sender::new(true),
        timeouts: 0,
        optimistic: true,
    };
    Fixture {
        _folder: folder,
        jobs: sender,
        reader,
        writer,
    }
}

fn create(order_id: &str, request_id: &str, customer_id: &str) -> Command {
    let request = CreateOrderRequest {
        request_id: request_id.into(),
        order_id: order_id.into(),
        customer_id: customer_id.into(),
        items: vec![CreateOrderItem {
            product_id: "tea".into(),
            quantity: 1,
            unit_price: Some(convert::money(12_500, "EUR")),
        }],
        occurred_at: None,
    };
    Command::new(Sent::CreateOrder(request), &Origin::default(), now()).unwrap()
}

/// Queues a command, and returns the receiver of its reply.
async fn send(jobs: &mpsc::Sender<Job>, command: Command) -> oneshot::Receiver<Reply> {
    send_of_bytes(jobs, command, 100).await
}

/// Queues a command as of a message with this size, and returns the receiver of its reply.
async fn send_of_bytes(
    jobs: &mpsc::Sender<Job>,
    command: Command,
    bytes: usize,
) -> oneshot::Receiver<Reply> {
    let (reply, received) = oneshot::channel();
    let job = Job {
        command,
        bytes,
        reply,
        permit: None,
    };
    jobs.send(job).await.unwrap();
    received
}

#[tokio::test]
async fn g1_writer_commits_a_command_whose_caller_has_gone() {
    let Fixture {
        _folder,
        jobs,
        reader,
        writer,
    } = fixture().await;
    drop(send(&jobs, create("o-1", "", "ann")).await);
    let reply = send(&jobs, create("o-2", "", "ann")).await;
    drop(jobs);
    writer.run(CancellationToken::new()).await;
    assert_eq!(reply.await.unwrap().unwrap().1, 2.into());
    let page = reader.page(Point::START, 2.into(), 10).await.unwrap();
    assert_eq!(page.records.len(), 2);
}

#[tokio::test]
async fn g1_writer_answers_queued_commands_at_shutdown_and_takes_no_more() {
    let Fixture {
        _folder,
        jobs,
        writer,
        ..
    } = fixture().await;
    let reply = send(&jobs, create("o-1", "", "ann")).await;
    let stop = CancellationToken::new();
    stop.cancel();
    // The writer ends although a sender still exists.
    writer.run(stop).await;
    assert_eq!(reply.await.unwrap().unwrap().1, 1.into());
    assert!(jobs.is_closed());
}

#[tokio::test]
async fn g5_an_optimistic_attempt_recognises_a_known_request_id_among_new_orders() {
    let Fixture {
        _folder,
        jobs: _jobs,
        mut writer,
        ..
    } = fixture().await;
    let (first, outcomes) = writer.commit(&[create("o-1", "r-1", "ann")]).await.unwrap();
    let reply = outcomes[0].clone().unwrap();
    let (_, again) = writer
        .commit(&[create("o-2", "r-2", "ann"), create("o-1", "r-1", "ann")])
        .await
        .unwrap();
    let again = again[1].clone().unwrap();
    assert_eq!(
        again.position.resolve(7.into()),
        reply.position.resolve(first)
    );
    assert!(!writer.optimistic, "more known request ids are likely");
    writer.commit(&[create("o-3", "r-3", "ann")]).await.unwrap();
    assert!(writer.optimistic);
    // The batch also creates another order with the same id.
    let (_, outcomes) = writer
        .commit(&[create("o-4", "", "ann"), create("o-4", "r-1", "bob")])
        .await
        .unwrap();
    assert_eq!(outcomes[1], Err(Rejection::Reused(again)));
}

#[tokio::test]
async fn command_on_an_unreadable_aggregate_fails_alone() {
    let Fixture {
        _folder,
        jobs,
        mut writer,
        ..
    } = fixture().await;
    // No version of this program has written such an event.
    let aggregate = event_log::Aggregate {
        kind: 1,
        id: "broken".into(),
    };
    let damaged = event_log::NewEvent {
        aggregate,
        version: 1.into(),
        event_type: "OrderCreated".into(),
        schema_version: record::SCHEMA.current,
        record: b"nonsense".to_vec(),
    };
    let batch = Batch {
        events: vec![damaged],
        requests: Vec::new(),
    };
    writer.appender.append(&batch).await.unwrap();
    let available = writer.available.subscribe();
    let broken = send(&jobs, create("broken", "r", "ann")).await;
    let sound = send(&jobs, create("sound", "r-2", "ann")).await;
    drop(jobs);
    writer.run(CancellationToken::new()).await;
    assert!(matches!(
        broken.await.unwrap(),
        Err(wire::Error::Internal(_))
    ));
    assert_eq!(sound.await.unwrap().unwrap().1, 2.into());
    assert!(*available.borrow(), "the store answers");
}

/// An appender whose store takes too long for each batch with an order of such an id.
#[derive(Debug)]
struct SlowFor(&'static str, Box<dyn Appender>);

#[async_trait::async_trait]
impl Appender for SlowFor {
    fn has_seen(&mut self, point: Point) {
        self.1.has_seen(point);
    }

    async fn head(&mut self) -> Result<Position, Error> {
        self.1.head().await
    }

    async fn probe(&mut self) -> Result<(), Error> {
        self.1.probe().await
    }

    async fn load(
        &mut self,
        needed: &[event_log::Needed<'_>],
        request_ids: &[&str],
        exclusively: bool,
    ) -> Result<event_log::Loaded, Error> {
        self.1.load(needed, request_ids, exclusively).await
    }

    async fn append(&mut self, batch: &Batch) -> Result<Point, Error> {
        let mut ids = batch.events.iter().map(|event| &event.aggregate.id);
        if ids.any(|id| id.starts_with(self.0)) {
            return Err(Error::TimedOut(sqlx::Error::WorkerCrashed));
        }
        self.1.append(batch).await
    }

    async fn close(self: Box<Self>) {
        self.1.close().await;
    }
}

#[tokio::test]
async fn g13_a_command_that_takes_too_long_fails_alone() {
    let Fixture {
        _folder,
        mut writer,
        ..
    } = fixture().await;
    writer.appender = Box::new(SlowFor("slow", writer.appender));
    let ids = ["o-1", "slow", "o-2"];
    let replies = writer
        .commit_in_parts(&ids.map(|id| create(id, "", "ann")))
        .await;
    assert_eq!(replies[0].as_ref().unwrap().1, 1.into());
    assert_eq!(replies[1], Err(wire::Error::StoreUnavailable));
    assert_eq!(replies[2].as_ref().unwrap().1, 2.into());
    assert!(*writer.available.borrow(), "the store answers the others");
}

#[tokio::test]
async fn commands_that_take_too_long_one_after_the_other_are_an_outage() {
    let Fixture {
        _folder,
        mut writer,
        ..
    } = fixture().await;
    writer.appender = Box::new(SlowFor("", writer.appender));
    let commands = ["o-1", "o-2", "o-3"].map(|id| create(id, "", "ann"));
    let replies = writer.commit_in_parts(&commands).await;
    assert_eq!(replies, vec![Err(wire::Error::StoreUnavailable); 3]);
    assert!(!*writer.available.borrow());
}

#[test]
fn g13_a_batch_ends_at_its_bytes_and_has_a_command() {
    let (half, larger) = (MAX_BATCH_BYTES / 2, MAX_BATCH_BYTES + 1);
    for (waiting, expected) in [
        (vec![100; MAX_BATCH_COMMANDS], MAX_BATCH_COMMANDS),
        (vec![half, half, 1], 2),
        (vec![1, half, half], 2),
        (vec![larger, 1], 1),
        (vec![1, larger], 1),
    ] {
        assert_eq!(batch_length(waiting.into_iter()), expected);
    }
}

#[tokio::test]
async fn g13_queued_large_commands_commit_in_several_batches_in_their_order() {
    let Fixture {
        _folder,
        jobs,
        writer,
        ..
    } = fixture().await;
    let mut replies = Vec::new();
    for index in 0..5 {
        let command = create(&format!("o-{index}"), "", "ann");
        replies.push(send_of_bytes(&jobs, command, MAX_BATCH_BYTES / 2).await);
    }
    drop(jobs);
    let tail = Arc::clone(&writer.tail);
    writer.run(CancellationToken::new()).await;
    for (position, reply) in Position::from(1).onwards().zip(replies) {
        assert_eq!(reply.await.unwrap().unwrap().1, position);
    }
    assert_eq!(tail.pushes(), 3);
}
