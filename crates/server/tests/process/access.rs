//! Tests of tokens and TLS on the command line and between nodes.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use e2e::Process;
use test_support::{Authority, eventually};

use crate::binary::{orderlog, serve};

/// Creates a token with these roles in the token file, and returns it.
fn token(file: &Path, roles: &[&str]) -> String {
    let mut new = orderlog();
    new.args(["token", "new", "--tokens"]).arg(file);
    for role in roles {
        new.args(["--role", role]);
    }
    let made = new.output().unwrap();
    assert!(made.status.success(), "{made:?}");
    let printed = String::from_utf8(made.stdout).unwrap();
    let token = printed.lines().last().unwrap();
    assert_eq!(printed, format!("{token}\n"));
    token.to_owned()
}

/// Runs a client command with a token, or without one if `token` is empty.
fn run(url: &str, token: &str, arguments: &[&str]) -> Output {
    let mut command = orderlog();
    command.env("ORDERLOG_SERVER", url).args(arguments);
    if !token.is_empty() {
        command.env("ORDERLOG_TOKEN", token);
    }
    command.output().unwrap()
}

const CREATE: [&str; 8] = [
    "order",
    "create",
    "--customer",
    "ann",
    "--item",
    "p-1:1:2.50",
    "--currency",
    "USD",
];

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_made_taken_and_taken_back_while_it_runs() {
    let folder = tempfile::tempdir().unwrap();
    let tokens = folder.path().join("tokens");
    let buyer = token(&tokens, &["command"]);
    let process: Process = {
        let mut serve = serve(&folder.path().join("data"));
        serve.arg("--tokens").arg(&tokens);
        serve.into()
    };
    let url = process.url();
    let succeeds = |token: &str, arguments: &[&str]| run(url, token, arguments).status.success();
    assert!(succeeds(&buyer, &CREATE));
    let refused = run(url, &buyer, &["statistics", "--min-position", "0"]);
    let told = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        told.contains("does not have the role query (PERMISSION_DENIED)"),
        "{told}"
    );
    for wrong in ["", "wrong"] {
        let refused = run(url, wrong, &CREATE);
        assert_eq!(refused.status.code(), Some(1));
        let told = String::from_utf8(refused.stderr).unwrap();
        assert!(told.contains("(UNAUTHENTICATED)"), "{told}");
    }

    let asker = token(&tokens, &["query"]);
    eventually("the new token counts", async || {
        succeeds(&asker, &["statistics"]).then_some(())
    })
    .await;
    let text = fs::read_to_string(&tokens).unwrap();
    fs::write(&tokens, text.lines().last().unwrap()).unwrap();
    eventually("the old token does not", async || {
        (!succeeds(&buyer, &CREATE)).then_some(())
    })
    .await;
    assert!(succeeds(&asker, &["statistics"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_follows_another_with_tls_and_a_token_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    let authority = Authority::new();
    let (cert, key) = authority.certificate("localhost");
    fs::write(file("ca"), authority.pem()).unwrap();
    fs::write(file("cert"), cert).unwrap();
    fs::write(file("key"), key).unwrap();
    let all = token(&file("tokens"), &["command", "query", "operate"]);
    let follower = token(&file("tokens"), &["subscribe"]);
    // The follower starts with a token that the server does not know yet.
    fs::write(file("follower"), "too-early\n").unwrap();

    let writes: Process = {
        let mut serve = serve(&file("writes"));
        serve.args(["--roles", "command"]);
        for (flag, name) in [
            ("--tls-cert", "cert"),
            ("--tls-key", "key"),
            ("--tokens", "tokens"),
        ] {
            serve.arg(flag).arg(file(name));
        }
        serve.into()
    };
    let url = writes
        .url()
        .replace("http://127.0.0.1", "https://localhost");
    let reads: Process = {
        let mut serve = serve(&file("reads"));
        serve
            .args(["--roles", "query,indexer", "--events-url", &url, "--tls-ca"])
            .arg(file("ca"));
        serve.arg("--token-file").arg(file("follower"));
        serve.into()
    };
    let mut create = orderlog();
    create
        .args(CREATE)
        .args(["--order-id", "o-1"])
        .env("ORDERLOG_TOKEN", &all);
    let created = create
        .env("ORDERLOG_SERVER", &url)
        .env("ORDERLOG_TLS_CA", file("ca"))
        .output();
    let created = created.unwrap();
    assert!(created.status.success(), "{created:?}");
    fs::write(file("follower"), format!("{follower}\n")).unwrap();
    eventually("the order is projected", async || {
        reads
            .run(["order", "get", "o-1", "--min-position", "1"])
            .status
            .success()
            .then_some(())
    })
    .await;
    // `verify` also checks the log, which is on the other node.
    reads.ask(["verify"]);
}

#[test]
fn files_that_are_wrong_are_refused_by_the_name_of_their_setting() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    let authority = Authority::new();
    let (cert, _) = authority.certificate("localhost");
    let (_, other_key) = authority.certificate("localhost");
    fs::write(file("cert"), cert).unwrap();
    fs::write(file("key"), other_key).unwrap();
    fs::write(file("wrong"), "wrong\n").unwrap();
    let refused = |flags: &[(&str, &str)]| {
        let mut serve = serve(&file("data"));
        for (flag, name) in flags {
            serve.arg(flag).arg(file(name));
            if *flag == "--jwt-keys" {
                serve.args(["--jwt-issuer", "i", "--jwt-audience", "a"]);
            }
        }
        let output = serve.output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        let told = String::from_utf8(output.stderr).unwrap();
        told.replace(folder.path().to_str().unwrap(), "")
    };
    assert_eq!(
        refused(&[("--tokens", "missing")]),
        "error: tokens: /missing: No such file or directory (os error 2)\n"
    );
    assert_eq!(
        refused(&[("--tokens", "wrong")]),
        "error: tokens: /wrong: line 1: must be a hash and roles, as `orderlog token new` writes them\n"
    );
    assert_eq!(
        refused(&[("--tls-cert", "wrong"), ("--tls-key", "key")]),
        "error: tls-cert: /wrong: holds no certificate in PEM\n"
    );
    assert_eq!(
        refused(&[("--tls-cert", "cert"), ("--tls-key", "wrong")]),
        "error: tls-key: /wrong: holds no private key in PEM\n"
    );
    assert!(
        refused(&[("--tls-cert", "cert"), ("--tls-key", "key")])
            .starts_with("error: tls-key: /key: does not fit tls-cert: ")
    );
    let secret = r#"{"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}"#;
    fs::write(file("shared"), secret).unwrap();
    assert_eq!(
        refused(&[("--jwt-keys", "shared")]),
        "error: jwt-keys: /shared: keys[0] is a shared secret: whoever checks with it could sign \
         with it\n"
    );
    let told = |command: &mut Command| {
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    let mut follows = serve(&file("data"));
    follows.args(["--events-url", "https://localhost:1", "--tls-ca"]);
    let wrong = told(follows.arg(file("wrong")));
    assert!(
        wrong.ends_with("/wrong: holds no certificate in PEM\n"),
        "{wrong}"
    );
    // The client fails before it resolves the host name.
    let mut asks = orderlog();
    asks.args([
        "statistics",
        "--server",
        "http://orders.example:1",
        "--token",
        "secret",
    ]);
    assert_eq!(
        told(&mut asks),
        "error: http://orders.example:1/: a token is not sent beyond this machine without TLS: \
         use https, or set insecure to allow it\n"
    );
    assert!(refused(&[("--jwt-keys", "wrong")]).starts_with("error: jwt-keys: /wrong: is no JWKS"));
    // The failed starts created no data folder.
    assert!(!file("data").exists());
}
