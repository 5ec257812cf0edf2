//! Tests of TLS: server and client certificates, and their rotation during calls.

use std::{
    fs,
    path::{Path, PathBuf},
};

use contract::orders::v1::GetHeadRequest;
use e2e::{Clients, Node, Server};
use server::settings::{Caller, Roles, Tls};
use tempfile::TempDir;
use test_support::{Authority, request::follow, wait_until};

/// Issues a certificate for `name`. Writes its key first and the certificate last.
fn write(folder: &Path, authority: &Authority, name: &str) -> (PathBuf, PathBuf) {
    let (cert, key) = authority.certificate(name);
    let files = (
        folder.join(format!("{name}.crt")),
        folder.join(format!("{name}.key")),
    );
    fs::write(&files.1, key).unwrap();
    fs::write(&files.0, cert).unwrap();
    files
}

fn trusting(folder: &Path, authority: &Authority, name: &str) -> Caller {
    let file = folder.join(name);
    fs::write(&file, authority.pem()).unwrap();
    Caller {
        ca: Some(file),
        ..Caller::default()
    }
}

async fn start(folder: &TempDir, authority: &Authority, client_ca: Option<PathBuf>) -> Server {
    let (cert, key) = write(folder.path(), authority, "localhost");
    let tls = Tls {
        cert,
        key,
        client_ca,
    };
    let node = Node {
        roles: Roles::ALL,
        tls: Some(tls),
        ..Node::default()
    };
    Server::of(node).await
}

/// Returns whether the server answers this caller.
async fn serves(server: &Server, caller: &Caller) -> bool {
    let url = server.url();
    let Ok(mut clients) = Clients::connect_as(&url, caller, "").await else {
        return false;
    };
    // With TLS 1.3, a client learns of its rejected certificate only in the first call.
    clients.get_head(GetHeadRequest {}).await.is_ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_needs_tls_and_must_trust_the_authority_of_the_server() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let server = start(&folder, &authority, None).await;
    assert!(serves(&server, &trusting(folder.path(), &authority, "ca")).await);
    let other = trusting(folder.path(), &Authority::new(), "other");
    assert!(!serves(&server, &other).await);
    let plain = server.url().replace("https", "http");
    let called = match Clients::connect(&plain).await {
        Ok(mut clients) => clients.get_head(GetHeadRequest {}).await.is_ok(),
        Err(_) => false,
    };
    assert!(!called, "without TLS");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_mutual_tls_a_client_needs_a_certificate_of_the_configured_authority() {
    let folder = tempfile::tempdir().unwrap();
    let (authority, clients_authority) = (Authority::new(), Authority::new());
    let client_ca = folder.path().join("clients");
    fs::write(&client_ca, clients_authority.pem()).unwrap();
    let server = start(&folder, &authority, Some(client_ca)).await;
    let without = trusting(folder.path(), &authority, "ca");
    assert!(!serves(&server, &without).await);
    let with = |authority: &Authority, name: &str| Caller {
        identity: Some(write(folder.path(), authority, name)),
        ..without.clone()
    };
    assert!(serves(&server, &with(&clients_authority, "shop")).await);
    assert!(!serves(&server, &with(&authority, "stranger")).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_certificate_is_served_without_a_restart_and_ends_no_call() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (Authority::new(), Authority::new());
    let server = start(&folder, &old, None).await;
    let (by_old, by_new) = (
        trusting(folder.path(), &old, "old"),
        trusting(folder.path(), &new, "new"),
    );
    let connected = Clients::connect_as(&server.url(), &by_old, "").await;
    let mut clients = connected.unwrap();
    let mut stream = clients.subscribe(follow(0)).await.unwrap();
    assert!(!serves(&server, &by_new).await);

    // Key and certificate do not match for a moment. The server keeps the previous pair.
    write(folder.path(), &new, "localhost");
    wait_until("the new certificate is shown", async || {
        serves(&server, &by_new).await
    })
    .await;
    assert!(!serves(&server, &by_old).await);
    let position = clients.create("o").await;
    stream.up_to(position).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_ends_when_the_authority_of_its_client_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    let (authority, clients_authority) = (Authority::new(), Authority::new());
    let client_ca = folder.path().join("clients");
    fs::write(&client_ca, clients_authority.pem()).unwrap();
    let server = start(&folder, &authority, Some(client_ca.clone())).await;
    let caller = Caller {
        identity: Some(write(folder.path(), &clients_authority, "shop")),
        ..trusting(folder.path(), &authority, "ca")
    };
    let connected = Clients::connect_as(&server.url(), &caller, "").await;
    let mut clients = connected.unwrap();
    let mut stream = clients
        .events
        .subscribe(follow(0))
        .await
        .unwrap()
        .into_inner();
    stream.message().await.unwrap().unwrap();
    // The old authority is still among the new ones: nothing ends.
    let both = clients_authority.pem() + &Authority::new().pem();
    fs::write(&client_ca, both).unwrap();
    clients.events.get_head(GetHeadRequest {}).await.unwrap();

    fs::write(&client_ca, Authority::new().pem()).unwrap();
    let ended = tokio::time::timeout(test_support::DEADLINE, async {
        while let Ok(Some(_)) = stream.message().await {}
    });
    ended.await.expect("the stream goes on");
    assert!(!serves(&server, &caller).await);
}
