//! Tests of what strangers, other users of the machine and former clients can do to the program.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    os::unix::fs::{PermissionsExt as _, symlink},
    path::Path,
    process::{Command, Stdio},
    thread,
};

use bytes::Bytes;
use contract::orders::v1::GetHeadRequest;
use e2e::Process;
use h2::client::{self, SendRequest};
use http::Request;
use test_support::{DEADLINE, eventually};

use crate::binary::{orderlog, serve, start};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// Runs `orderlog token` with these arguments, and returns its output.
fn token(arguments: &[&str], file: &Path) -> Result<String, String> {
    let mut token = orderlog();
    token.arg("token").args(arguments).arg("--tokens").arg(file);
    let output = token.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    match output.status.success() {
        true => Ok(text(output.stdout).trim_end().to_owned()),
        false => Err(text(output.stderr)),
    }
}

/// Starts a server that accepts the tokens of this file.
fn secured(folder: &Path, tokens: &Path) -> Process {
    let mut serve = serve(&folder.join("data"));
    serve.arg("--tokens").arg(tokens);
    serve.into()
}

/// Runs a server that does not start. Returns its exit code, and the last line that it prints.
///
/// # Panics
/// Panics if the server serves.
fn refused(mut serve: Command) -> (Option<i32>, String) {
    let mut child = serve.stderr(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut last = String::new();
    for line in lines.map(Result::unwrap) {
        if line.contains("serving address=") {
            child.kill().unwrap();
            panic!("the server serves");
        }
        last = line;
    }
    (child.wait().unwrap().code(), last)
}

#[test]
fn tokens_are_listed_by_name_and_revoked_one_by_one() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tokens");
    let new = |name| token(&["new", "--name", name, "--role", "query"], &file);
    let shop = new("shop").unwrap();
    new("desk").unwrap();
    assert!(new("shop").unwrap_err().contains("name of another token"));
    assert!(new("a b").unwrap_err().contains("must be 1 to 64"));
    let listed = token(&["list"], &file).unwrap();
    let names: Vec<_> = listed
        .lines()
        .map(|line| line.split_whitespace().next().unwrap())
        .collect();
    assert_eq!(names, ["NAME", "shop", "desk"]);
    assert!(!listed.contains(&shop));

    token(&["revoke", "shop"], &file).unwrap();
    assert!(
        token(&["revoke", "shop"], &file)
            .unwrap_err()
            .contains("no token \"shop\"")
    );
    let listed = token(&["list"], &file).unwrap();
    assert!(
        !listed.contains("shop") && listed.contains("desk"),
        "{listed}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_for_their_user_only() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let process = start(&data);
    let mut clients = process.clients().await;
    clients.events.get_head(GetHeadRequest {}).await.unwrap();
    assert_eq!(mode(&data), 0o700);
    for name in ["events.db", "read.db", "lock"] {
        assert_eq!(mode(&data.join(name)) & 0o077, 0, "{name}");
    }
    let export = folder.path().join("backup.db");
    let exported = orderlog()
        .args(["export", "--data-dir"])
        .arg(&data)
        .arg(&export)
        .output()
        .unwrap();
    assert!(exported.status.success(), "{exported:?}");
    assert_eq!(mode(&export) & 0o077, 0);
}

#[test]
fn a_folder_that_everybody_may_write_in_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    fs::create_dir(&data).unwrap();
    fs::set_permissions(&data, fs::Permissions::from_mode(0o777)).unwrap();
    let (code, told) = refused(serve(&data));
    assert_eq!(code, Some(1));
    assert!(
        told.contains("is not safe: everybody may write in it"),
        "{told}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_follows_no_link_that_another_user_could_have_made() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let process = start(&data);
    let mut clients = process.clients().await;
    clients.events.get_head(GetHeadRequest {}).await.unwrap();
    let elsewhere = folder.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    symlink(&elsewhere, folder.path().join("backup.db.unfinished")).unwrap();
    let export = folder.path().join("backup.db");
    let refused = orderlog()
        .args(["export", "--data-dir"])
        .arg(&data)
        .arg(&export)
        .output()
        .unwrap();
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert!(!export.exists());
    assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 0);
}

#[test]
fn a_tokens_file_that_everybody_may_write_to_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tokens");
    token(&["new", "--role", "query"], &file).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
    let mut serve = serve(&folder.path().join("data"));
    serve.arg("--tokens").arg(&file);
    let (code, told) = refused(serve);
    assert_eq!(code, Some(2));
    assert!(told.contains("everybody may write to it"), "{told}");
}

fn get(address: SocketAddr, host: &str) -> String {
    let mut connection = TcpStream::connect(address).unwrap();
    let request = format!("GET /metrics HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    connection.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    answer.lines().next().unwrap_or_default().to_owned()
}

#[test]
fn metrics_have_a_place_for_a_scrape_and_no_answer_for_another_host_name() {
    let folder = tempfile::tempdir().unwrap();
    let process = start(folder.path());
    let address = process.metrics().parse().unwrap();
    let idle: Vec<_> = (0..100)
        .map(|_| TcpStream::connect(address).unwrap())
        .collect();
    for host in ["localhost", "127.0.0.1:9464", "[::1]"] {
        assert_eq!(get(address, host), "HTTP/1.1 200 OK", "{host}");
    }
    for host in [
        "page.example",
        "localhost.page.example",
        "127.0.0.1.page.example:9464",
    ] {
        assert_eq!(
            get(address, host),
            "HTTP/1.1 421 Misdirected Request",
            "{host}"
        );
    }
    drop(idle);
}

/// Opens a bare HTTP/2 connection. A background task drives it.
async fn connect(url: &str) -> SendRequest<Bytes> {
    let address = url.strip_prefix("http://").unwrap();
    let socket = tokio::net::TcpStream::connect(address).await.unwrap();
    let mut builder = client::Builder::new();
    // Nothing that the server sends is read.
    builder.initial_window_size(0);
    let (send, connection) = builder.handshake::<_, Bytes>(socket).await.unwrap();
    tokio::spawn(connection);
    send
}

fn call(path: &str) -> Request<()> {
    let call = Request::post(format!("http://localhost{path}"));
    let call = call
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    call.body(()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_hold_little_memory() {
    let folder = tempfile::tempdir().unwrap();
    let tokens = folder.path().join("tokens");
    let secret = token(&["new", "--role", "query"], &tokens).unwrap();
    let process = secured(folder.path(), &tokens);
    let before = process.memory("VmRSS");
    let (mut open, mut connected) = (Vec::new(), Vec::new());
    // Many connections that hold little, and some that try to hold much: 600 MB of messages that
    // lack their end.
    for (connections, calls) in [(3000, 1), (100, 100)] {
        for _ in 0..connections {
            let mut send = connect(process.url()).await;
            for _ in 0..calls {
                let watch = call("/grpc.health.v1.Health/Watch");
                let check = call("/grpc.health.v1.Health/Check");
                // The server may have closed the connection, or the stream.
                let Ok((_, mut watch)) = send.send_request(watch, false) else {
                    break;
                };
                let Ok((_, mut check)) = send.send_request(check, false) else {
                    break;
                };
                let _ = watch.send_data(Bytes::from_static(&[0; 5]), true);
                let _ = check.send_data(Bytes::from_static(&[0, 0, 16, 0, 0]), false);
                let _ = check.send_data(Bytes::from(vec![0; 60_000]), false);
                open.push((watch, check));
            }
            connected.push(send);
        }
    }
    let highest = process.memory("VmHWM");
    assert!(highest - before < 200.0, "{before} MB, then {highest} MB");
    // A client with a credential finds a place.
    let found = orderlog()
        .env("ORDERLOG_SERVER", process.url())
        .env("ORDERLOG_TOKEN", secret)
        .args(["order", "search"])
        .output()
        .unwrap();
    assert!(found.status.success(), "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_calls_and_operators_actions_are_in_the_log_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let tokens = folder.path().join("tokens");
    let operator = token(&["new", "--name", "olga", "--role", "operate"], &tokens).unwrap();
    let mut serve = serve(&folder.path().join("data"));
    serve
        .arg("--tokens")
        .arg(&tokens)
        .args(["--log-format", "json"]);
    let mut child = serve.stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap())
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(&line.unwrap()).unwrap());
    let serving = lines.find(|line| line["message"] == "serving").unwrap();
    let url = format!("http://{}", serving["address"].as_str().unwrap());
    let run = |token: &str, arguments: &[&str]| {
        let mut command = orderlog();
        command
            .env("ORDERLOG_SERVER", &url)
            .env("ORDERLOG_TOKEN", token);
        command.args(arguments).output().unwrap()
    };
    run("wrong", &["order", "get", "o-1"]);
    run(&operator, &["order", "get", "o-1"]);
    eventually("the projections are there", async || {
        run(&operator, &["parked", "list"])
            .status
            .success()
            .then_some(())
    })
    .await;
    // A thread reads the log, so that a line that never comes fails the test at its deadline.
    let (sender, audit) = std::sync::mpsc::channel();
    thread::spawn(move || {
        let lines = lines.filter(|line| line["target"] == "audit");
        // The receiver is gone when the test has ended.
        lines.map(|line| sender.send(line)).all(|sent| sent.is_ok())
    });
    let next = || {
        let line = audit
            .recv_timeout(DEADLINE)
            .expect("a line of the audit trail");
        let peer = line["peer"].as_str().unwrap_or_default();
        assert!(peer.starts_with("127.0.0.1:"), "{line}");
        line
    };
    let wrong = next();
    assert_eq!(wrong["reason"], "UNAUTHENTICATED", "{wrong}");
    assert_eq!(wrong["method"], "orders.v1.EventService/GetHead", "{wrong}");
    let denied = next();
    assert_eq!(denied["reason"], "PERMISSION_DENIED", "{denied}");
    assert_eq!(denied["actor"], "olga", "{denied}");
    let operated = next();
    assert_eq!(operated["message"], "an operator calls", "{operated}");
    assert_eq!(operated["actor"], "olga", "{operated}");
    child.kill().unwrap();
    child.wait().unwrap();
}
