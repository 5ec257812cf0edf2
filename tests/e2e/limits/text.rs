//! Tests of injected and unusual text in every text field of the contract.

use std::{collections::BTreeMap, time::Duration};

use e2e::{Clients, Server};
use http::uri::PathAndQuery;
use prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage, Kind, MessageDescriptor, Value};
use tokio::time::timeout;
use tonic::{Code, Request, Status, client::Grpc};
use tonic_prost::ProstCodec;

/// Injection attempts, and unusual text that real clients send.
const TEXTS: [&str; 18] = [
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
fn text_fields(message: &MessageDescriptor, path: &[u32], found: &mut Vec<Vec<u32>>) {
    for field in message.fields() {
        let path = [path, &[field.number()]].concat();
        match field.kind() {
            Kind::String => found.push(path),
            // No message is recursive.
            Kind::Message(inner) => text_fields(&inner, &path, found),
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
async fn a_text_field_with_any_content_leads_to_an_answer_or_to_an_error_of_the_client() {
    let server = Server::start().await;
    let mut clients = server.clients().await;
    clients.create("o-1").await;
    let pool = DescriptorPool::decode(contract::FILE_DESCRIPTOR_SET).unwrap();
    let mut codes = BTreeMap::new();
    let services = pool
        .services()
        .filter(|service| service.package_name() == "orders.v1");
    for method in services.flat_map(|service| service.methods().collect::<Vec<_>>()) {
        let mut fields = Vec::new();
        text_fields(&method.input(), &[], &mut fields);
        let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
        for field in fields {
            for text in TEXTS {
                let message = with(&method.input(), &field, text);
                let answer = first_answer(&clients, &path, message).await;
                let code = answer.map_or_else(|status| status.code(), |()| Code::Ok);
                let is_theirs = matches!(
                    code,
                    Code::Ok | Code::InvalidArgument | Code::NotFound | Code::FailedPrecondition
                );
                assert!(is_theirs, "{path} {field:?} {text:?}: {code:?}");
                *codes.entry(format!("{code:?}")).or_insert(0) += 1;
            }
        }
    }
    // The cases include accepted and rejected texts.
    assert!(
        codes["Ok"] > 10 && codes["InvalidArgument"] > 500,
        "{codes:?}"
    );
    // No text changed, exposed or damaged data.
    let found = clients.search("", 0).await.unwrap();
    assert_eq!(found.total_size, 1);
    assert_eq!(found.orders[0].order_id, "o-1");
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
