//! The table of all methods, credentials, transports and spellings of paths: a real server answers
//! every combination, and the answers are the page `docs/reference/access.md`.
//!
//! `UPDATE_REFERENCE=1 cargo test --test e2e access::table` writes the page.

use std::{collections::BTreeMap, fmt::Write as _};

use e2e::Server;
use http::uri::PathAndQuery;
use reqwest::{Client, StatusCode};
use serde_json::json;
use tempfile::TempDir;
use test_support::{Issuer, assert_reference, eventually};
use tonic::{Code, Request, client::Grpc};
use tonic_prost::ProstCodec;

use super::{connect, start, write};

const ROLES: [&str; 4] = ["command", "query", "subscribe", "operate"];

const GET_HEAD: &str = "/orders.v1.EventService/GetHead";

/// The answer to a call: its handler was reached, or the call was refused with this code.
type Answer = Result<(), Code>;

/// Makes a call with an empty message by gRPC over HTTP/2.
async fn by_grpc(server: &Server, token: &str, path: &str) -> Answer {
    let mut grpc = Grpc::new(connect(server, token).await.channel);
    grpc.ready().await.unwrap();
    let path = PathAndQuery::try_from(path).unwrap();
    let codec = ProstCodec::<(), ()>::default();
    let answer = grpc.server_streaming(Request::new(()), path, codec).await;
    refused(answer.err().map(|status| status.code()))
}

/// Makes a call with an empty message by HTTP/1.1, with this content type.
async fn by_http1(
    server: &Server,
    token: &str,
    path: &str,
    content_type: &str,
) -> Result<Answer, StatusCode> {
    let client = Client::builder().http1_only().build().unwrap();
    let mut request = client.post(format!("{}{path}", server.url()));
    request = request.header("content-type", content_type);
    if !token.is_empty() {
        request = request.bearer_auth(token);
    }
    let answer = request.body(vec![0; 5]).send().await.unwrap();
    if answer.status() != StatusCode::OK {
        return Err(answer.status());
    }
    let code = answer.headers().get("grpc-status");
    Ok(refused(code.map(|code| Code::from_bytes(code.as_bytes()))))
}

/// Returns the refusal of an access check. Any other error is one of the handler.
fn refused(code: Option<Code>) -> Answer {
    match code {
        Some(code @ (Code::Unauthenticated | Code::PermissionDenied)) => Err(code),
        _ => Ok(()),
    }
}

fn methods() -> Vec<String> {
    let methods = test_support::methods(&[
        contract::FILE_DESCRIPTOR_SET,
        tonic_health::pb::FILE_DESCRIPTOR_SET,
        tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
        tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
    ]);
    methods.into_iter().map(|(path, _)| path).collect()
}

/// Returns spellings of a path that a careless check or router could take for the same.
fn spellings(path: &str) -> Vec<String> {
    let (service, method) = path[1..].split_once('/').unwrap();
    let first = method.as_bytes()[0];
    vec![
        format!("/{path}"),
        format!("{path}/"),
        format!("/{service}//{method}"),
        format!("/./{service}/{method}"),
        format!("/x/../{service}/{method}"),
        format!("/{service}/{}", method.to_lowercase()),
        format!("/{}/{method}", service.to_uppercase()),
        format!("/{service}/%{first:02X}{}", &method[1..]),
        format!("/{service}%2F{method}"),
        format!("/{service}/{method}%00"),
        format!("/{service}/{method};x"),
    ]
}

/// A server, and credentials of each kind.
struct Secured {
    server: Server,
    credentials: BTreeMap<&'static str, String>,
    _folder: TempDir,
}

impl Secured {
    /// Starts a server, and revokes a credential that it has accepted.
    async fn start() -> Self {
        let (issuer, gone) = (Issuer::new("key-1"), Issuer::new("key-2"));
        let both = [&issuer, &gone].map(|issuer| issuer.keys()["keys"][0].clone());
        let (server, folder) = start(&json!({ "keys": both })).await;
        let revoked = gone.sign(&Issuer::claims(&ROLES, 600));
        by_grpc(&server, &revoked, GET_HEAD).await.unwrap();
        write(&folder.path().join("keys.json"), &issuer.keys());
        eventually("the credential is revoked", async || {
            by_grpc(&server, &revoked, GET_HEAD).await.err()
        })
        .await;
        let mut credentials = BTreeMap::from([
            ("none", String::new()),
            ("wrong", "wrong".to_owned()),
            ("expired", issuer.sign(&Issuer::claims(&ROLES, -600))),
            ("revoked", revoked),
            ("all", issuer.sign(&Issuer::claims(&ROLES, 600))),
        ]);
        for role in ROLES {
            credentials.insert(role, issuer.sign(&Issuer::claims(&[role], 600)));
        }
        Self {
            server,
            credentials,
            _folder: folder,
        }
    }

    /// Makes a call by each transport, and returns their common answer.
    async fn call(&self, path: &str, credential: &str) -> Answer {
        let token = &self.credentials[credential];
        let by_grpc = by_grpc(&self.server, token, path).await;
        let web = "application/grpc-web+proto";
        let by_web = by_http1(&self.server, token, path, web).await;
        assert_eq!(by_web, Ok(by_grpc), "{path} with {credential}: gRPC-Web");
        let plain = by_http1(&self.server, token, path, "application/grpc").await;
        assert_eq!(
            plain,
            Err(StatusCode::BAD_REQUEST),
            "{path} with {credential}: gRPC over HTTP/1.1"
        );
        by_grpc
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_method_is_for_its_roles_by_each_transport_and_with_no_other_credential() {
    let secured = Secured::start().await;
    let mut table = String::new();
    for path in methods() {
        let is_open = path.starts_with("/grpc.health.");
        for credential in ["none", "wrong", "expired", "revoked"] {
            let answer = secured.call(&path, credential).await;
            let expected = match is_open {
                true => Ok(()),
                false => Err(Code::Unauthenticated),
            };
            assert_eq!(answer, expected, "{path} with {credential}");
        }
        let mut row = format!("| `{}` |", &path[1..]);
        for role in ROLES {
            let cell = match secured.call(&path, role).await {
                Ok(()) if is_open => "open",
                Ok(()) => "yes",
                Err(Code::PermissionDenied) => "",
                Err(code) => panic!("{path} with {role}: {code:?}"),
            };
            write!(row, " {cell} |").unwrap();
        }
        writeln!(table, "{row}").unwrap();
    }
    is_current(&table);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_other_spelling_of_a_path_reaches_a_method() {
    let secured = Secured::start().await;
    for path in methods() {
        for spelling in spellings(&path) {
            let token = &secured.credentials["all"];
            let answer = by_grpc(&secured.server, token, &spelling).await;
            assert_eq!(answer, Err(Code::PermissionDenied), "{spelling}");
        }
    }
}

/// Checks that `docs/reference/access.md` has these rows.
fn is_current(rows: &str) {
    let page = format!(
        "# Access\n\n\
         The test `tests/e2e/access/table.rs` makes this page from the answers of a server with \
         credentials.\nTo write it, run `UPDATE_REFERENCE=1 cargo test --test e2e access::table`.\n\n\
         A cell says whether a credential with this role alone may call the method. Health is open \
         to everyone.\nWithout a credential, or with a wrong, expired or revoked one, every other \
         method answers\n`UNAUTHENTICATED`, and so does every path that is no method. A credential \
         without the role gets\n`PERMISSION_DENIED`. The answers are the same by gRPC and by \
         gRPC-Web. gRPC needs HTTP/2: over\nHTTP/1.1 it gets the HTTP status 400. The metrics are for \
         the role `operate`, on loopback for\neverybody on the machine.\n\n\
         | method | {} |\n|---|---|---|---|---|\n{rows}",
        ROLES.map(|role| format!("`{role}`")).join(" | ")
    );
    assert_reference("access.md", &page, "cargo test --test e2e access::table");
}
