//! Tests of the documents during a switch.

use contract::orders::v1::RecordedEvent;
use read_model::store::TotalsCheck;
use tokio::sync::oneshot;
use tonic::transport::Channel;
use wire::{Bearer, Connection};

use super::*;
use crate::test_events::{created, event};

#[tokio::test]
async fn g12_a_switch_that_fails_leaves_no_event_of_another_history_in_the_live_documents() {
    let folder = tempfile::tempdir().unwrap();
    let generations = Generations::open(folder.path(), "read.db").unwrap();
    let live = generations.live().unwrap();
    let next = generations.open_next(NextGeneration::New).unwrap().unwrap();
    let orders = |count| (1..=count).map(|at| event(at, &format!("o{at}"), 1, created()));
    let orders = |count| Vec::from_iter(orders(count));
    let mut old = Writer::open(&live.path, live.number).await.unwrap();
    old.apply("log", &orders(3), 3).await.unwrap();
    let mut new = Writer::open_new(&next.path, next.number).await.unwrap();
    new.apply("log", &orders(2), 2).await.unwrap();
    new.finish().await.unwrap();

    // No node is called: the test brings the response.
    let channel = Channel::from_static("http://127.0.0.1:1").connect_lazy();
    let node = Connection::new(channel, Bearer::default());
    let nodes = Nodes::new(("none".to_owned(), node), []);
    let (mut documents, _) = Documents::new(nodes, generations.clone(), old, Traces::default());
    let (switched, answered) = oneshot::channel();
    let switch = DocumentsSwitch {
        writer: new,
        generations,
        generation: next,
        totals: TotalsCheck::Compare,
    };
    documents.pending = Some((switch, switched));
    // The log went back to event 2, and went on otherwise.
    let events = (3..=5).map(|at| RecordedEvent {
        event_id: format!("other-{at}"),
        ..event(at, &format!("other{at}"), 1, created())
    });
    let response = SubscribeResponse {
        events: events.collect(),
        position: 5,
        head_position: 5,
        log_id: "log".to_owned(),
        ..SubscribeResponse::default()
    };
    documents.apply(response).await.unwrap();
    let (error, _) = answered.await.unwrap().unwrap_err();
    assert!(matches!(error, store::Error::Diverged), "{error:?}");
    let checkpoint = documents.writer.checkpoint().unwrap();
    assert_eq!((checkpoint.position, &*checkpoint.event_id), (3, "event-3"));
}
