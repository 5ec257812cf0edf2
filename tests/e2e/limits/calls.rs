//! Tests of the limits on single calls and messages.

use std::time::Duration;

use contract::orders::v1::*;
use e2e::Server;
use server::settings::Limits;
use test_support::{DEADLINE, assert_invalid_fields, assert_refused, order, request};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::{Instant, timeout},
};
use tonic::{Code, Request};

use super::{assert_serves, connect, start};

#[tokio::test(flavor = "multi_thread")]
async fn a_message_of_more_than_4_mib_is_refused_by_the_field_request() {
    let server = Server::start().await;
    let mut clients = server.clients().await;
    let mut create = order::create("o", "ann");
    create.customer_id = "a".repeat(5 << 20);
    let refused = clients.create_order(create.clone()).await;
    assert_invalid_fields(refused, &["request"]);
    let refused = clients.search(&"a".repeat(5 << 20), 0).await;
    assert_invalid_fields(refused, &["request"]);
    let command = ExecuteCommandsRequest {
        command: Some(execute_commands_request::Command::CreateOrder(create)),
    };
    let commands = tokio_stream::iter([command]);
    let answers = clients.commands.execute_commands(commands).await;
    let refused = answers.unwrap().into_inner().message().await;
    assert_invalid_fields(refused, &["request"]);
    assert_serves(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_waits_past_the_time_limit_is_refused() {
    let server = start(Limits {
        call_time: Duration::from_millis(500),
        ..Limits::default()
    })
    .await;
    let mut clients = server.clients().await;
    let refused = clients.get_order(request::order("o", 7)).await;
    assert_refused(refused, Code::ResourceExhausted, "OVERLOADED");
    assert_serves(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_whose_body_stays_incomplete_past_the_time_limit_is_refused() {
    let server = start(Limits {
        call_time: Duration::from_millis(500),
        ..Limits::default()
    })
    .await;
    let mut connection = connect(&server).await;
    let head = "POST /orders.v1.EventService/GetHead HTTP/1.1\r\nhost: localhost\r\n\
        content-type: application/grpc-web+proto\r\ncontent-length: 100\r\n\r\n";
    connection.write_all(head.as_bytes()).await.unwrap();
    connection.write_all(&[0, 0]).await.unwrap();
    let mut answer = String::new();
    let deadline = Instant::now() + DEADLINE;
    while !answer.contains("grpc-status: 8") {
        assert!(Instant::now() < deadline, "{answer:?}");
        let mut bytes = [0; 1024];
        let read = timeout(DEADLINE, connection.read(&mut bytes)).await;
        let read = read.unwrap().unwrap();
        assert!(read > 0, "{answer:?}");
        answer.push_str(&String::from_utf8_lossy(&bytes[..read]));
    }
    assert_serves(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_with_100_kb_of_headers_is_refused() {
    let server = Server::start().await;
    let mut clients = server.clients().await;
    let mut request = Request::new(GetHeadRequest {});
    for index in 0..100 {
        let name = format!("x-flood-{index}").parse::<tonic::metadata::MetadataKey<_>>();
        let value = "a".repeat(1000).parse().unwrap();
        request.metadata_mut().insert(name.unwrap(), value);
    }
    clients.get_head(request).await.unwrap_err();
    assert_serves(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn compressed_messages_are_refused_before_they_are_unpacked() {
    let server = Server::start().await;
    let mut clients = server.clients().await;
    let mut request = Request::new(order::create("o", "ann"));
    let metadata = request.metadata_mut();
    metadata.insert("grpc-encoding", "gzip".parse().unwrap());
    let refused = clients.create_order(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unimplemented);
    assert_serves(&server).await;
}
