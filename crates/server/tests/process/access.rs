//! Tests of tokens and TLS on the command line and between nodes.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use e2e::Process;
use test_support::{Authority, wait_until};

use crate::binary::{failed, orderlog, serve, succeeded};

/// Creates a token with these roles in the token file, and returns it.
pub(crate) fn token(file: &Path, roles: &[&str]) -> String {
    let mut new = orderlog();
    new.args(["token", "new", "--tokens"]).arg(file);
    for role in roles {
        new.args(["--role", role]);
    }
    let printed = succeeded(&new.output().unwrap());
    let token = printed.lines().last().unwrap();
    assert_eq!(printed, format!("{token}\n"));
    token.to_owned()
}

/// Makes a server use TLS, and require one of the tokens in `folder/tokens`. The certificate is for
/// `localhost`, by the returned authority.
pub(crate) fn secure(serve: &mut Command, folder: &Path) -> Authority {
    let authority = Authority::new();
    let (cert, key) = authority.certificate("localhost");
    fs::write(folder.join("cert"), cert).unwrap();
    fs::write(folder.join("key"), key).unwrap();
    for (flag, name) in [
        ("--tls-cert", "cert"),
        ("--tls-key", "key"),
        ("--tokens", "tokens"),
    ] {
        serve.arg(flag).arg(folder.join(name));
    }
    authority
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
async fn tokens_are_added_and_removed_without_a_restart() {
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
    let statistics = ["statistics", "--min-position", "0"];
    let error = failed(&run(url, &buyer, &statistics), 1);
    assert!(
        error.contains("does not have the role query (PERMISSION_DENIED)"),
        "{error}"
    );
    for wrong in ["", "wrong"] {
        let error = failed(&run(url, wrong, &CREATE), 1);
        assert!(error.contains("(UNAUTHENTICATED)"), "{error}");
    }

    let reader = token(&tokens, &["query"]);
    wait_until("the new token counts", async || {
        succeeds(&reader, &["statistics"])
    })
    .await;
    let text = fs::read_to_string(&tokens).unwrap();
    fs::write(&tokens, text.lines().last().unwrap()).unwrap();
    wait_until("the old token is refused", async || {
        !succeeds(&buyer, &CREATE)
    })
    .await;
    assert!(succeeds(&reader, &["statistics"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_follows_another_with_tls_and_a_token_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    let all = token(&file("tokens"), &["command", "query", "operate"]);
    let follower = token(&file("tokens"), &["subscribe"]);
    // The follower starts with a token that the server does not know yet.
    fs::write(file("follower"), "too-early\n").unwrap();

    let writes: Process = {
        let mut serve = serve(&file("writes"));
        serve.args(["--roles", "command"]);
        let authority = secure(&mut serve, folder.path());
        fs::write(file("ca"), authority.pem()).unwrap();
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
    create
        .env("ORDERLOG_SERVER", &url)
        .env("ORDERLOG_TLS_CA", file("ca"));
    succeeded(&create.output().unwrap());
    fs::write(file("follower"), format!("{follower}\n")).unwrap();
    wait_until("the order is projected", async || {
        let found = reads.run(["order", "get", "o-1", "--min-position", "1"]);
        found.status.success()
    })
    .await;
    // `verify` also checks the log, which is on the other node.
    reads.ask(["verify"]);
}

/// Flags of `serve` with files, and the end of the error for them. A file is named `missing`,
/// `text`, `shared-secret`, or `cert` and `key` for two that do not match.
const WRONG_FILES: [(&[(&str, &str)], &str); 7] = [
    (
        &[("--tokens", "missing")],
        "tokens: /missing: No such file or directory (os error 2)\n",
    ),
    (
        &[("--tokens", "text")],
        "tokens: /text: line 1: must be a hash, roles and a name, as `orderlog token new` writes them\n",
    ),
    (
        &[("--tls-cert", "text"), ("--tls-key", "key")],
        "tls-cert: /text: holds no certificate in PEM\n",
    ),
    (
        &[("--tls-cert", "cert"), ("--tls-key", "text")],
        "tls-key: /text: holds no private key in PEM\n",
    ),
    (
        &[("--tls-cert", "cert"), ("--tls-key", "key")],
        "tls-key: /key: does not fit tls-cert: ",
    ),
    (
        &[("--jwt-keys", "shared-secret")],
        "jwt-keys: /shared-secret: keys[0] is a shared secret: whoever checks with it could sign \
         with it\n",
    ),
    (&[("--jwt-keys", "text")], "jwt-keys: /text: is no JWKS"),
];

#[test]
fn a_wrong_file_is_refused_with_the_name_of_its_setting() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    let authority = Authority::new();
    let (cert, _) = authority.certificate("localhost");
    let (_, other_key) = authority.certificate("localhost");
    let secret = r#"{"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}"#;
    fs::write(file("cert"), cert).unwrap();
    fs::write(file("key"), other_key).unwrap();
    fs::write(file("text"), "wrong\n").unwrap();
    fs::write(file("shared-secret"), secret).unwrap();
    for (flags, expected) in WRONG_FILES {
        let mut serve = serve(&file("data"));
        for (flag, name) in flags {
            serve.arg(flag).arg(file(name));
            if *flag == "--jwt-keys" {
                serve.args(["--jwt-issuer", "i", "--jwt-audience", "a"]);
            }
        }
        let error = failed(&serve.output().unwrap(), 2);
        let error = error.replace(folder.path().to_str().unwrap(), "");
        let expected = format!("error: {expected}");
        match expected.ends_with('\n') {
            true => assert_eq!(error, expected),
            // The rest of the message comes from a library.
            false => assert!(error.starts_with(&expected), "{error}"),
        }
    }
    // The failed starts created no data folder.
    assert!(!file("data").exists());
}

#[test]
fn a_node_with_a_wrong_file_for_its_calls_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("text");
    fs::write(&text, "wrong\n").unwrap();
    let mut follows = serve(&folder.path().join("data"));
    follows.args(["--events-url", "https://localhost:1", "--tls-ca"]);
    let error = failed(&follows.arg(text).output().unwrap(), 2);
    assert!(
        error.ends_with("/text: holds no certificate in PEM\n"),
        "{error}"
    );
    assert!(!folder.path().join("data").exists());
}

#[test]
fn a_client_command_sends_no_token_without_tls_to_another_machine() {
    let mut statistics = orderlog();
    // The client fails before it resolves the host name.
    statistics.args(["statistics", "--server", "http://orders.example:1"]);
    statistics.args(["--token", "secret"]);
    assert_eq!(
        failed(&statistics.output().unwrap(), 2),
        "error: http://orders.example:1/: a token is not sent beyond this machine without TLS: \
         use https, or set insecure to allow it\n"
    );
}
