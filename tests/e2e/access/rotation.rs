//! Tests of credentials that change or expire during calls.

use contract::orders::v1::*;
use e2e::end_of;
use serde_json::json;
use test_support::{DEADLINE, Issuer, assert_error, assert_refused, request::follow, wait_until};
use tokio::time::timeout;
use tonic::Code;

use super::{connect, start, write};

#[tokio::test(flavor = "multi_thread")]
async fn a_new_key_counts_without_a_restart_and_the_streams_of_a_removed_key_end() {
    let (old, new) = (Issuer::new("old"), Issuer::new("new"));
    let (server, folder) = start(&old.keys()).await;
    let keys = folder.path().join("keys.json");
    let claims = Issuer::claims(&["subscribe", "query", "command"], 600);
    let mut with_old = connect(&server, &old.sign(&claims)).await;
    let mut with_new = connect(&server, &new.sign(&claims)).await;
    let mut stream = with_old.subscribe(follow(0)).await.unwrap();
    stream.response().await;
    let watch = WatchOrdersRequest::default();
    let watch = with_old.watch_orders(watch).await.unwrap();
    let (send, requests) = tokio::sync::mpsc::channel::<ExecuteCommandsRequest>(1);
    let requests = tokio_stream::wrappers::ReceiverStream::new(requests);
    let commands = with_old.commands.execute_commands(requests).await;
    let commands = commands.unwrap().into_inner();
    with_new.get_head(GetHeadRequest {}).await.unwrap_err();

    let both = json!({ "keys": [old.keys()["keys"][0], new.keys()["keys"][0]] });
    write(&keys, &both);
    wait_until("the new key counts", async || {
        with_new.get_head(GetHeadRequest {}).await.is_ok()
    })
    .await;
    with_old.head().await;
    let position = with_new.create("o").await;
    stream.up_to(position).await;

    write(&keys, &new.keys());
    assert_error(
        &stream.error().await,
        Code::Unauthenticated,
        "UNAUTHENTICATED",
    );
    assert_error(
        &end_of(watch).await,
        Code::Unauthenticated,
        "UNAUTHENTICATED",
    );
    assert_error(
        &end_of(commands).await,
        Code::Unauthenticated,
        "UNAUTHENTICATED",
    );
    // The server has stopped reading commands from this stream.
    let closed = timeout(DEADLINE, send.closed()).await;
    closed.expect("the server closes the stream of commands");
    let refused = with_old.get_head(GetHeadRequest {}).await;
    assert_refused(refused, Code::Unauthenticated, "UNAUTHENTICATED");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_when_its_jwt_expires() {
    let issuer = Issuer::new("key-1");
    let (server, _folder) = start(&issuer.keys()).await;
    // The server tolerates a clock difference of 30 s, so this JWT expires in 2 s.
    let token = issuer.sign(&Issuer::claims(&["subscribe"], -28));
    let mut clients = connect(&server, &token).await;
    let stream = clients.subscribe(follow(0)).await.unwrap();
    assert_error(
        &stream.error().await,
        Code::Unauthenticated,
        "UNAUTHENTICATED",
    );
}
