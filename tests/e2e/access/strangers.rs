//! Tests of the limits on clients without a credential, and of clients that have lost theirs. They
//! drive bare HTTP/2, to send and leave unread whatever a hostile client may.

use std::time::Duration;

use contract::orders::v1::*;
use e2e::{Clients, Server};
use h2::{Reason, client};
use http::Method;
use server::settings::Limits;
use tempfile::TempDir;
use test_support::{DEADLINE, Issuer, assert_refused, eventually, order};
use tokio::{io::AsyncReadExt as _, net::TcpStream, time::timeout};
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;

use super::{connect, start_with, write};
use crate::raw::{Raw, framed, request, status};

const CHECK: &str = "/grpc.health.v1.Health/Check";
const WATCH: &str = "/grpc.health.v1.Health/Watch";
const GET_HEAD: &str = "/orders.v1.EventService/GetHead";

/// A node that accepts the JWTs of an issuer.
struct Secured {
    server: Server,
    issuer: Issuer,
    folder: TempDir,
}

impl Secured {
    async fn start(limits: Limits) -> Self {
        let issuer = Issuer::new("key-1");
        let (server, folder) = start_with(&issuer.keys(), limits).await;
        Self {
            server,
            issuer,
            folder,
        }
    }

    fn token(&self, roles: &[&str]) -> String {
        self.issuer.sign(&Issuer::claims(roles, 600))
    }

    async fn clients(&self, roles: &[&str]) -> Clients {
        connect(&self.server, &self.token(roles)).await
    }

    async fn socket(&self) -> TcpStream {
        let address = self.server.url().replace("http://", "");
        TcpStream::connect(address).await.unwrap()
    }

    async fn connect(&self) -> Raw {
        Raw::over(self.socket().await, &client::Builder::new()).await
    }
}

/// The codes of gRPC that the tests meet.
const RESOURCE_EXHAUSTED: Option<&str> = Some("8");
const NOT_FOUND: Option<&str> = Some("5");
const OUT_OF_RANGE: Option<&str> = Some("11");
const UNAUTHENTICATED: Option<&str> = Some("16");

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_watches_the_health_on_few_streams() {
    let secured = Secured::start(Limits::default()).await;
    let watch = || framed(&HealthCheckRequest::default());
    let mut stranger = secured.connect().await;
    let mut watches = Vec::new();
    for _ in 0..4 {
        let opened = stranger.call(request(WATCH, None), watch()).await.unwrap();
        assert_eq!(status(opened.headers()), None);
        watches.push(opened);
    }
    let refused = stranger.call(request(WATCH, None), watch()).await.unwrap();
    assert_eq!(status(refused.headers()), RESOURCE_EXHAUSTED);
    let refused = stranger.call(request(CHECK, None), watch()).await.unwrap();
    assert_eq!(status(refused.headers()), RESOURCE_EXHAUSTED);
    // A stream that ends makes room.
    watches.pop();
    eventually("there is room for another watch", async || {
        let again = stranger.call(request(WATCH, None), watch()).await.unwrap();
        status(again.headers()).is_none().then_some(())
    })
    .await;
    // Other connections have streams of their own, and a client with a credential has as many
    // checks in flight as it likes.
    let mut client = secured.connect().await;
    let token = secured.token(&["query"]);
    let head = framed(&GetHeadRequest {});
    client
        .call(request(GET_HEAD, Some(&token)), head)
        .await
        .unwrap();
    let mut open = Vec::new();
    for _ in 0..100 {
        open.push(client.open(request(CHECK, None)).await.unwrap());
    }
    for (response, mut stream) in open {
        stream.send_data(watch(), true).unwrap();
        assert_eq!(status(response.await.unwrap().headers()), None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_health_message_has_at_most_1_kib() {
    let secured = Secured::start(Limits::default()).await;
    let mut stranger = secured.connect().await;
    // The health of an unknown service is NOT_FOUND.
    for (bytes, code) in [(1000, NOT_FOUND), (1100, OUT_OF_RANGE)] {
        let message = framed(&HealthCheckRequest {
            service: "s".repeat(bytes),
        });
        let answer = stranger.call(request(CHECK, None), message).await.unwrap();
        assert_eq!(status(answer.headers()), code, "{bytes}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_sends_only_refused_calls_is_closed_and_others_are_served() {
    let secured = Secured::start(Limits::default()).await;
    let mut clients = secured.clients(&["command", "query"]).await;
    let mut stranger = secured.connect().await;
    let mut refused = 0;
    loop {
        let head = framed(&GetHeadRequest {});
        match stranger.call(request(GET_HEAD, Some("wrong")), head).await {
            Ok(answer) => assert_eq!(status(answer.headers()), UNAUTHENTICATED),
            Err(_) => break,
        }
        refused += 1;
        assert!(refused < 1000, "the connection stays open");
    }
    assert!(
        refused >= 50,
        "a client may try a wrong token {refused} times only"
    );
    let _ = timeout(DEADLINE, stranger.connection)
        .await
        .expect("the connection stays open");
    clients
        .commands
        .create_order(order::create("o", "ann"))
        .await
        .unwrap();
    secured.clients(&["query"]).await.head().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_oldest_stranger_leaves_for_a_new_one_and_no_client_does() {
    let secured = Secured::start(Limits {
        strangers: 3,
        // Silence alone closes no connection here.
        patience: 10 * DEADLINE,
        ..Limits::default()
    })
    .await;
    let mut clients = secured.clients(&["query"]).await;
    clients.head().await;
    let mut sockets = Vec::new();
    for _ in 0..3 {
        sockets.push(secured.socket().await);
    }
    let mut others = secured.clients(&["query"]).await;
    others.head().await;
    let mut oldest = sockets.remove(0);
    let closed = timeout(DEADLINE, oldest.read_to_end(&mut Vec::new())).await;
    // The server may also reset the connection.
    let _ = closed.expect("the oldest stranger stays");
    clients.head().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_with_two_credentials_or_another_http_method_is_refused() {
    let secured = Secured::start(Limits::default()).await;
    let token = secured.token(&["query"]);
    let mut client = secured.connect().await;
    let head = || framed(&GetHeadRequest {});
    let right = request(GET_HEAD, Some(&token));
    let answer = client.call(right.clone(), head()).await.unwrap();
    assert_eq!(status(answer.headers()), None);
    for first in [true, false] {
        let mut twice = right.clone();
        let other = "Bearer other".parse().unwrap();
        if first {
            let ours = twice.headers_mut().insert("authorization", other).unwrap();
            twice.headers_mut().append("authorization", ours);
        } else {
            twice.headers_mut().append("authorization", other);
        }
        let answer = client.call(twice, head()).await.unwrap();
        assert_eq!(status(answer.headers()), UNAUTHENTICATED);
    }
    for method in [Method::GET, Method::PUT, Method::DELETE] {
        let mut other = right.clone();
        *other.method_mut() = method.clone();
        let answer = client.call(other, head()).await.unwrap();
        assert_eq!(answer.status(), 405, "{method}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_credential_executes_nothing_more_even_if_its_client_does_not_read() {
    let secured = Secured::start(Limits::default()).await;
    let token = secured.token(&["command", "query"]);
    // The window of this client has no room for any answer.
    let mut builder = client::Builder::new();
    builder.initial_window_size(0);
    let mut client = Raw::over(secured.socket().await, &builder).await;
    let execute = request("/orders.v1.CommandService/ExecuteCommands", Some(&token));
    let (response, mut stream) = client.open(execute).await.unwrap();
    assert_eq!(status(response.await.unwrap().headers()), None);
    let create = |id: &str| {
        let create = order::create(id, "ann");
        let command = Some(execute_commands_request::Command::CreateOrder(create));
        framed(&ExecuteCommandsRequest { command })
    };
    stream.send_data(create("o"), false).unwrap();
    let mut clients = secured.clients(&["query"]).await;
    eventually("the command is executed", async || {
        (clients.head().await == 1).then_some(())
    })
    .await;

    let other = Issuer::new("key-2");
    write(&secured.folder.path().join("keys.json"), &other.keys());
    let token = other.sign(&Issuer::claims(&["query"], 600));
    let mut clients = connect(&secured.server, &token).await;
    eventually("the new key counts", async || {
        let head = clients.events.get_head(GetHeadRequest {}).await;
        head.ok()
    })
    .await;
    let reset = async {
        let mut sent = 0;
        loop {
            // The server may have closed the stream already.
            let _ = stream.send_data(create(&format!("o-{sent}")), false);
            sent += 1;
            let reset = std::future::poll_fn(|context| stream.poll_reset(context));
            if let Ok(reset) = timeout(Duration::from_millis(1), reset).await {
                return reset.unwrap();
            }
        }
    };
    let reason = timeout(DEADLINE, reset)
        .await
        .expect("the stream stays open");
    assert_eq!(reason, Reason::CANCEL);
    assert_eq!(clients.head().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn g13_operators_connect_when_other_clients_have_taken_all_connections() {
    let secured = Secured::start(Limits {
        connections: 3,
        ..Limits::default()
    })
    .await;
    let mut held = Vec::new();
    for _ in 0..3 {
        let mut clients = secured.clients(&["query"]).await;
        clients.get_head(GetHeadRequest {}).await.unwrap();
        held.push(clients);
    }
    let mut another = secured.clients(&["query"]).await;
    let refused = another.get_head(GetHeadRequest {}).await;
    assert_refused(refused, Code::ResourceExhausted, "OVERLOADED");
    let mut operator = secured.clients(&["operate"]).await;
    operator.status().await;
    held[0].get_head(GetHeadRequest {}).await.unwrap();
}
