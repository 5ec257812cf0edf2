//! Tests of the indexer: checkpoints, overlapping writes, refused documents and refused switches.

use std::{path::Path, sync::Mutex};

use contract::orders::v1::{AggregateType, OrderDelivered, RecordedEvent, recorded_event::Payload};
use read_model::{
    AggregateId, Row,
    generations::NextGeneration,
    search::{
        Applied, Claimed, Document, Engine, Hits, IndexDifference, SearchRequest, WriteLimits,
        WronglyFound,
    },
    store::Writer,
};
use tokio::{
    sync::{Semaphore, oneshot},
    time::timeout,
};
use tonic::transport::Channel;
use wire::{Bearer, Connection};

use super::*;
use crate::{
    documents::Parking,
    test_events::{created, event},
};

mod backfill;

const DEADLINE: Duration = Duration::from_secs(30);

/// An engine that stores only its checkpoint, and applies a write for each permit.
#[derive(Debug)]
struct Gated {
    writes: Arc<Semaphore>,
    checkpoint: watch::Sender<Option<IndexCheckpoint>>,
    write_limits: WriteLimits,
    /// The row of the document that the engine refuses.
    refuses: Mutex<Option<Row>>,
    rows: Mutex<Vec<Row>>,
}

#[async_trait::async_trait]
impl Engine for Gated {
    fn name(&self) -> &'static str {
        "gated"
    }

    async fn checkpoint(&self, _: &str) -> Result<Option<IndexCheckpoint>, search::Error> {
        Ok(self.checkpoint.borrow().clone())
    }

    async fn claim(&self, _: &str) -> Result<Claimed, search::Error> {
        Ok(Claimed {
            checkpoint: self.checkpoint.borrow().clone(),
            outdated: false,
        })
    }

    async fn write(
        &self,
        documents: Vec<Document>,
        checkpoint: IndexCheckpoint,
    ) -> Result<Applied, search::Error> {
        let rows: Vec<_> = documents.iter().map(|document| document.row).collect();
        let refuses = *self.refuses.lock().unwrap();
        if refuses.is_some_and(|refused| rows.contains(&refused)) {
            let refused = search::Error::Refused("too long".into());
            return Ok(Box::pin(async { Err(refused) }));
        }
        self.rows.lock().unwrap().extend(rows);
        let (writes, stored) = (self.writes.clone(), self.checkpoint.clone());
        Ok(Box::pin(async move {
            writes.acquire().await.unwrap().forget();
            stored.send_replace(Some(checkpoint));
            Ok(())
        }))
    }

    fn write_limits(&self) -> WriteLimits {
        self.write_limits
    }

    async fn clear(&self, _: &str) -> Result<(), search::Error> {
        self.checkpoint.send_replace(None);
        Ok(())
    }

    async fn search(&self, _: SearchRequest) -> Result<Hits, search::Error> {
        unreachable!("nobody searches")
    }

    async fn compare(
        &self,
        _: Row,
        _: Row,
        _: Vec<Document>,
    ) -> Result<Vec<IndexDifference>, search::Error> {
        unreachable!("nobody compares")
    }

    async fn inspect(
        &self,
        _: &Reader,
        _: mpsc::Sender<WronglyFound>,
    ) -> Result<(), search::Error> {
        unreachable!("nobody inspects")
    }
}

#[async_trait::async_trait]
impl LiveIndex for Gated {
    async fn open_next(&self, _: NextGeneration) -> Result<Option<Arc<dyn Engine>>, search::Error> {
        unreachable!("nobody rebuilds")
    }

    async fn switch(&self) -> Result<(), search::Error> {
        unreachable!("every switch is refused before")
    }

    async fn discard_next(&self) -> Result<(), search::Error> {
        unreachable!("nobody rebuilds")
    }
}

/// Returns an indexer of documents made of `events`, with its engine, writer and parking.
async fn indexer(
    folder: &Path,
    events: &[RecordedEvent],
    write_limits: WriteLimits,
    refuses: Option<Row>,
) -> (Indexer, Arc<Gated>, Writer, Parking) {
    let file = folder.join("read.db");
    let mut writer = Writer::open(&file, 1).await.unwrap();
    let last = events.last().unwrap().position;
    writer.apply("log", events, last).await.unwrap();
    let (indexer, engine, parking) = indexer_of(&writer, write_limits, refuses).await;
    (indexer, engine, writer, parking)
}

/// Returns an indexer of the documents of a writer, with its engine and parking.
async fn indexer_of(
    writer: &Writer,
    write_limits: WriteLimits,
    refuses: Option<Row>,
) -> (Indexer, Arc<Gated>, Parking) {
    writer.set_consistent(true);
    let engine = Arc::new(Gated {
        writes: Arc::new(Semaphore::new(0)),
        checkpoint: watch::Sender::new(None),
        write_limits,
        refuses: Mutex::new(refuses),
        rows: Mutex::default(),
    });
    let reader = writer.reader(1).await.unwrap();
    let (documents, parking) = DocumentsHandle::that_only_parks();
    // No test here reads an index of another process, so the node is never called.
    let channel = Channel::from_static("http://127.0.0.1:1").connect_lazy();
    let node = Connection::new(channel, Bearer::default());
    let (indexer, _) = Indexer::new(
        reader,
        Nodes::new(("none".to_owned(), node), []),
        engine.clone(),
        documents,
        true,
        Traces::default(),
    );
    (indexer, engine, parking)
}

/// Returns the newest event that the index may have.
fn read_until(index: &IndexCheckpoint) -> (u64, &str) {
    (index.read_position, &index.event_id)
}

/// Returns an updater of an index that has every document up to `position` of the history.
fn updater(indexer: &Indexer, history: String, position: u64) -> IndexUpdater {
    let checkpoint = IndexCheckpoint {
        log_id: "log".to_owned(),
        history,
        read_position: position,
        event_id: format!("event-{position}"),
        position,
        answers: position,
        names: ChangeCursor::at(position),
        generation: FIRST_GENERATION,
    };
    let found = Some(checkpoint.clone());
    let (documents, handle) = (indexer.documents.clone(), indexer.documents_handle.clone());
    let engine: Arc<dyn Engine> = indexer.engine.clone();
    IndexUpdater::new(documents, engine, handle, checkpoint, found)
}

/// An indexer that runs until [`Running::stop`].
struct Running {
    progress: Progress,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Running {
    fn start(indexer: Indexer) -> Self {
        let stop = CancellationToken::new();
        Self {
            progress: indexer.progress.clone(),
            task: tokio::spawn(indexer.run(stop.clone())),
            stop,
        }
    }

    async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }
}

#[tokio::test]
async fn g8_an_index_that_catches_up_answers_from_position_0_until_it_is_complete() {
    let events = [
        event(1, "a", 1, created()),
        event(2, "b", 1, created()),
        event(3, "c", 1, created()),
        event(4, "a", 2, Payload::OrderDelivered(OrderDelivered {})),
    ];
    let (documents, writes) = (2, 1);
    let folder = tempfile::tempdir().unwrap();
    let write_limits = WriteLimits {
        documents,
        first: documents,
        writes,
    };
    let (indexer, engine, _writer, _) = indexer(folder.path(), &events, write_limits, None).await;
    let mut checkpoint = engine.checkpoint.subscribe();
    let running = Running::start(indexer);

    // The first write contains b and c, up to position 3. Order a was created at 1, but changed at
    // 4, so it comes with that change.
    engine.writes.add_permits(1);
    let written = checkpoint.wait_for(Option::is_some).await.unwrap().clone();
    let written = written.unwrap();
    assert!(written.position < 4, "{written:?}");
    assert_eq!(written.answers, 0);
    // The documents were read at position 4.
    assert_eq!(read_until(&written), (4, "event-4"));
    let mut report = running.progress.subscribe();
    let catching_up = report.wait_for(|report| report.position > 0).await;
    assert_eq!(catching_up.unwrap().answers, 0);

    engine.writes.add_permits(10);
    running.progress.wait_for(4).await;
    assert_eq!(running.progress.report().position, 4);
    running.stop().await;
}

#[tokio::test]
async fn g7_overlapping_writes_store_only_the_checkpoint_that_has_been_applied() {
    let events: Vec<_> = (1..=6)
        .map(|position| event(position, &format!("o{position}"), 1, created()))
        .collect();
    let (documents, writes) = (2, 3);
    let folder = tempfile::tempdir().unwrap();
    let write_limits = WriteLimits {
        documents,
        first: documents,
        writes,
    };
    let (indexer, engine, _writer, _) = indexer(folder.path(), &events, write_limits, None).await;
    let mut checkpoint = engine.checkpoint.subscribe();
    let running = Running::start(indexer);
    // The first write stores its own checkpoint. Later writes overlap, so each stores only the
    // checkpoint that has been applied: losing one must not skip its documents.
    let mut positions = Vec::new();
    for _ in 0..4 {
        engine.writes.add_permits(1);
        checkpoint.changed().await.unwrap();
        let stored = checkpoint.borrow_and_update().clone().unwrap();
        positions.push((stored.position, stored.answers));
    }
    assert_eq!(positions, [(2, 0), (0, 0), (0, 0), (6, 6)]);
    running.progress.wait_for(6).await;
    running.stop().await;
}

#[tokio::test]
async fn only_the_document_that_the_engine_refuses_is_parked() {
    let events: Vec<_> = (1..=40)
        .map(|position| event(position, &format!("o{position}"), 1, created()))
        .collect();
    let folder = tempfile::tempdir().unwrap();
    let (documents, writes) = (16, 3);
    let write_limits = WriteLimits {
        documents,
        first: documents,
        writes,
    };
    let (indexer, engine, _writer, mut parking) =
        indexer(folder.path(), &events, write_limits, Some(Row(23))).await;
    engine.writes.add_permits(1000);
    let running = Running::start(indexer);
    running.progress.wait_for(40).await;
    let refused = parking.parked.recv().await.unwrap();
    assert_eq!(refused.aggregate, AggregateId::order("o23"));
    assert_eq!(refused.position, 23);
    assert_eq!(refused.error, "too long");
    assert!(parking.parked.try_recv().is_err());
    let mut rows = engine.rows.lock().unwrap().clone();
    rows.sort_unstable();
    rows.dedup();
    let others: Vec<_> = (1..=40).filter(|row| *row != 23).map(Row).collect();
    assert_eq!(rows, others);
    running.stop().await;
}

#[tokio::test]
async fn g12_index_says_that_it_may_have_the_newest_event_of_documents_indexed_out_of_turn() {
    let created_first = event(1, "a", 1, created());
    let folder = tempfile::tempdir().unwrap();
    let (documents, writes) = (16, 3);
    let write_limits = WriteLimits {
        documents,
        first: documents,
        writes,
    };
    let (indexer, engine, mut writer, _) =
        indexer(folder.path(), &[created_first], write_limits, None).await;
    let checkpoint = indexer.documents.checkpoint().await.unwrap().unwrap();
    let mut updater = updater(&indexer, checkpoint.history, 1);
    let changed = event(2, "a", 2, Payload::OrderDelivered(OrderDelivered {}));
    writer.apply("log", &[changed], 2).await.unwrap();
    let changes = indexer.documents.own_changes_since(1, 1).await;
    engine.writes.add_permits(1);
    updater.index(changes.unwrap().documents).await.unwrap();
    let stored = engine.checkpoint.borrow().clone().unwrap();
    assert_eq!(read_until(&stored), (2, "event-2"));
    assert_eq!((stored.position, stored.answers), (1, 1));
}

#[tokio::test]
async fn g12_switch_to_an_index_of_another_history_is_refused() {
    let events = [event(1, "a", 1, created())];
    let folder = tempfile::tempdir().unwrap();
    let (documents, writes) = (16, 3);
    let write_limits = WriteLimits {
        documents,
        first: documents,
        writes,
    };
    let (indexer, _engine, _writer, _) = indexer(folder.path(), &events, write_limits, None).await;
    // The updater has reached the documents' position, so that it reads no changes.
    let updater = updater(&indexer, "another history".to_owned(), 1);
    let (switched, answered) = oneshot::channel();
    let request = IndexSwitch { updater, switched };
    let refused = indexer.switch(None, request).await;
    assert!(matches!(refused, Err(Error::OtherHistory)), "{refused:?}");
    let answered = answered.await.unwrap().unwrap_err();
    let expected = Error::OtherHistory.to_string();
    assert!(answered.to_string().ends_with(&expected), "{answered}");
}

#[tokio::test]
async fn switch_to_an_index_that_may_lack_a_change_without_an_event_keeps_the_live_one() {
    let events = [event(1, "a", 1, created())];
    let folder = tempfile::tempdir().unwrap();
    let (documents, writes) = (16, 3);
    let write_limits = WriteLimits {
        documents,
        first: documents,
        writes,
    };
    let (indexer, _engine, writer, _) = indexer(folder.path(), &events, write_limits, None).await;
    let history = indexer
        .documents
        .checkpoint()
        .await
        .unwrap()
        .unwrap()
        .history;
    let live = updater(&indexer, history.clone(), 1);
    let updater = updater(&indexer, history, 1);
    // Tells of a revision, as a retry does.
    writer.set_consistent(false);
    writer.set_consistent(true);
    let (switched, answered) = oneshot::channel();
    let request = IndexSwitch { updater, switched };
    let kept = indexer.switch(Some(live), request).await.unwrap();
    assert_eq!(kept.unwrap().applied().generation, FIRST_GENERATION);
    let answered = answered.await.unwrap();
    assert!(matches!(answered, Err(Error::Revised)), "{answered:?}");
}

#[tokio::test]
async fn an_order_that_the_engine_refused_is_unparked_when_it_accepts_a_later_state() {
    let events = [event(1, "a", 1, created()), event(2, "b", 1, created())];
    let folder = tempfile::tempdir().unwrap();
    let (documents, writes) = (16, 3);
    let write_limits = WriteLimits {
        documents,
        first: documents,
        writes,
    };
    let (indexer, engine, mut writer, mut parking) =
        indexer(folder.path(), &events, write_limits, Some(Row(1))).await;
    engine.writes.add_permits(1000);
    let running = Running::start(indexer);
    let refused = parking.parked.recv().await.unwrap();
    assert_eq!(refused.aggregate, AggregateId::order("a"));
    writer.park(&refused).await.unwrap();
    running.progress.wait_for(2).await;
    while let Ok(rows) = parking.unparked.try_recv() {
        assert_eq!(rows, [Row(2)]);
    }
    *engine.refuses.lock().unwrap() = None;
    let changed = event(3, "a", 2, Payload::OrderDelivered(OrderDelivered {}));
    writer.apply("log", &[changed], 3).await.unwrap();
    let unparked = timeout(DEADLINE, parking.unparked.recv()).await;
    assert_eq!(unparked.unwrap().unwrap(), [Row(1)]);
    running.stop().await;
}
