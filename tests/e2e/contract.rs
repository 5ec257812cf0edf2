//! Tests of the health and reflection services, which generic clients need.

use e2e::Server;
use test_support::eventually;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use tonic_reflection::pb::{v1, v1alpha};

const SERVICES: [&str; 4] = [
    "orders.v1.CommandService",
    "orders.v1.EventService",
    "orders.v1.ProjectionService",
    "orders.v1.QueryService",
];

#[tokio::test]
async fn every_service_is_serving() {
    let server = Server::start().await;
    let mut health = HealthClient::new(server.clients().await.channel);
    for service in SERVICES.into_iter().chain([""]) {
        let request = HealthCheckRequest {
            service: service.into(),
        };
        eventually(format!("{service} is serving"), async || {
            let status = health.check(request.clone()).await.unwrap().into_inner();
            (status.status() == ServingStatus::Serving).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn reflection_lists_every_service_in_both_versions() {
    let server = Server::start().await;
    let channel = server.clients().await.channel;

    let list = v1::server_reflection_request::MessageRequest::ListServices(String::new());
    let request = v1::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(list),
    };
    let mut client = v1::server_reflection_client::ServerReflectionClient::new(channel.clone());
    let stream = client
        .server_reflection_info(tokio_stream::iter([request]))
        .await
        .unwrap();
    let answer = stream
        .into_inner()
        .message()
        .await
        .unwrap()
        .unwrap()
        .message_response
        .unwrap();
    let v1::server_reflection_response::MessageResponse::ListServicesResponse(listed) = answer
    else {
        panic!("{answer:?}")
    };
    let new: Vec<_> = listed
        .service
        .into_iter()
        .map(|service| service.name)
        .collect();

    let list = v1alpha::server_reflection_request::MessageRequest::ListServices(String::new());
    let request = v1alpha::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(list),
    };
    let mut client = v1alpha::server_reflection_client::ServerReflectionClient::new(channel);
    let stream = client
        .server_reflection_info(tokio_stream::iter([request]))
        .await
        .unwrap();
    let answer = stream
        .into_inner()
        .message()
        .await
        .unwrap()
        .unwrap()
        .message_response
        .unwrap();
    let v1alpha::server_reflection_response::MessageResponse::ListServicesResponse(listed) = answer
    else {
        panic!("{answer:?}")
    };
    let old: Vec<_> = listed
        .service
        .into_iter()
        .map(|service| service.name)
        .collect();

    for service in SERVICES.into_iter().chain(["grpc.health.v1.Health"]) {
        assert!(
            new.iter().any(|name| name == service),
            "{service} in {new:?}"
        );
        assert!(
            old.iter().any(|name| name == service),
            "{service} in {old:?}"
        );
    }
}

#[tokio::test]
async fn health_says_that_it_is_shutting_down_before_it_is_gone() {
    let mut server = Server::start().await;
    let mut health = HealthClient::new(server.clients().await.channel);
    let request = HealthCheckRequest {
        service: SERVICES[0].into(),
    };
    let mut watch = health.watch(request).await.unwrap().into_inner();
    assert_eq!(
        watch.message().await.unwrap().unwrap().status(),
        ServingStatus::Serving
    );
    let told = async {
        let status = watch.message().await.unwrap().unwrap().status();
        assert!(
            watch.message().await.unwrap().is_none(),
            "nobody waits for those who watch"
        );
        status
    };
    let ((), status) = tokio::join!(server.stop(), told);
    assert_eq!(status, ServingStatus::NotServing);
}
