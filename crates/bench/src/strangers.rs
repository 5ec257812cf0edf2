//! Measures the cost of hostile connections to a valid command, and the memory that they take.

use std::{
    process::Command,
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::future::join_all;
use h2::client::{self, SendRequest};
use http::Request;
use test_support::Issuer;
use tokio::{net::TcpStream, runtime::Builder, task::LocalSet, time::interval};
use tokio_util::sync::CancellationToken;

use crate::{
    figures::{median, milliseconds, quantile, tell_latency},
    load::{self, Call},
    program::Program,
};

/// Hostile connections at a time.
const CONNECTIONS: usize = 200;

/// Attempts of all hostile connections together, a second: bursts of refused calls, or connects.
const ATTEMPTS_PER_SECOND: usize = 10_000;

/// Calls of a burst.
const BURST: usize = 900;

/// The interval between two valid commands. The server is not busy with them.
const INTERVAL: Duration = Duration::from_millis(5);

const ROUNDS: usize = 3;

/// The kinds of hostile connections.
#[derive(Debug, Clone, Copy)]
enum Hostile {
    /// Bursts of calls without a credential.
    Refused,
    /// Bursts of calls with JWTs whose signature is wrong and whose claims are right.
    Forged,
    /// Health watches that are never read.
    Watches,
    /// Messages to the health service that lack their last byte.
    Unfinished,
    /// Connections that close at once.
    Connects,
}

pub(crate) async fn run(seconds: u64) {
    let folder = tempfile::tempdir().unwrap();
    let (issuer, forger) = (Issuer::new("key-1"), Issuer::new("key-1"));
    let keys = folder.path().join("keys.json");
    std::fs::write(&keys, issuer.keys().to_string()).unwrap();
    let program = Program::start_with_arguments(|serve: &mut Command| {
        serve.arg("--jwt-keys").arg(&keys);
        serve.args(["--jwt-issuer", Issuer::ISSUER]);
        serve.args(["--jwt-audience", Issuer::AUDIENCE]);
    });
    let (address, turn) = (program.address(), Duration::from_secs(seconds));
    let token = issuer.sign(&Issuer::claims(&["command"], 86_400));
    let forged = forger.sign(&Issuer::claims(&["command"], 86_400));
    let mut alone = Vec::new();
    let kinds = [
        Hostile::Refused,
        Hostile::Forged,
        Hostile::Watches,
        Hostile::Unfinished,
        Hostile::Connects,
    ];
    let mut beside = kinds.map(|kind| (kind, Vec::new(), 0.0_f64));
    for _ in 0..ROUNDS {
        alone.extend(commands(&address, &token, turn).await);
        for (kind, latencies, memory) in &mut beside {
            let attack = Attack::start(*kind, &address, &forged);
            latencies.extend(commands(&address, &token, turn).await);
            *memory = memory.max(program.process().memory("VmRSS"));
            attack.stop();
        }
    }
    tell_latency("CreateOrder", &alone);
    for (kind, latencies, memory) in &beside {
        tell_latency(&format!("beside {CONNECTIONS} of {kind:?}"), latencies);
        println!(
            "  ratios: p50 {:.2}, p99 {:.2}; memory at the end of a turn: {memory:.0} MB",
            median(latencies) / median(&alone),
            quantile(latencies, 0.99) / quantile(&alone, 0.99),
        );
    }
    let memory = program.process().memory("VmHWM");
    println!("memory at most: {memory:.0} MB");
}

/// Sends one command after the other, and returns their latencies in milliseconds.
async fn commands(address: &str, token: &str, turn: Duration) -> Vec<f64> {
    let mut connection = connect(address, &client::Builder::new()).await.unwrap();
    let ends = Instant::now() + turn;
    let mut latencies = Vec::new();
    let mut due = interval(INTERVAL);
    while Instant::now() < ends {
        due.tick().await;
        let number = latencies.len() as u64;
        let began = Instant::now();
        let status = call(
            &mut connection,
            Call::Create.path(),
            Some(token),
            Call::Create.body(number),
        )
        .await;
        latencies.push(milliseconds(began.elapsed()));
        assert_eq!(status.unwrap(), None);
    }
    latencies
}

async fn connect(address: &str, builder: &client::Builder) -> Option<SendRequest<Bytes>> {
    let socket = TcpStream::connect(address).await.ok()?;
    socket.set_nodelay(true).ok()?;
    let (send, connection) = builder.handshake(socket).await.ok()?;
    tokio::spawn(connection);
    send.ready().await.ok()
}

fn request(path: &str, token: Option<&str>) -> Request<()> {
    let mut request = Request::post(format!("http://orderlog{path}"));
    request = request.header("content-type", "application/grpc");
    request = request.header("te", "trailers");
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    request.body(()).unwrap()
}

/// Makes a call, and returns the `grpc-status` of an immediate refusal.
async fn call(
    connection: &mut SendRequest<Bytes>,
    path: &str,
    token: Option<&str>,
    body: Bytes,
) -> Result<Option<String>, h2::Error> {
    let mut ready = connection.clone().ready().await?;
    let (response, mut stream) = ready.send_request(request(path, token), false)?;
    // The server may have answered already.
    let _ = stream.send_data(body, true);
    let mut answer = response.await?;
    let status = answer.headers().get("grpc-status");
    let status = status.map(|status| status.to_str().unwrap().to_owned());
    while let Some(data) = answer.body_mut().data().await {
        let length = data?.len();
        answer.body_mut().flow_control().release_capacity(length)?;
    }
    Ok(status)
}

/// Hostile connections on a thread of their own.
struct Attack {
    stop: CancellationToken,
    thread: thread::JoinHandle<()>,
}

impl Attack {
    fn start(kind: Hostile, address: &str, forged: &str) -> Self {
        let stop = CancellationToken::new();
        let (until, address, forged) = (stop.clone(), address.to_owned(), forged.to_owned());
        let thread = thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            let attack = async {
                let local = LocalSet::new();
                for _ in 0..CONNECTIONS {
                    local.spawn_local(hostile(kind, address.clone(), forged.clone()));
                }
                local.await;
            };
            runtime.block_on(until.run_until_cancelled(attack));
        });
        Self { stop, thread }
    }

    fn stop(self) {
        self.stop.cancel();
        self.thread.join().unwrap();
    }
}

/// One hostile connection, which comes again whenever it is closed.
async fn hostile(kind: Hostile, address: String, forged: String) {
    let pause = Duration::from_secs(1) * CONNECTIONS as u32 / ATTEMPTS_PER_SECOND as u32;
    let mut due = interval(pause);
    let mut builder = client::Builder::new();
    builder.initial_window_size(0);
    loop {
        due.tick().await;
        if let Hostile::Connects = kind {
            drop(TcpStream::connect(&address).await);
            continue;
        }
        let Some(connection) = connect(&address, &builder).await else {
            continue;
        };
        let token = match kind {
            Hostile::Forged => Some(forged.as_str()),
            _ => None,
        };
        let mut held = Vec::new();
        let opened = async {
            match kind {
                Hostile::Refused | Hostile::Forged | Hostile::Connects => loop {
                    due.tick().await;
                    let calls = (0..BURST).map(|_| {
                        let mut connection = connection.clone();
                        let body = Call::Create.body(0);
                        async move { call(&mut connection, Call::Create.path(), token, body).await }
                    });
                    for answer in join_all(calls).await {
                        answer?;
                    }
                },
                Hostile::Watches | Hostile::Unfinished => {
                    let (path, body) = match kind {
                        Hostile::Watches => ("/grpc.health.v1.Health/Watch", load::framed(&())),
                        _ => (
                            "/grpc.health.v1.Health/Check",
                            Bytes::from_static(&[0, 0, 0, 3, 232]),
                        ),
                    };
                    for _ in 0..4 {
                        let mut ready = connection.clone().ready().await?;
                        let (response, mut stream) =
                            ready.send_request(request(path, None), false)?;
                        let _ = stream.send_data(body.clone(), false);
                        held.push((response, stream));
                    }
                    // Until the server closes the connection.
                    loop {
                        due.tick().await;
                        connection.clone().ready().await?;
                    }
                }
            }
        };
        let closed: Result<(), h2::Error> = opened.await;
        drop(closed);
    }
}
