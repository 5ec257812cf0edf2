//! Tests of authorization for every method, with tokens and JWTs.

use std::{fs, path::Path};

use contract::orders::v1::*;
use e2e::{Clients, Node, Server};
use http::uri::PathAndQuery;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};
use server::settings::{Caller, Credentials, Jwt, Roles};
use tempfile::TempDir;
use test_support::{DEADLINE, Issuer, eventually, order, reason};
use tokio::time::timeout;
use tonic::{Code, Request, Status, Streaming, client::Grpc};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_prost::ProstCodec;

/// Starts a node that accepts the JWTs of an issuer and reads its keys from a file.
async fn start(keys: &Value) -> (Server, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    write(&folder.path().join("keys.json"), keys);
    let node = Node {
        roles: Roles::ALL,
        credentials: Some(Credentials {
            tokens: None,
            jwt: Some(Jwt {
                keys: folder.path().join("keys.json"),
                issuer: Issuer::ISSUER.to_owned(),
                audience: Issuer::AUDIENCE.to_owned(),
            }),
        }),
        ..Node::default()
    };
    (Server::of(node).await, folder)
}

/// Replaces a file atomically, as a rotation of secrets does.
fn write(file: &Path, contents: &Value) {
    let beside = file.with_extension("new");
    fs::write(&beside, contents.to_string()).unwrap();
    fs::rename(beside, file).unwrap();
}

async fn connect(server: &Server, token: &str) -> Clients {
    let connected = Clients::connect_as(&server.url(), &Caller::default(), token).await;
    connected.unwrap()
}

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

fn may(role: &str, path: &str) -> bool {
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
async fn each_method_is_for_its_roles_and_for_nobody_else() {
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
            let expected = role != "admin" && may(role, path);
            assert_eq!(!denied, expected, "{role} {path}: {answer:?}");
            if let Err(status) = answer {
                assert_ne!(status.code(), Code::Unauthenticated, "{role} {path}");
            }
        }
        let unknown = call(&clients, "/orders.v1.QueryService/Other").await;
        assert_eq!(unknown.unwrap_err().code(), Code::PermissionDenied);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_credential_there_is_health_and_nothing_else() {
    let issuer = Issuer::new("key-1");
    let (server, _folder) = start(&issuer.keys()).await;
    for token in ["", "wrong", "wrong.wrong.wrong"] {
        let clients = connect(&server, token).await;
        let mut refused = methods();
        // The server rejects unknown methods like known ones.
        refused.push("/orders.v1.QueryService/Other".to_owned());
        refused.push("/other.v1.Service/Method".to_owned());
        let mut told = Vec::new();
        for path in &refused {
            let status = call(&clients, path).await.unwrap_err();
            assert_eq!(status.code(), Code::Unauthenticated, "{path}: {status:?}");
            assert_eq!(reason(&status), "UNAUTHENTICATED");
            told.push(status.message().to_owned());
        }
        told.dedup();
        assert_eq!(told.len(), 1, "{told:?}");
        let mut health = HealthClient::new(clients.channel.clone());
        health.check(HealthCheckRequest::default()).await.unwrap();
    }
}

/// Returns `claims` with the claim `name` replaced.
fn but(mut claims: Value, name: &str, value: Value) -> Value {
    claims[name] = value;
    claims
}

#[tokio::test(flavor = "multi_thread")]
async fn a_jwt_is_taken_from_the_issuer_for_us_and_in_time_only() {
    let (issuer, other) = (Issuer::new("key-1"), Issuer::new("key-1"));
    let (server, _folder) = start(&issuer.keys()).await;
    let right = || Issuer::claims(&["command"], 600);
    let code = async |token: String| {
        let create = order::create("o", "ann");
        let created = connect(&server, &token)
            .await
            .commands
            .create_order(create)
            .await;
        created.err().map(|status| status.code())
    };
    let taken = [
        right(),
        but(right(), "aud", json!(["other", Issuer::AUDIENCE])),
        but(right(), "roles", json!(["command", "of somebody else"])),
        but(right(), "nbf", json!(1)),
        but(right(), "exp", json!(99_999_999_999.5)),
    ];
    for claims in taken {
        let code = code(issuer.sign(&claims)).await;
        assert!(
            matches!(code, None | Some(Code::AlreadyExists)),
            "{claims}: {code:?}"
        );
    }
    let refused = [
        Issuer::claims(&["command"], -60),
        but(right(), "iss", json!("https://other.example")),
        but(right(), "iss", Value::Null),
        but(right(), "aud", json!("other")),
        but(right(), "aud", Value::Null),
        but(right(), "exp", Value::Null),
        but(right(), "exp", json!("soon")),
        but(right(), "nbf", json!(u32::MAX)),
        but(right(), "roles", json!("command")),
    ];
    // The last case expires at the largest `u64`.
    for claims in refused
        .into_iter()
        .chain([but(right(), "exp", json!(u64::MAX))])
    {
        let code = code(issuer.sign(&claims)).await;
        assert_eq!(code, Some(Code::Unauthenticated), "{claims}");
    }
    let unauthorized = code(issuer.sign(&but(right(), "roles", json!([])))).await;
    assert_eq!(unauthorized, Some(Code::PermissionDenied));
    assert_eq!(
        code(other.sign(&right())).await,
        Some(Code::Unauthenticated)
    );
    let mut unknown_key = issuer;
    unknown_key.key_id = "key-2";
    assert_eq!(
        code(unknown_key.sign(&right())).await,
        Some(Code::Unauthenticated)
    );
}

/// Encodes base64url without padding (RFC 7515).
fn base64url(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let bits = three
            .iter()
            .fold(0, |bits, byte| bits << 8 | u32::from(*byte));
        let bits = bits << (8 * (3 - three.len()));
        for digit in 0..=three.len() {
            text.push(DIGITS[(bits >> (18 - 6 * digit)) as usize & 63].into());
        }
    }
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn the_maker_of_a_jwt_does_not_choose_how_it_is_checked() {
    let issuer = Issuer::new("key-1");
    let (server, _folder) = start(&issuer.keys()).await;
    let signed = issuer.sign(&Issuer::claims(&["query"], 600));
    let [header, claims, signature] = signed.split('.').collect::<Vec<_>>()[..] else {
        panic!("{signed}");
    };
    let plain = |header: Value| base64url(header.to_string().as_bytes());
    let more = base64url(
        Issuer::claims(&["query", "command"], 600)
            .to_string()
            .as_bytes(),
    );
    // The attack signs with the public key as a shared secret.
    let key = issuer.keys()["keys"][0].to_string();
    let hmac = |secret: &[u8]| {
        let mut header = Header::new(Algorithm::HS256);
        header.kid = Some("key-1".to_owned());
        let claims = Issuer::claims(&["query"], 600);
        encode(&header, &claims, &EncodingKey::from_secret(secret)).unwrap()
    };
    let forged = [
        hmac(key.as_bytes()),
        hmac(b""),
        format!(
            "{}.{claims}.",
            plain(json!({ "alg": "none", "kid": "key-1" }))
        ),
        format!(
            "{}.{claims}.{signature}",
            plain(json!({ "alg": "HS256", "kid": "key-1" }))
        ),
        format!(
            "{}.{claims}.{signature}",
            plain(json!({ "alg": "ES384", "kid": "key-1" }))
        ),
        format!("{header}.{more}.{signature}"),
        format!("{header}.{claims}."),
        format!("{header}.{claims}"),
        format!("{header}.{claims}.{signature}."),
    ];
    let head = async |token: &str| {
        let head = connect(&server, token)
            .await
            .events
            .get_head(GetHeadRequest {})
            .await;
        head.map_err(|status| status.code())
    };
    assert!(head(&signed).await.is_ok());
    for token in forged {
        assert_eq!(
            head(&token).await.unwrap_err(),
            Code::Unauthenticated,
            "{token}"
        );
    }
}

/// Reads a stream to its end and returns the error.
///
/// # Panics
/// Panics if the stream ends without an error, or lasts longer than [`DEADLINE`].
async fn end<T>(stream: &mut Streaming<T>) -> Status {
    let end = async {
        while stream.message().await?.is_some() {}
        panic!("it ends as if it were complete")
    };
    let end: Result<Status, Status> = timeout(DEADLINE, end).await.expect("it goes on");
    end.unwrap_err()
}

#[tokio::test(flavor = "multi_thread")]
async fn new_keys_count_without_a_restart_and_end_the_streams_of_old_ones() {
    let (old, new) = (Issuer::new("old"), Issuer::new("new"));
    let (server, folder) = start(&old.keys()).await;
    let keys = folder.path().join("keys.json");
    let claims = Issuer::claims(&["subscribe", "query", "command"], 600);
    let mut with_old = connect(&server, &old.sign(&claims)).await;
    let mut with_new = connect(&server, &new.sign(&claims)).await;
    let follow = SubscribeRequest {
        follow: true,
        ..SubscribeRequest::default()
    };
    let stream = with_old.events.subscribe(follow).await;
    let mut stream = stream.unwrap().into_inner();
    stream.message().await.unwrap().unwrap();
    let watch = with_old
        .queries
        .watch_orders(WatchOrdersRequest::default())
        .await;
    let mut watch = watch.unwrap().into_inner();
    let (send, requests) = tokio::sync::mpsc::channel::<ExecuteCommandsRequest>(1);
    let requests = tokio_stream::wrappers::ReceiverStream::new(requests);
    let commands = with_old.commands.execute_commands(requests).await;
    let mut commands = commands.unwrap().into_inner();
    assert!(with_new.events.get_head(GetHeadRequest {}).await.is_err());

    write(
        &keys,
        &json!({ "keys": [old.keys()["keys"][0], new.keys()["keys"][0]] }),
    );
    eventually("the new key counts", async || {
        with_new.events.get_head(GetHeadRequest {}).await.ok()
    })
    .await;
    with_old.events.get_head(GetHeadRequest {}).await.unwrap();
    let created = with_new
        .commands
        .create_order(order::create("o", "ann"))
        .await;
    let position = created.unwrap().into_inner().position;
    let mut reached = 0;
    while reached < position {
        reached = stream.message().await.unwrap().unwrap().position;
    }

    write(&keys, &new.keys());
    assert_eq!(reason(&end(&mut stream).await), "UNAUTHENTICATED");
    assert_eq!(reason(&end(&mut watch).await), "UNAUTHENTICATED");
    assert_eq!(reason(&end(&mut commands).await), "UNAUTHENTICATED");
    // The server has stopped reading commands from this stream.
    let closed = timeout(DEADLINE, send.closed()).await;
    closed.expect("it takes commands still");
    let refused = with_old.events.get_head(GetHeadRequest {}).await;
    assert_eq!(refused.unwrap_err().code(), Code::Unauthenticated);
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
        let told = over_grpc_web(&server, wrong).await;
        assert!(told.contains("grpc-status:16"), "{told}");
    }
    let told = over_grpc_web(&server, Some(&token)).await;
    assert!(told.contains("grpc-status:0"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_other_kinds_are_left_to_those_who_know_them() {
    let issuer = Issuer::new("key-1");
    let mut keys = issuer.keys();
    let all = keys["keys"].as_array_mut().unwrap();
    all.insert(
        0,
        json!({ "kty": "EC", "crv": "P-521", "x": "AA", "y": "AA", "kid": "a" }),
    );
    all.insert(
        0,
        json!({ "kty": "AKP", "alg": "ML-DSA-44", "pub": "AA", "kid": "b" }),
    );
    all.insert(
        0,
        json!({ "kty": "OKP", "crv": "X25519", "x": "AA", "kid": "c" }),
    );
    let (server, _folder) = start(&keys).await;
    let token = issuer.sign(&Issuer::claims(&["query"], 600));
    let mut clients = connect(&server, &token).await;
    clients.events.get_head(GetHeadRequest {}).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_when_its_jwt_does() {
    let issuer = Issuer::new("key-1");
    let (server, _folder) = start(&issuer.keys()).await;
    // The server tolerates a clock difference of 30 s, so this JWT expires in 2 s.
    let token = issuer.sign(&Issuer::claims(&["subscribe"], -28));
    let mut clients = connect(&server, &token).await;
    let follow = SubscribeRequest {
        follow: true,
        ..SubscribeRequest::default()
    };
    let mut stream = clients.events.subscribe(follow).await.unwrap().into_inner();
    assert_eq!(reason(&end(&mut stream).await), "UNAUTHENTICATED");
}

#[tokio::test(flavor = "multi_thread")]
async fn events_carry_the_subject_that_sent_their_command() {
    let issuer = Issuer::new("key-1");
    let (server, _folder) = start(&issuer.keys()).await;
    let roles = ["command", "query"];
    let named = |subject: Value| issuer.sign(&but(Issuer::claims(&roles, 600), "sub", subject));
    let subjects = [
        (json!("shop@example.org"), "shop@example.org"),
        (json!("line\nbreak"), ""),
        (json!("s".repeat(129)), ""),
        (Value::Null, ""),
    ];
    for (index, (subject, actor)) in subjects.into_iter().enumerate() {
        let mut clients = connect(&server, &named(subject)).await;
        let id = format!("o-{index}");
        clients
            .commands
            .create_order(order::create(&id, "ann"))
            .await
            .unwrap();
        let ship = ExecuteCommandsRequest {
            command: Some(execute_commands_request::Command::CancelOrder(
                CancelOrderRequest {
                    order_id: id.clone(),
                    reason: "late".to_owned(),
                    ..CancelOrderRequest::default()
                },
            )),
        };
        let replies = clients
            .commands
            .execute_commands(tokio_stream::iter([ship]));
        let mut replies = replies.await.unwrap().into_inner();
        while replies.message().await.unwrap().is_some() {}
        let history = GetOrderHistoryRequest { order_id: id };
        let history = clients.events.get_order_history(history).await.unwrap();
        let events = history.into_inner().events;
        let actors: Vec<_> = events.iter().map(|event| &event.actor).collect();
        assert_eq!(actors, [actor, actor]);
    }
}
