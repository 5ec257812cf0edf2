//! Tests of the limits on connections.

use std::time::Duration;

use contract::orders::v1::GetHeadRequest;
use e2e::{Clients, Node, Server};
use h2::client;
use server::settings::{Limits, Roles};
use test_support::{DEADLINE, request::follow, wait_until};
use tokio::{io::AsyncWriteExt as _, time::timeout};

use super::{assert_serves, connect, start, wait_until_closed};
use crate::raw::{Raw, framed, request};

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_without_a_complete_request_is_closed() {
    let server = start(Limits {
        patience: Duration::from_secs(2),
        ..Limits::default()
    })
    .await;
    let mut connections = Vec::new();
    for sent in ["", "P", "PRI * HTTP/2.0\r\n\r\nSM", "GET / HTTP/1.1\r\n"] {
        let mut connection = connect(&server).await;
        connection.write_all(sent.as_bytes()).await.unwrap();
        connections.push(connection);
    }
    for connection in connections {
        wait_until_closed(connection).await;
    }
    // A connection that has sent a request may stay silent.
    let mut clients = server.clients().await;
    let mut stream = clients.subscribe(follow(0)).await.unwrap();
    stream.response().await;
    let silence = timeout(Duration::from_secs(1), stream.message()).await;
    assert!(silence.is_err(), "{silence:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_past_the_limit_are_closed_until_another_one_ends() {
    let server = start(Limits {
        connections: 3,
        // The long timeout excludes that a connection closes for silence.
        patience: 10 * DEADLINE,
        ..Limits::default()
    })
    .await;
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(server.clients().await);
    }
    // The operating system accepts the connection before the server closes it.
    wait_until_closed(connect(&server).await).await;
    held[0].get_head(GetHeadRequest {}).await.unwrap();
    held.pop();
    wait_until(
        "a closed connection frees its place",
        async || match Clients::connect(&server.url()).await {
            Ok(mut clients) => clients.get_head(GetHeadRequest {}).await.is_ok(),
            Err(_) => false,
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_closes_at_its_age_and_its_client_connects_again() {
    let server = Server::of(Node {
        roles: Roles::ALL,
        max_connection_age: Some(Duration::from_millis(200)),
        ..Node::default()
    })
    .await;
    let socket = connect(&server).await;
    let mut raw = Raw::over(socket, &client::Builder::new()).await;
    let head = framed(&GetHeadRequest {});
    let call = request("/orders.v1.EventService/GetHead", None);
    raw.call(call, head).await.unwrap();
    let closed = timeout(DEADLINE, raw.connection).await;
    closed.expect("the connection stays").unwrap().unwrap();
    assert_serves(&server).await;
}
