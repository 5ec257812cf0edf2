//! Tests of the health and reflection services, which generic clients need.

use e2e::Server;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_reflection::pb::{v1, v1alpha};

use crate::health::{Watch, wait_until_serving};

const SERVICES: [&str; 4] = [
    "orders.v1.CommandService",
    "orders.v1.EventService",
    "orders.v1.ProjectionService",
    "orders.v1.QueryService",
];

#[tokio::test]
async fn every_service_is_serving() {
    let server = Server::start().await;
    let clients = server.clients().await;
    for service in SERVICES.into_iter().chain([""]) {
        wait_until_serving(&clients, service).await;
    }
}

/// Writes the test of one version of reflection. The versions have the same messages, as types of
/// their own.
macro_rules! reflection_lists_every_service {
    ($test:ident, $version:ident) => {
        #[tokio::test]
        async fn $test() {
            use $version::{
                ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
                server_reflection_request::MessageRequest,
                server_reflection_response::MessageResponse,
            };
            let server = Server::start().await;
            let mut client = ServerReflectionClient::new(server.clients().await.channel);
            let request = ServerReflectionRequest {
                host: String::new(),
                message_request: Some(MessageRequest::ListServices(String::new())),
            };
            let answers = client.server_reflection_info(tokio_stream::iter([request]));
            let mut answers = answers.await.unwrap().into_inner();
            let answer = answers.message().await.unwrap().unwrap();
            let Some(MessageResponse::ListServicesResponse(list)) = answer.message_response else {
                panic!("{answer:?}")
            };
            let names: Vec<_> = list.service.into_iter().map(|it| it.name).collect();
            for service in SERVICES.into_iter().chain(["grpc.health.v1.Health"]) {
                assert!(
                    names.iter().any(|it| it == service),
                    "{service} in {names:?}"
                );
            }
        }
    };
}

reflection_lists_every_service!(reflection_v1_lists_every_service, v1);
reflection_lists_every_service!(reflection_v1alpha_lists_every_service, v1alpha);

#[tokio::test]
async fn health_reports_not_serving_during_the_shutdown() {
    let mut server = Server::start().await;
    let clients = server.clients().await;
    let mut watch = Watch::start(&clients, SERVICES[0]).await;
    assert_eq!(watch.next().await, Some(ServingStatus::Serving));
    let reported = async {
        let status = watch.next().await;
        assert_eq!(watch.next().await, None, "the watch does not delay the end");
        status
    };
    let ((), status) = tokio::join!(server.stop(), reported);
    assert_eq!(status, Some(ServingStatus::NotServing));
}
