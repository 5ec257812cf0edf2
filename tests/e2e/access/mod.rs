//! Tests of authorization for every method, with tokens and JWTs.

mod actor;
mod jwt;
mod roles;
mod rotation;
mod strangers;
mod table;

use std::{fs, path::Path};

use e2e::{Clients, Node, Server};
use serde_json::Value;
use server::settings::{Caller, Credentials, Jwt, Limits, Roles};
use tempfile::TempDir;
use test_support::Issuer;

/// Starts a node that accepts the JWTs of an issuer and reads its keys from a file.
async fn start(keys: &Value) -> (Server, TempDir) {
    start_with(keys, Limits::default()).await
}

/// Starts a node like [`start`], with these limits.
async fn start_with(keys: &Value, limits: Limits) -> (Server, TempDir) {
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
                roles_claim: "roles".to_owned(),
            }),
        }),
        limits,
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
