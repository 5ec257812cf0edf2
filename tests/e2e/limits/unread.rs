//! Tests that what a client leaves unread waits, and ends neither its connection nor other calls.

use std::future::poll_fn;

use bytes::Bytes;
use contract::orders::v1::*;
use e2e::Server;
use execute_commands_request::Command;
use futures_util::FutureExt as _;
use h2::{SendStream, client};
use http::HeaderName;
use test_support::{assert_refused, order, wait_until};
use tokio::net::TcpStream;
use tonic::{Code, Status};

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

#[tokio::test(flavor = "multi_thread")]
async fn a_call_with_much_metadata_fails_alone() {
    let server = Server::start().await;
    let address = server.url().replace("http://", "");
    let socket = TcpStream::connect(address).await.unwrap();
    let mut client = Raw::over(socket, &client::Builder::new()).await;
    let follow = framed(&SubscribeRequest {
        follow: true,
        ..SubscribeRequest::default()
    });
    let subscribe = request("/orders.v1.EventService/Subscribe", None);
    let mut subscription = client.call(subscribe, follow).await.unwrap().into_body();
    subscription.data().await.unwrap().unwrap();
    for (bytes, code) in [(10_000, None), (20_000, Some("3")), (70_000, Some("3"))] {
        let mut head = request("/orders.v1.EventService/GetHead", None);
        // One value alone could exceed the frame of the client.
        for index in 0..bytes / 1000 {
            let name = format!("x-{index}").parse::<HeaderName>().unwrap();
            let value = "v".repeat(1000 - name.as_str().len());
            head.headers_mut().insert(name, value.parse().unwrap());
        }
        let answer = client.call(head, framed(&GetHeadRequest {})).await.unwrap();
        assert_eq!(status(answer.headers()), code, "{bytes}");
    }
    let mut clients = server.clients().await;
    clients
        .create_order(order::create("o", "ann"))
        .await
        .unwrap();
    subscription.data().await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_deadline_of_a_call_is_an_error_with_its_reason() {
    let server = Server::start().await;
    let address = server.url().replace("http://", "");
    let socket = TcpStream::connect(address).await.unwrap();
    let mut client = Raw::over(socket, &client::Builder::new()).await;
    let get = framed(&GetOrderRequest {
        order_id: "none".to_owned(),
        min_position: 1000,
        ..GetOrderRequest::default()
    });
    let mut call = request("/orders.v1.QueryService/GetOrder", None);
    let timeout = "50m".parse().unwrap();
    call.headers_mut().insert("grpc-timeout", timeout);
    let answer = client.call(call, get).await.unwrap();
    let refused = Status::from_header_map(answer.headers()).unwrap();
    assert_refused(
        Err::<(), _>(refused),
        Code::DeadlineExceeded,
        "DEADLINE_EXCEEDED",
    );
}
