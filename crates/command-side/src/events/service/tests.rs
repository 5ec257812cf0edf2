//! Tests of the places of streams.

use event_log::Location;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tonic::Code;

use super::*;

#[tokio::test]
async fn g13_clients_do_not_take_the_places_of_this_node_nor_of_verifications() {
    let folder = tempfile::tempdir().unwrap();
    let log = Location::File(folder.path().join("events.db"));
    let opened = crate::open(&log, &Handle::current(), CancellationToken::new()).await;
    let events = opened.unwrap().events;
    let subscribe = async |events: &Events| {
        let request = Request::new(SubscribeRequest::default());
        let refused = events.subscribe(request).await.err();
        refused.map(|status| status.code())
    };
    assert_eq!(subscribe(&events).await, None);
    let subscribers = Arc::clone(&events.subscribers);
    let _all = subscribers
        .acquire_many_owned(MAX_STREAMS_OF_CLIENTS as u32)
        .await
        .unwrap();
    assert_eq!(events.subscribers(), MAX_STREAMS_OF_CLIENTS);
    assert_eq!(subscribe(&events).await, Some(Code::ResourceExhausted));
    assert_eq!(subscribe(&events.for_this_node()).await, None);
    let mut request = Request::new(SubscribeRequest::default());
    request.extensions_mut().insert(Operator);
    events.subscribe(request).await.unwrap();
    events
        .verify_log(Request::new(VerifyLogRequest {}))
        .await
        .unwrap();
}
