//! Tests of commands from clients with a newer contract, and of invalid messages.

use contract::{
    Raw,
    orders::v1::{
        CreateOrderResponse, ExecuteCommandsRequest, ExecuteCommandsResponse,
        execute_commands_request::Command, execute_commands_response::Result,
    },
};
use e2e::Server;
use prost::Message;
use test_support::{order, reason, wrong_fields};
use tokio_stream::StreamExt as _;
use tonic::{Code, Request, codegen::http::uri::PathAndQuery};
use tonic_prost::ProstCodec;

/// Encodes a message with a field that this server does not know.
fn from_a_newer_client(message: &impl Message) -> Raw {
    let mut bytes = message.encode_to_vec();
    prost::encoding::string::encode(99, &"as a gift".to_owned(), &mut bytes);
    Raw::decode(&*bytes).unwrap()
}

#[tokio::test]
async fn a_command_that_says_more_than_the_server_knows_is_refused() {
    let server = Server::start().await;
    let mut clients = server.clients().await;
    let mut grpc = tonic::client::Grpc::new(clients.channel.clone());
    grpc.ready().await.unwrap();
    let refused = grpc
        .unary(
            Request::new(from_a_newer_client(&order::create("o", "ann"))),
            PathAndQuery::from_static("/orders.v1.CommandService/CreateOrder"),
            ProstCodec::<Raw, CreateOrderResponse>::default(),
        )
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert_eq!(reason(&refused), "INVALID_FIELD");
    assert_eq!(wrong_fields(&refused), ["99"]);
    assert_eq!(clients.head().await, 0);
}

#[tokio::test]
async fn on_a_stream_it_is_refused_alone() {
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
    let told: Vec<_> = answers
        .map(|answer| match answer.unwrap().result.unwrap() {
            Result::CreateOrder(created) => created.order_id,
            Result::Error(error) => error.message,
            other => panic!("{other:?}"),
        })
        .collect()
        .await;
    let unknown = "99 is a field that this server does not know";
    assert_eq!(told, ["a", unknown, unknown, "c"]);
}

#[tokio::test]
async fn a_message_that_is_none_is_refused_and_its_connection_goes_on() {
    let server = Server::start().await;
    let mut grpc = tonic::client::Grpc::new(server.clients().await.channel);
    for _ in 0..2 {
        grpc.ready().await.unwrap();
        let broken = grpc
            .unary(
                Request::new(Raw::decode(&b"\x0a\x05abc"[..]).unwrap()),
                PathAndQuery::from_static("/orders.v1.CommandService/CreateOrder"),
                ProstCodec::<Raw, CreateOrderResponse>::default(),
            )
            .await
            .unwrap_err();
        assert_eq!(broken.code(), Code::InvalidArgument);
        assert_eq!(wrong_fields(&broken), ["request"]);
    }
}
