//! Tests of the roles that each method needs.

use e2e::{Clients, Server};
use http::uri::PathAndQuery;
use test_support::{Issuer, assert_refused};
use tonic::{Code, Request, Status, client::Grpc};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_prost::ProstCodec;

use super::{connect, start};

/// Returns the paths of all methods of the contract and of reflection.
fn methods() -> Vec<String> {
    let methods = test_support::methods(&[
        contract::FILE_DESCRIPTOR_SET,
        tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
        tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
    ]);
    methods.into_iter().map(|(path, _)| path).collect()
}

/// Calls a method with an empty message, and returns whether the server opens the answer or rejects
/// the call.
async fn call(clients: &Clients, path: &str) -> Result<(), Status> {
    let mut grpc = Grpc::new(clients.channel.clone());
    grpc.ready().await.unwrap();
    let path = PathAndQuery::try_from(path).unwrap();
    let codec = ProstCodec::<(), ()>::default();
    let answer = grpc.server_streaming(Request::new(()), path, codec).await;
    answer.map(|_| ())
}

/// Returns whether the role permits the method.
fn permits(role: &str, path: &str) -> bool {
    let (service, method) = path[1..].split_once('/').unwrap();
    match (service, method) {
        ("orders.v1.CommandService", _) => role == "command",
        ("orders.v1.EventService", "GetHead") => true,
        ("orders.v1.EventService", "GetOrderHistory") => ["query", "subscribe"].contains(&role),
        ("orders.v1.EventService", "VerifyLog") => ["operate", "subscribe"].contains(&role),
        ("orders.v1.EventService", _) => role == "subscribe",
        ("orders.v1.QueryService", _) => role == "query",
        ("orders.v1.ProjectionService", "GetStatus") => ["query", "operate"].contains(&role),
        ("orders.v1.ProjectionService", _) => role == "operate",
        _ => true,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_method_is_permitted_to_its_roles_only() {
    let issuer = Issuer::new("key-1");
    let (server, _folder) = start(&issuer.keys()).await;
    let methods = methods();
    assert!(methods.len() >= 22, "{methods:?}");
    for role in ["command", "query", "subscribe", "operate", "admin"] {
        let token = issuer.sign(&Issuer::claims(&[role], 600));
        let clients = connect(&server, &token).await;
        for path in &methods {
            let answer = call(&clients, path).await;
            let denied = matches!(&answer, Err(status) if status.code() == Code::PermissionDenied);
            let expected = role != "admin" && permits(role, path);
            assert_eq!(!denied, expected, "{role} {path}: {answer:?}");
            if let Err(status) = answer {
                assert_ne!(status.code(), Code::Unauthenticated, "{role} {path}");
            }
        }
        let unknown = call(&clients, "/orders.v1.QueryService/Other").await;
        assert_refused(unknown, Code::PermissionDenied, "PERMISSION_DENIED");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_without_a_valid_credential_is_refused_except_for_health() {
    let issuer = Issuer::new("key-1");
    let (server, _folder) = start(&issuer.keys()).await;
    for token in ["", "wrong", "wrong.wrong.wrong"] {
        let clients = connect(&server, token).await;
        let mut refused = methods();
        // The server rejects unknown methods like known ones.
        refused.push("/orders.v1.QueryService/Other".to_owned());
        refused.push("/other.v1.Service/Method".to_owned());
        let mut messages = Vec::new();
        for path in &refused {
            let answer = call(&clients, path).await;
            let status = assert_refused(answer, Code::Unauthenticated, "UNAUTHENTICATED");
            messages.push(status.message().to_owned());
        }
        messages.dedup();
        assert_eq!(messages.len(), 1, "{messages:?}");
        let mut health = HealthClient::new(clients.channel.clone());
        health.check(HealthCheckRequest::default()).await.unwrap();
    }
}

/// Calls `GetHead` with gRPC-Web over HTTP/1.1 as a web page does, and returns the gRPC status.
async fn over_grpc_web(server: &Server, token: Option<&str>) -> String {
    let client = reqwest::Client::builder().http1_only().build().unwrap();
    let mut request = client
        .post(format!("{}/orders.v1.EventService/GetHead", server.url()))
        .header("content-type", "application/grpc-web+proto")
        .body(vec![0; 5]);
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    let answer = request.send().await.unwrap();
    let status = answer.headers().get("grpc-status").cloned();
    let body = String::from_utf8_lossy(&answer.bytes().await.unwrap()).into_owned();
    // The status is in the headers if there is no message, or else at the end of the body.
    status.map_or(body, |status| {
        format!("grpc-status:{}", status.to_str().unwrap())
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn grpc_web_needs_the_same_credentials() {
    let issuer = Issuer::new("key-1");
    let (server, _folder) = start(&issuer.keys()).await;
    let token = issuer.sign(&Issuer::claims(&["query"], 600));
    for wrong in [None, Some("wrong")] {
        let answer = over_grpc_web(&server, wrong).await;
        assert!(answer.contains("grpc-status:16"), "{answer}");
    }
    let answer = over_grpc_web(&server, Some(&token)).await;
    assert!(answer.contains("grpc-status:0"), "{answer}");
}
