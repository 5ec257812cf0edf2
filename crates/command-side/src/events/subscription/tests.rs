//! Tests of [`Subscription`] on a log in a SQLite file.

use contract::orders::v1::{EventFilter, RecordedEvent};
use event_log::{Aggregate, Appender, Batch, Encoder, Log, NewEvent};
use prost::Message as _;
use tempfile::TempDir;
use wire::Violations;

use super::*;
use crate::codec::record;

type Responses = mpsc::Receiver<Result<SubscribeResponse, Status>>;

/// A node whose log, tail and dispatch have the same events.
struct Node {
    _folder: TempDir,
    appender: Box<dyn Appender>,
    sources: Sources,
}

impl Node {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("events.db");
        let log = event_log::sqlite::open(&file, record::SCHEMA).await;
        let Log {
            appender, reader, ..
        } = log.unwrap();
        let sources = Sources {
            reader,
            tail: Arc::new(Tail::new(Point::START)),
            dispatcher: Dispatcher::new(Position::START),
            available: watch::channel(true).1,
            stop: CancellationToken::new(),
        };
        let (dispatcher, tail) = (Arc::clone(&sources.dispatcher), Arc::clone(&sources.tail));
        let stop = sources.stop.clone();
        tokio::spawn(async move { dispatcher.run(&tail, stop).await });
        Self {
            _folder: folder,
            appender,
            sources,
        }
    }

    /// Appends events of a customer in one batch, each with an event id of `size` bytes.
    async fn append(&mut self, customer_id: &str, count: usize, size: usize) {
        let head = self.sources.tail.head();
        let event = |version: u64| NewEvent {
            aggregate: Aggregate {
                kind: 1,
                id: "o".to_owned(),
            },
            version: version.into(),
            event_type: "OrderShipped".into(),
            schema_version: record::SCHEMA.current,
            record: RecordedEvent {
                customer_id: customer_id.to_owned(),
                event_id: "e".repeat(size),
                ..RecordedEvent::default()
            }
            .encode_to_vec(),
        };
        let batch = Batch {
            events: (head.get() + 1..).take(count).map(event).collect(),
            requests: Vec::new(),
        };
        let before = self.appender.append(&batch).await.unwrap();
        let mut encoder = Encoder::with_capacity(count, count * size);
        let records = (before.position + 1).onwards().zip(&batch.events);
        let records = records.map(|(position, event)| encoder.push(position, &event.record));
        assert!(self.sources.tail.push(before, records.collect()));
    }

    /// Subscribes to the events of a customer from the start, at most `batch` in a response.
    fn subscribe(&self, customer_id: &str, batch: usize) -> Responses {
        let filter = EventFilter {
            customer_ids: vec![customer_id.to_owned()],
            ..EventFilter::default()
        };
        self.subscribe_after(Point::START, filter, batch)
    }

    /// Subscribes to matching events after a point, which the log need not have.
    fn subscribe_after(&self, point: Point, filter: EventFilter, batch: usize) -> Responses {
        let (sender, responses) = mpsc::channel(1);
        let start = Start {
            position: point.position,
            point: Some(point),
            head: self.sources.tail.head(),
            divergences: self.sources.tail.divergences(),
        };
        let subscription = Subscription::new(
            self.sources.clone(),
            Filter::new(filter, &mut Violations::default()),
            start,
            batch,
            sender,
        );
        tokio::spawn(subscription.run(true));
        responses
    }
}

/// Returns the responses up to one at `position`, as positions with `caught_up`.
async fn up_to(responses: &mut Responses, position: u64) -> Vec<(u64, bool)> {
    let mut found = Vec::new();
    loop {
        let response = responses.recv().await.unwrap().unwrap();
        found.push((response.position, response.caught_up));
        if response.position >= position {
            return found;
        }
    }
}

#[tokio::test]
async fn caught_up_stays_true_while_a_live_subscription_keeps_up() {
    let mut node = Node::start().await;
    let mut ann = node.subscribe("ann", 3);
    assert_eq!(up_to(&mut ann, 0).await, [(0, true)]);
    node.append("ann", 10, 0).await;
    let expected = [(3, true), (6, true), (9, true), (10, true)];
    assert_eq!(up_to(&mut ann, 10).await, expected);
    // Events of others, which come after each of hers, are not hers to read.
    for _ in 0..50 {
        node.append("ann", 1, 0).await;
        node.append("bob", 1, 0).await;
    }
    let responses = up_to(&mut ann, 109).await;
    assert!(
        responses.iter().all(|(_, caught_up)| *caught_up),
        "{responses:?}"
    );
}

#[tokio::test]
async fn caught_up_is_false_from_the_store_until_the_announced_events_are_read() {
    let mut node = Node::start().await;
    let mut ann = node.subscribe("ann", 1000);
    assert_eq!(up_to(&mut ann, 0).await, [(0, true)]);
    // She does not read while the tail drops 24 MiB.
    for _ in 0..48 {
        node.append("ann", 2, 256 << 10).await;
    }
    let responses = up_to(&mut ann, 96).await;
    let mut caught_up: Vec<_> = responses.into_iter().map(|(_, it)| it).collect();
    caught_up.dedup();
    // She may have had events of the tail first.
    let changes = caught_up.strip_prefix(&[true]).unwrap_or(&caught_up);
    assert_eq!(changes, [false, true]);
}

#[tokio::test]
async fn a_subscription_without_matching_events_on_a_busy_log_says_that_it_has_caught_up() {
    let mut node = Node::start().await;
    node.append("bob", 10, 0).await;
    let mut ann = node.subscribe("ann", 1000);
    node.append("bob", 10, 0).await;
    let responses = up_to(&mut ann, 10).await;
    assert_eq!(
        responses.last().map(|(_, caught_up)| *caught_up),
        Some(true)
    );
}

#[tokio::test]
async fn g12_a_stream_ends_as_diverged_unless_its_subscriber_has_seen_no_lost_event() {
    let mut node = Node::start().await;
    node.append("ann", 10, 0).await;
    let newest = node.sources.tail.newest();
    let lost = Point {
        event_id: uuid::Uuid::now_v7(),
        ..newest
    };
    for shared in [None, Some(9.into()), Some(10.into())] {
        let streams = [newest, lost].map(|point| {
            let filter = EventFilter::default();
            node.subscribe_after(point, filter, 10)
        });
        for (mut stream, point) in streams.into_iter().zip([newest, lost]) {
            stream.recv().await.unwrap().unwrap();
            let divergence = Divergence {
                seen: 10.into(),
                shared,
            };
            node.sources.tail.restart(newest, divergence);
            let ended = stream.recv().await.unwrap().unwrap_err();
            let is_known = shared.map_or(point == newest, |shared| shared == newest.position);
            let expected = match is_known {
                true => tonic::Code::Unavailable,
                false => tonic::Code::FailedPrecondition,
            };
            assert_eq!(ended.code(), expected, "{shared:?} {point:?}");
        }
    }
}
