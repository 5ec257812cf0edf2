//! Tests of commands from clients with a newer contract, and of invalid messages.

use contract::{
    Raw,
    orders::v1::{
        CreateOrderResponse, ExecuteCommandsRequest, ExecuteCommandsResponse,
        execute_commands_request::Command, execute_commands_response::Result,
    },
};
use e2e::{Clients, Server};
use prost::Message;
use test_support::{assert_invalid_fields, order};
use tokio_stream::StreamExt as _;
use tonic::{Request, Status, codegen::http::uri::PathAndQuery};
use tonic_prost::ProstCodec;

/// Encodes a message with a field that this server does not know.
fn from_a_newer_client(message: &impl Message) -> Raw {
    let mut bytes = message.encode_to_vec();
    prost::encoding::string::encode(99, &"as a gift".to_owned(), &mut bytes);
    Raw::decode(&*bytes).unwrap()
}

/// Calls `CreateOrder` with the bytes of a message.
async fn create_order(clients: &Clients, message: Raw) -> std::result::Result<(), Status> {
    let mut grpc = tonic::client::Grpc::new(clients.channel.clone());
    grpc.ready().await.unwrap();
    let path = PathAndQuery::from_static("/orders.v1.CommandService/CreateOrder");
    let codec = ProstCodec::<Raw, CreateOrderResponse>::default();
    let created = grpc.unary(Request::new(message), path, codec).await;
    created.map(drop)
}

#[tokio::test]
async fn a_command_with_an_unknown_field_is_refused() {
    let server = Server::start().await;
    let mut clients = server.clients().await;
    let create = from_a_newer_client(&order::create("o", "ann"));
    assert_invalid_fields(create_order(&clients, create).await, &["99"]);
    assert_eq!(clients.head().await, 0);
}

#[tokio::test]
async fn an_unknown_field_in_a_stream_refuses_only_its_command() {
    let server = Server::start().await;
    let command = |id| ExecuteCommandsRequest {
        command: Some(Command::CreateOrder(order::create(id, "ann"))),
    };
    let sent = [
        Raw::decode(&*command("a").encode_to_vec()).unwrap(),
        from_a_newer_client(&command("b")),
        // The stream includes a command that this server does not know.
        from_a_newer_client(&ExecuteCommandsRequest::default()),
        Raw::decode(&*command("c").encode_to_vec()).unwrap(),
    ];
    let mut grpc = tonic::client::Grpc::new(server.clients().await.channel);
    grpc.ready().await.unwrap();
    let answers = grpc
        .streaming(
            Request::new(tokio_stream::iter(sent)),
            PathAndQuery::from_static("/orders.v1.CommandService/ExecuteCommands"),
            ProstCodec::<Raw, ExecuteCommandsResponse>::default(),
        )
        .await
        .unwrap()
        .into_inner();
    let answers: Vec<_> = answers
        .map(|answer| match answer.unwrap().result.unwrap() {
            Result::CreateOrder(created) => created.order_id,
            Result::Error(error) => error.message,
            other => panic!("{other:?}"),
        })
        .collect()
        .await;
    let unknown = "99 is a field that this server does not know";
    assert_eq!(answers, ["a", unknown, unknown, "c"]);
}

#[tokio::test]
async fn an_invalid_message_is_refused_and_its_connection_stays_open() {
    let server = Server::start().await;
    let clients = server.clients().await;
    for _ in 0..2 {
        let invalid = Raw::decode(&b"\x0a\x05abc"[..]).unwrap();
        assert_invalid_fields(create_order(&clients, invalid).await, &["request"]);
    }
}
