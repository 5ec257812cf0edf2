//! Tests of the limits on clients: the server rejects excess load, broken calls and injected text,
//! and continues to serve others.

use std::{collections::BTreeMap, time::Duration};

use contract::orders::v1::*;
use e2e::{Clients, Node, Server};
use http::uri::PathAndQuery;
use prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage, Kind, MessageDescriptor, Value};
use server::settings::{Limits, Roles};
use test_support::{DEADLINE, eventually, order, reason, wrong_fields};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
    time::{Instant, timeout},
};
use tonic::{Code, Request, Status, client::Grpc};
use tonic_prost::ProstCodec;

async fn limited(limits: Limits) -> Server {
    let node = Node {
        roles: Roles::ALL,
        limits,
        ..Node::default()
    };
    Server::of(node).await
}

/// Checks that the server serves other clients.
async fn serves(server: &Server) {
    let mut clients = server.clients().await;
    clients.events.get_head(GetHeadRequest {}).await.unwrap();
}

async fn connect(server: &Server) -> TcpStream {
    let address = server.url().replace("http://", "");
    TcpStream::connect(address).await.unwrap()
}

/// Reads until the server closes the connection, and returns the bytes.
async fn closed(mut connection: TcpStream) -> Vec<u8> {
    let mut read = Vec::new();
    let closed = timeout(DEADLINE, connection.read_to_end(&mut read)).await;
    // The server may also reset the connection.
    let _ = closed.expect("the connection stays open");
    read
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_of_more_than_4_mib_is_refused_by_the_field_request() {
    let server = Server::start().await;
    let mut clients = server.clients().await;
    let mut create = order::create("o", "ann");
    create.customer_id = "a".repeat(5 << 20);
    let refused = clients
        .commands
        .create_order(create.clone())
        .await
        .unwrap_err();
    assert_eq!(reason(&refused), "INVALID_FIELD");
    assert_eq!(wrong_fields(&refused), ["request"]);
    let search = SearchOrdersRequest {
        query: "a".repeat(5 << 20),
        ..SearchOrdersRequest::default()
    };
    let refused = clients.queries.search_orders(search).await.unwrap_err();
    assert_eq!(wrong_fields(&refused), ["request"]);
    let command = ExecuteCommandsRequest {
        command: Some(execute_commands_request::Command::CreateOrder(create)),
    };
    let answers = clients
        .commands
        .execute_commands(tokio_stream::iter([command]))
        .await;
    let refused = answers.unwrap().into_inner().message().await.unwrap_err();
    assert_eq!(wrong_fields(&refused), ["request"]);
    serves(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_calls_on_one_connection_are_answered_or_refused_at_once() {
    let server = Server::start().await;
    let clients = server.clients().await;
    let mut calls = JoinSet::new();
    for index in 0..10_000 {
        let mut commands = clients.commands.clone();
        calls.spawn(async move {
            let create = order::create(&format!("o-{index}"), "ann");
            commands.create_order(create).await.map(|_| ())
        });
    }
    let mut answered = 0;
    while let Some(call) = calls.join_next().await {
        match call.unwrap() {
            Ok(()) => answered += 1,
            Err(refused) => assert_eq!(reason(&refused), "OVERLOADED", "{refused:?}"),
        }
    }
    let mut others = server.clients().await;
    assert_eq!(others.head().await, answered);
    assert!(answered >= 1000, "{answered}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_begin_to_speak_is_left() {
    let server = limited(Limits {
        patience: Duration::from_secs(2),
        ..Limits::default()
    })
    .await;
    let mut connections = Vec::new();
    for said in ["", "P", "PRI * HTTP/2.0\r\n\r\nSM", "GET / HTTP/1.1\r\n"] {
        let mut connection = connect(&server).await;
        connection.write_all(said.as_bytes()).await.unwrap();
        connections.push(connection);
    }
    for connection in connections {
        closed(connection).await;
    }
    // A connection that has sent a request may stay silent.
    let mut clients = server.clients().await;
    let follow = SubscribeRequest {
        follow: true,
        ..SubscribeRequest::default()
    };
    let mut stream = clients.events.subscribe(follow).await.unwrap().into_inner();
    stream.message().await.unwrap().unwrap();
    assert!(
        timeout(Duration::from_secs(1), stream.message())
            .await
            .is_err()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_past_the_limit_are_closed_and_places_are_given_back() {
    let server = limited(Limits {
        connections: 3,
        // The long timeout excludes that a connection closes for silence.
        patience: 10 * DEADLINE,
        ..Limits::default()
    })
    .await;
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(server.clients().await);
    }
    // The operating system accepts the connection before the server closes it.
    closed(connect(&server).await).await;
    assert!(held[0].events.get_head(GetHeadRequest {}).await.is_ok());
    held.pop();
    eventually("there is a place again", async || {
        let mut clients = Clients::connect(&server.url()).await.ok()?;
        clients.events.get_head(GetHeadRequest {}).await.ok()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_does_not_come_to_its_end_is_ended() {
    let server = limited(Limits {
        call_time: Duration::from_millis(500),
        ..Limits::default()
    })
    .await;
    let mut clients = server.clients().await;
    let waits = GetOrderRequest {
        order_id: "o".to_owned(),
        min_position: 7,
        ..GetOrderRequest::default()
    };
    let refused = clients.queries.get_order(waits).await.unwrap_err();
    assert_eq!(reason(&refused), "OVERLOADED");
    // The client sends only a part of the body.
    let mut connection = connect(&server).await;
    let head = "POST /orders.v1.EventService/GetHead HTTP/1.1\r\nhost: localhost\r\n\
        content-type: application/grpc-web+proto\r\ncontent-length: 100\r\n\r\n";
    connection.write_all(head.as_bytes()).await.unwrap();
    connection.write_all(&[0, 0]).await.unwrap();
    let mut answer = Vec::new();
    let deadline = Instant::now() + DEADLINE;
    while !String::from_utf8_lossy(&answer).contains("grpc-status: 8") {
        assert!(
            Instant::now() < deadline,
            "{:?}",
            String::from_utf8_lossy(&answer)
        );
        let mut some = [0; 1024];
        let read = timeout(DEADLINE, connection.read(&mut some))
            .await
            .unwrap()
            .unwrap();
        assert!(read > 0, "{:?}", String::from_utf8_lossy(&answer));
        answer.extend_from_slice(&some[..read]);
    }
    serves(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_headers_than_a_call_needs_are_refused() {
    let server = Server::start().await;
    let mut clients = server.clients().await;
    let mut request = Request::new(GetHeadRequest {});
    for index in 0..100 {
        let name = format!("x-flood-{index}").parse::<tonic::metadata::MetadataKey<_>>();
        let value = "a".repeat(1000).parse().unwrap();
        request.metadata_mut().insert(name.unwrap(), value);
    }
    assert!(clients.events.get_head(request).await.is_err());
    serves(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn compressed_messages_are_refused_before_they_are_unpacked() {
    let server = Server::start().await;
    let mut clients = server.clients().await;
    let mut request = Request::new(order::create("o", "ann"));
    let metadata = request.metadata_mut();
    metadata.insert("grpc-encoding", "gzip".parse().unwrap());
    let refused = clients.commands.create_order(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unimplemented);
    serves(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn g11_subscribers_past_the_limit_are_refused_and_the_others_get_everything() {
    let server = Server::start().await;
    let mut streams = Vec::new();
    let follow = SubscribeRequest {
        follow: true,
        ..SubscribeRequest::default()
    };
    let mut refused = None;
    for _ in 0..11 {
        let mut clients = server.clients().await;
        for _ in 0..950 {
            match clients.events.subscribe(follow.clone()).await {
                Ok(stream) => streams.push(stream.into_inner()),
                Err(status) => refused = Some(status),
            }
        }
    }
    // The projector of the node is one of the 10,000 subscribers that the limit allows.
    assert_eq!(streams.len(), 10_000 - 1);
    assert_eq!(reason(&refused.unwrap()), "OVERLOADED");
    let mut clients = server.clients().await;
    let created = clients
        .commands
        .create_order(order::create("o", "ann"))
        .await;
    let position = created.unwrap().into_inner().position;
    for stream in &mut streams {
        while stream.message().await.unwrap().unwrap().position < position {}
    }
    drop(streams);
    eventually("there are places again", async || {
        let mut clients = server.clients().await;
        clients.events.subscribe(follow.clone()).await.ok()
    })
    .await;
}

/// Injection attempts, and unusual text that real clients send.
const SMUGGLED: [&str; 18] = [
    "\0",
    "a\0b",
    "'; DROP TABLE events; --",
    "' OR '1'='1",
    "x\" OR order_id EXISTS OR \"y",
    "customer_id = 'ann' OR row >= 0",
    "(a+)+$",
    ".*.*.*.*.*[a-z]{1,64}",
    "*:* AND -a^9999999",
    "../../../../etc/passwd",
    "%00%27%22${7*7}{{7*7}}",
    "\u{202e}\u{feff}\u{200b}",
    "\u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467}",
    "a\u{300}\u{301}\u{302}\u{303}\u{304}",
    "\u{10ffff}\u{fffd}",
    "ﷺﷺﷺ",
    "İıſß",
    "\r\n\r\nHTTP/1.1 200 OK",
];

/// Collects the path of every text field in a message, including nested messages and lists.
fn texts(message: &MessageDescriptor, path: &[u32], found: &mut Vec<Vec<u32>>) {
    for field in message.fields() {
        let path = [path, &[field.number()]].concat();
        match field.kind() {
            Kind::String => found.push(path),
            // No message is recursive.
            Kind::Message(inner) => texts(&inner, &path, found),
            _ => {}
        }
    }
}

/// Builds a message in which one field has this text.
fn with(message: &MessageDescriptor, path: &[u32], text: &str) -> DynamicMessage {
    let mut made = DynamicMessage::new(message.clone());
    let field = message.get_field(path[0]).unwrap();
    let value = match field.kind() {
        Kind::Message(inner) => Value::Message(with(&inner, &path[1..], text)),
        _ => Value::String(text.to_owned()),
    };
    let value = if field.is_list() {
        Value::List(vec![value])
    } else {
        value
    };
    made.set_field(&field, value);
    made
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_a_text_field_holds_it_is_an_answer_or_the_clients_error() {
    let server = Server::start().await;
    let mut clients = server.clients().await;
    clients
        .commands
        .create_order(order::create("o-1", "ann"))
        .await
        .unwrap();
    let pool = DescriptorPool::decode(contract::FILE_DESCRIPTOR_SET).unwrap();
    let mut told = BTreeMap::new();
    let services = pool
        .services()
        .filter(|service| service.package_name() == "orders.v1");
    for method in services.flat_map(|service| service.methods().collect::<Vec<_>>()) {
        let mut fields = Vec::new();
        texts(&method.input(), &[], &mut fields);
        let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
        for field in fields {
            for text in SMUGGLED {
                let message = with(&method.input(), &field, text);
                let answer = first_answer(&clients, &path, message).await;
                let code = answer.map_or_else(|status| status.code(), |()| Code::Ok);
                let is_theirs = matches!(
                    code,
                    Code::Ok | Code::InvalidArgument | Code::NotFound | Code::FailedPrecondition
                );
                assert!(is_theirs, "{path} {field:?} {text:?}: {code:?}");
                *told.entry(format!("{code:?}")).or_insert(0) += 1;
            }
        }
    }
    // The cases include accepted and rejected texts.
    assert!(told["Ok"] > 10 && told["InvalidArgument"] > 500, "{told:?}");
    // No text changed, exposed or damaged data.
    let answer = clients
        .queries
        .search_orders(SearchOrdersRequest::default())
        .await;
    let found = answer.unwrap().into_inner();
    let ids: Vec<_> = found
        .orders
        .iter()
        .map(|order| order.order_id.as_str())
        .collect();
    assert_eq!(ids, ["o-1"]);
}

/// Calls a method with one message, and returns the outcome of its first answer.
async fn first_answer(
    clients: &Clients,
    path: &str,
    message: DynamicMessage,
) -> Result<(), Status> {
    let bytes = message.encode_to_vec();
    let mut grpc = Grpc::new(clients.channel.clone());
    grpc.ready().await.unwrap();
    let path = PathAndQuery::try_from(path).unwrap();
    let codec = ProstCodec::<contract::Raw, ()>::default();
    let request = Request::new(contract::Raw::decode(bytes.as_slice()).unwrap());
    let mut answers = grpc
        .server_streaming(request, path, codec)
        .await?
        .into_inner();
    // A stream may send no message.
    match timeout(Duration::from_millis(200), answers.message()).await {
        Ok(answer) => answer.map(|_| ()),
        Err(_) => Ok(()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn searches_past_the_limit_are_refused_and_do_not_hold_up_others() {
    // The search engine accepts connections and never answers.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok(connection) = silent.accept().await {
            held.push(connection);
        }
    });
    let server = Server::start_with_meilisearch(&url, "key").await;
    let mut clients = server.clients().await;
    let created = clients
        .commands
        .create_order(order::create("o", "ann"))
        .await;
    let position = created.unwrap().into_inner().position;
    let mut searches = JoinSet::new();
    for _ in 0..400 {
        let mut queries = clients.queries.clone();
        searches.spawn(async move {
            let search = SearchOrdersRequest {
                query: "tea".to_owned(),
                ..SearchOrdersRequest::default()
            };
            reason(&queries.search_orders(search).await.unwrap_err())
        });
    }
    assert_eq!(clients.order("o", position).await.customer_id, "ann");
    let reasons = searches.join_all().await;
    let count = |reason: &str| reasons.iter().filter(|it| *it == reason).count();
    assert!(count("OVERLOADED") > 0, "{reasons:?}");
    assert!(count("SEARCH_UNAVAILABLE") >= 256, "{reasons:?}");
    assert_eq!(count("OVERLOADED") + count("SEARCH_UNAVAILABLE"), 400);
}
