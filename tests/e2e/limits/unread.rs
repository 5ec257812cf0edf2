//! Tests that what a client leaves unread waits, and ends neither its connection nor other calls.

use std::future::poll_fn;

use bytes::Bytes;
use contract::orders::v1::*;
use e2e::Server;
use execute_commands_request::Command;
use futures_util::FutureExt as _;
use h2::{SendStream, client};
use test_support::wait_until;
use tokio::net::TcpStream;

use crate::raw::{Raw, framed, request, status};

/// Sends a message again and again, each in a frame of its own, until there is no room.
async fn fill(stream: &mut SendStream<Bytes>, message: &Bytes) -> usize {
    let mut sent = 0;
    loop {
        stream.reserve_capacity(message.len());
        while stream.capacity() >= message.len() {
            stream.send_data(message.clone(), false).unwrap();
            sent += message.len();
            stream.reserve_capacity(message.len());
        }
        match poll_fn(|context| stream.poll_capacity(context)).now_or_never() {
            Some(Some(Ok(_))) => {}
            Some(ended) => panic!("the stream has ended: {ended:?}"),
            None => return sent,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn unread_streams_of_small_commands_wait_and_their_connection_stays() {
    let server = Server::start().await;
    let address = server.url().replace("http://", "");
    let mut builder = client::Builder::new();
    // There is no room for any reply.
    builder.initial_window_size(0);
    let socket = TcpStream::connect(address).await.unwrap();
    let mut client = Raw::over(socket, &builder).await;
    let deliver = framed(&ExecuteCommandsRequest {
        command: Some(Command::DeliverOrder(DeliverOrderRequest {
            order_id: "none".to_owned(),
            ..DeliverOrderRequest::default()
        })),
    });
    assert!(deliver.len() < 20);
    let mut streams = Vec::new();
    for _ in 0..10 {
        let call = request("/orders.v1.CommandService/ExecuteCommands", None);
        streams.push(client.open(call).await.unwrap());
    }
    let mut idle = 0;
    wait_until("the server reads no more", async || {
        let mut sent = 0;
        for (_, stream) in &mut streams {
            sent += fill(stream, &deliver).await;
        }
        idle = if sent == 0 { idle + 1 } else { 0 };
        tokio::task::yield_now().await;
        idle > 100
    })
    .await;
    // A reply needs no window if it is an error.
    let get = framed(&GetOrderRequest {
        order_id: "none".to_owned(),
        ..GetOrderRequest::default()
    });
    let get_order = request("/orders.v1.QueryService/GetOrder", None);
    let answer = client.call(get_order, get).await.unwrap();
    assert_eq!(status(answer.headers()), Some("5"));
    assert!(!client.connection.is_finished());
}
