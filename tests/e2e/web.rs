//! Tests of gRPC-Web as browsers speak it, and of the allowed origins. `clients/typescript` tests
//! with a real browser.

use std::time::Instant;

use contract::orders::v1::{CreateOrderResponse, GetHeadRequest, SubscribeResponse};
use e2e::Server;
use prost::Message;
use reqwest::{Client, Method, Response, StatusCode, header::HeaderMap};
use test_support::{
    DEADLINE, order,
    request::{self, follow},
};
use tonic::Code;

const SHOP: &str = "http://shop.example:8080";

/// Frames a message: the flag 0 (a message, no trailers), the length, and the message.
fn framed(message: &impl Message) -> Vec<u8> {
    let bytes = message.encode_to_vec();
    let length = u32::try_from(bytes.len()).unwrap().to_be_bytes();
    [&[0], &length[..], &bytes].concat()
}

/// Calls a method over HTTP/1.1, as a page of `origin` or without an origin.
async fn call(
    server: &Server,
    method: &str,
    message: &impl Message,
    origin: Option<&str>,
) -> Response {
    call_with(&http1(), server, method, message, origin).await
}

fn http1() -> Client {
    Client::builder().http1_only().build().unwrap()
}

async fn call_with(
    client: &Client,
    server: &Server,
    method: &str,
    message: &impl Message,
    origin: Option<&str>,
) -> Response {
    let mut request = client
        .post(format!("{}/orders.v1.{method}", server.url()))
        .header("content-type", "application/grpc-web+proto")
        .header("x-grpc-web", "1")
        .body(framed(message));
    if let Some(origin) = origin {
        request = request.header("origin", origin);
    }
    request.send().await.unwrap()
}

/// Splits a body into its messages and trailers.
fn unframed(mut body: &[u8]) -> (Vec<&[u8]>, String) {
    let (mut messages, mut trailers) = (Vec::new(), String::new());
    while let [kind, a, b, c, d, rest @ ..] = body {
        let length = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
        let (part, behind) = rest.split_at(length);
        match kind {
            0 => messages.push(part),
            _ => trailers.push_str(std::str::from_utf8(part).unwrap()),
        }
        body = behind;
    }
    (messages, trailers)
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers
        .get(name)
        .map(|value| value.to_str().unwrap())
        .unwrap_or_default()
}

#[tokio::test]
async fn a_page_of_an_allowed_origin_calls_and_reads_the_answer() {
    let server = Server::start_for_pages(&["https://other.example", SHOP]).await;
    let create = order::create("o", "ann");
    let answer = call(&server, "CommandService/CreateOrder", &create, Some(SHOP)).await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(
        header(answer.headers(), "access-control-allow-origin"),
        SHOP
    );
    let body = answer.bytes().await.unwrap();
    let (messages, trailers) = unframed(&body);
    let created = CreateOrderResponse::decode(messages[0]).unwrap();
    assert_eq!((created.order_id.as_str(), created.position), ("o", 1));
    assert!(trailers.contains("grpc-status:0"), "{trailers}");
}

#[tokio::test]
async fn a_page_can_read_the_details_of_an_error() {
    let server = Server::start_for_pages(&[SHOP]).await;
    let unknown = request::order("unknown", 0);
    let answer = call(&server, "QueryService/GetOrder", &unknown, Some(SHOP)).await;
    let exposed = header(answer.headers(), "access-control-expose-headers").to_owned();
    for name in ["grpc-status", "grpc-message", "grpc-status-details-bin"] {
        assert!(exposed.contains(name), "{exposed}");
    }
    assert_eq!(
        header(answer.headers(), "grpc-status"),
        (Code::NotFound as i32).to_string()
    );
    assert!(!header(answer.headers(), "grpc-status-details-bin").is_empty());
}

#[tokio::test]
async fn a_preflight_request_is_answered_with_the_allowed_origin_method_and_headers() {
    let server = Server::start_for_pages(&[SHOP]).await;
    let ask = async |origin: &str| {
        let url = format!("{}/orders.v1.EventService/GetHead", server.url());
        Client::new()
            .request(Method::OPTIONS, url)
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "content-type,x-grpc-web")
            .send()
            .await
            .unwrap()
    };
    let answer = ask(SHOP).await;
    assert_eq!(
        header(answer.headers(), "access-control-allow-origin"),
        SHOP
    );
    assert_eq!(
        header(answer.headers(), "access-control-allow-methods"),
        "POST"
    );
    let allowed = header(answer.headers(), "access-control-allow-headers");
    for name in ["content-type", "x-grpc-web", "grpc-timeout", "traceparent"] {
        assert!(allowed.contains(name), "{allowed}");
    }
    let answer = ask("http://evil.example").await;
    assert_eq!(header(answer.headers(), "access-control-allow-origin"), "");
}

#[tokio::test]
async fn a_call_from_another_origin_is_refused_and_has_no_effect() {
    for (origins, origin) in [
        (&[][..], SHOP),
        (&[SHOP], "http://evil.example"),
        (&[SHOP], "null"),
        // A page whose host name resolves to this server (DNS rebinding) sends the origin of the
        // server itself.
        (&[], "same"),
    ] {
        let server = Server::start_for_pages(origins).await;
        let origin = if origin == "same" {
            server.url()
        } else {
            origin.to_owned()
        };
        let create = order::create("o", "ann");
        let answer = call(
            &server,
            "CommandService/CreateOrder",
            &create,
            Some(&origin),
        )
        .await;
        assert_eq!(
            header(answer.headers(), "grpc-status"),
            (Code::PermissionDenied as i32).to_string()
        );
        assert_eq!(header(answer.headers(), "access-control-allow-origin"), "");
        assert_eq!(
            server.clients().await.head().await,
            0,
            "{origins:?} {origin}"
        );
    }
}

#[tokio::test]
async fn a_page_follows_the_log_until_the_server_shuts_down() {
    let mut server = Server::start_for_pages(&[SHOP]).await;
    server.clients().await.create("o").await;
    let mut answer = call(&server, "EventService/Subscribe", &follow(0), Some(SHOP)).await;
    let mut body = answer.chunk().await.unwrap().unwrap().to_vec();
    server.stop().await;
    while let Some(chunk) = answer.chunk().await.unwrap() {
        body.extend(chunk);
    }
    let (messages, trailers) = unframed(&body);
    let first = SubscribeResponse::decode(messages[0]).unwrap();
    assert_eq!(first.events.len(), 1);
    let unavailable = format!("grpc-status:{}", Code::Unavailable as i32);
    assert!(trailers.contains(&unavailable), "{trailers}");
    assert!(trailers.contains("grpc-status-details-bin"), "{trailers}");
}

#[tokio::test]
async fn a_health_check_from_another_origin_is_refused() {
    let server = Server::start().await;
    let url = format!("{}/grpc.health.v1.Health/Check", server.url());
    let answer = http1()
        .post(url)
        .header("content-type", "application/grpc-web+proto")
        .header("origin", SHOP)
        .body(vec![0; 5])
        .send()
        .await
        .unwrap();
    let refused = (Code::PermissionDenied as i32).to_string();
    assert_eq!(header(answer.headers(), "grpc-status"), refused);
}

#[tokio::test]
async fn a_grpc_web_call_without_an_origin_is_answered() {
    let server = Server::start().await;
    let answer = call(&server, "EventService/GetHead", &GetHeadRequest {}, None).await;
    let body = answer.bytes().await.unwrap();
    let (messages, trailers) = unframed(&body);
    assert_eq!(messages.len(), 1);
    assert!(trailers.contains("grpc-status:0"), "{trailers}");
}

#[tokio::test]
async fn an_idle_http1_connection_does_not_delay_the_shutdown() {
    let mut server = Server::start().await;
    let client = http1();
    let method = "EventService/GetHead";
    let answer = call_with(&client, &server, method, &GetHeadRequest {}, None).await;
    // The client reads the whole body, so that the connection stays open for the next call.
    answer.bytes().await.unwrap();
    let began = Instant::now();
    server.stop().await;
    assert!(began.elapsed() < DEADLINE / 2, "that was the drain timeout");
    drop(client);
}

#[tokio::test]
async fn a_request_other_than_grpc_is_a_bad_request() {
    let server = Server::start().await;
    let answer = reqwest::get(server.url()).await.unwrap();
    assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
}
