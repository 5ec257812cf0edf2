//! Fake servers of the contract for the tests of client commands, and tests of the command line.

use std::{
    mem,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
};

use clap::{CommandFactory as _, Parser as _};
use tokio::{
    io::{self, AsyncReadExt as _},
    net::{TcpListener, TcpStream},
};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{
    Status,
    transport::{Endpoint, server::Router},
};
use wire::{Bearer, Connection};

use super::Cli;

/// The response stream of a fake.
pub(super) type Answers<T> = Pin<Box<dyn futures_util::Stream<Item = Result<T, Status>> + Send>>;

/// State that a fake shares with its test.
#[derive(Debug, Default)]
pub(super) struct Shared<T>(Arc<Mutex<T>>);

impl<T> Shared<T> {
    pub(super) fn new(state: T) -> Self {
        Self(Arc::new(Mutex::new(state)))
    }

    pub(super) fn share(&self) -> Self {
        Self(Arc::clone(&self.0))
    }

    pub(super) fn get(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap()
    }
}

/// Serves on a free port and connects to it.
pub(super) async fn serve(router: Router) -> Connection {
    connect(listen(router).await).await
}

/// Serves through a proxy, and connects to it. The first connection breaks after `bytes` bytes to
/// the client.
pub(super) async fn serve_breaking(router: Router, bytes: u64) -> Connection {
    let server = listen(router).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut limit = bytes;
        loop {
            let (client, _) = listener.accept().await.unwrap();
            let server = TcpStream::connect(server).await.unwrap();
            let (from_client, mut to_client) = client.into_split();
            let (from_server, mut to_server) = server.into_split();
            let mut from_server = from_server.take(mem::replace(&mut limit, u64::MAX));
            let mut from_client = from_client;
            tokio::spawn(async move {
                tokio::select! {
                    _ = io::copy(&mut from_server, &mut to_client) => {}
                    _ = io::copy(&mut from_client, &mut to_server) => {}
                }
            });
        }
    });
    connect(address).await
}

async fn listen(router: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(router.serve_with_incoming(TcpListenerStream::new(listener)));
    address
}

async fn connect(address: SocketAddr) -> Connection {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
    Connection::new(endpoint.connect().await.unwrap(), Bearer::default())
}

#[test]
fn the_definitions_are_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn every_command_shows_help_with_an_example() {
    fn check(command: &mut clap::Command) {
        let help = command.render_long_help().to_string();
        let groups = command.has_subcommands() && command.get_name() != "orderlog";
        assert!(help.contains("Example") || groups, "{help}");
        for subcommand in command.get_subcommands_mut() {
            if subcommand.get_name() != "help" {
                check(subcommand);
            }
        }
    }
    check(&mut Cli::command());
}

#[test]
fn json_and_server_are_flags_of_every_client_command_and_not_of_serve() {
    let parses = |line: &str| Cli::try_parse_from(line.split(' ')).is_ok();
    assert!(parses("orderlog order --json get o-1"));
    assert!(parses(
        "orderlog order get o-1 --json --server http://there:1"
    ));
    assert!(parses("orderlog import - --json"));
    assert!(!parses("orderlog serve --json"));
    assert!(!parses("orderlog serve --server http://there:1"));
}

#[test]
fn wrong_arguments_are_refused() {
    let parses = |line: &str| Cli::try_parse_from(line.split(' ')).is_ok();
    assert!(parses(
        "orderlog order search a b --status created,shipped --limit 3"
    ));
    assert!(parses(
        "orderlog order search --min-total 10.00 --currency USD"
    ));
    for wrong in [
        "orderlog order create --customer C --currency USD",
        "orderlog order create --customer C --currency USD --item P:1",
        "orderlog order search --status open",
        "orderlog order search --limit 0",
        "orderlog order search --currency USD",
        "orderlog order search --from yesterday",
        "orderlog order search --facet price",
    ] {
        assert!(!parses(wrong), "{wrong}");
    }
}
