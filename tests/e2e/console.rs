//! Tests of the console's files, of the origins and hosts of its page, and of what it learns about
//! its token. `clients/typescript` tests the page in a real browser.

use std::fs;

use contract::orders::v1::CreateOrderRequest;
use e2e::{Node, Server};
use prost::Message as _;
use reqwest::{Client, Response, StatusCode};
use serde_json::{Value, json};
use server::settings::{Credentials, Jwt, Roles};
use test_support::{Issuer, order};
use tonic::Code;

async fn start() -> Server {
    Server::of(Node {
        roles: Roles::ALL,
        console: true,
        ..Node::default()
    })
    .await
}

async fn get(server: &Server, path: &str, headers: &[(&str, &str)]) -> Response {
    let client = Client::builder().http1_only().build().unwrap();
    let mut request = client.get(format!("{}{path}", server.url()));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.send().await.unwrap()
}

fn header<'a>(answer: &'a Response, name: &str) -> &'a str {
    let value = answer.headers().get(name);
    value.map_or("", |value| value.to_str().unwrap())
}

async fn json_of(answer: Response) -> Value {
    serde_json::from_str(&answer.text().await.unwrap()).unwrap()
}

/// Creates an order as a page of `origin` that has reached the server by the name `host`. Returns
/// whether the server took the command.
async fn creates(server: &Server, host: &str, origin: &str) -> bool {
    let bytes = CreateOrderRequest::encode_to_vec(&order::create("o", "ann"));
    let length = u32::try_from(bytes.len()).unwrap().to_be_bytes();
    let client = Client::builder().http1_only().build().unwrap();
    let url = format!("{}/orders.v1.CommandService/CreateOrder", server.url());
    let answer = client
        .post(url)
        .header("content-type", "application/grpc-web+proto")
        .header("host", host)
        .header("origin", origin)
        .body([&[0], &length[..], &bytes].concat())
        .send()
        .await
        .unwrap();
    let denied = (Code::PermissionDenied as i32).to_string();
    let is_refused = header(&answer, "grpc-status") == denied;
    let head = server.clients().await.head().await;
    assert_eq!(head, u64::from(!is_refused), "{host} {origin}");
    !is_refused
}

#[tokio::test]
async fn a_browser_gets_the_page_at_each_view_with_strict_headers() {
    let server = start().await;
    for path in ["/", "/orders", "/orders/o-1?q=a", "/customers/ann", "/new"] {
        let answer = get(&server, path, &[]).await;
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        assert_eq!(header(&answer, "content-type"), "text/html; charset=utf-8");
        let policy = header(&answer, "content-security-policy");
        for rule in [
            "default-src 'none'",
            "script-src 'self'",
            "frame-ancestors 'none'",
        ] {
            assert!(policy.split("; ").any(|it| it == rule), "{policy}");
        }
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(header(&answer, "x-content-type-options"), "nosniff");
        assert_eq!(header(&answer, "referrer-policy"), "no-referrer");
        assert!(answer.text().await.unwrap().contains("/app.js"));
    }
    let script = get(&server, "/app.js", &[]).await;
    assert_eq!(
        header(&script, "content-type"),
        "text/javascript; charset=utf-8"
    );
}

#[tokio::test]
async fn a_file_is_sent_compressed_and_only_once() {
    let server = start().await;
    let whole = get(&server, "/app.js", &[]).await;
    let etag = header(&whole, "etag").to_owned();
    let whole = whole.bytes().await.unwrap();
    let zipped = get(&server, "/app.js", &[("accept-encoding", "br, gzip")]).await;
    assert_eq!(header(&zipped, "content-encoding"), "gzip");
    assert!(zipped.bytes().await.unwrap().len() < whole.len() / 2);
    let again = get(&server, "/app.js", &[("if-none-match", &etag)]).await;
    assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
    assert!(again.bytes().await.unwrap().is_empty());
}

#[tokio::test]
async fn other_paths_are_answered_as_without_the_console() {
    let server = start().await;
    for path in [
        "/orders.v1.QueryService/GetOrder",
        "/secret",
        "/../app.js/x",
    ] {
        let answer = get(&server, path, &[]).await;
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{path}");
    }
    assert_eq!(server.clients().await.create("o").await, 1);
}

#[tokio::test]
async fn without_the_console_there_is_no_page_and_no_origin_of_its_own() {
    let server = Server::start().await;
    for path in ["/", "/app.js", "/access.json"] {
        let answer = get(&server, path, &[]).await;
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{path}");
    }
    let host = server.url().replace("http://", "");
    assert!(!creates(&server, &host, &server.url()).await);
}

#[tokio::test]
async fn the_page_itself_calls_and_pages_of_other_origins_and_hosts_do_not() {
    for (host, origin, is_taken) in [
        ("127.0.0.1:50051", "http://127.0.0.1:50051", true),
        ("localhost:50051", "http://localhost:50051", true),
        ("[::1]:50051", "http://[::1]:50051", true),
        ("127.0.0.1:50051", "https://127.0.0.1:50051", false),
        ("127.0.0.1:50051", "http://127.0.0.1:8080", false),
        ("127.0.0.1:50051", "http://localhost:50051", false),
        ("127.0.0.1:50051", "null", false),
        // The name of a foreign page that points at this machine (DNS rebinding).
        ("evil.example:50051", "http://evil.example:50051", false),
        (
            "localhost.evil.example",
            "http://localhost.evil.example",
            false,
        ),
    ] {
        let server = start().await;
        assert_eq!(
            creates(&server, host, origin).await,
            is_taken,
            "{host} {origin}"
        );
    }
}

#[tokio::test]
async fn the_page_is_not_served_under_a_foreign_name() {
    let server = start().await;
    for path in ["/", "/app.js", "/access.json"] {
        let answer = get(&server, path, &[("host", "evil.example")]).await;
        assert_eq!(answer.status(), StatusCode::MISDIRECTED_REQUEST, "{path}");
    }
    let behind_a_proxy = Server::of(Node {
        roles: Roles::ALL,
        console: true,
        origins: vec!["https://orders.example".to_owned()],
        ..Node::default()
    })
    .await;
    let answer = get(&behind_a_proxy, "/", &[("host", "orders.example")]).await;
    assert_eq!(answer.status(), StatusCode::OK);
}

#[tokio::test]
async fn the_page_learns_the_roles_of_its_token_and_the_services_of_the_node() {
    let open = start().await;
    let answer = json_of(get(&open, "/access.json", &[]).await).await;
    assert_eq!(answer["credentials"], false);
    assert_eq!(
        answer["roles"],
        json!(["command", "query", "subscribe", "operate"])
    );
    let services = answer["services"].as_array().unwrap();
    assert!(
        services.contains(&json!("orders.v1.QueryService")),
        "{services:?}"
    );

    let issuer = Issuer::new("key-1");
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("keys.json");
    fs::write(&keys, issuer.keys().to_string()).unwrap();
    let jwt = Jwt {
        keys,
        issuer: Issuer::ISSUER.to_owned(),
        audience: Issuer::AUDIENCE.to_owned(),
        roles_claim: "roles".to_owned(),
    };
    let closed = Server::of(Node {
        roles: Roles::ALL,
        console: true,
        credentials: Some(Credentials {
            tokens: None,
            jwt: Some(jwt),
        }),
        ..Node::default()
    })
    .await;
    let page = get(&closed, "/", &[]).await;
    assert_eq!(page.status(), StatusCode::OK);
    for shown in ["", "Bearer wrong"] {
        let answer = get(&closed, "/access.json", &[("authorization", shown)]).await;
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    }
    let token = issuer.sign(&Issuer::claims(&["query", "operate"], 600));
    let shown = format!("Bearer {token}");
    let answer = get(&closed, "/access.json", &[("authorization", &shown)]).await;
    assert_eq!(header(&answer, "cache-control"), "no-store");
    let answer = json_of(answer).await;
    assert_eq!(answer["credentials"], true);
    assert_eq!(answer["roles"], json!(["query", "operate"]));
}
