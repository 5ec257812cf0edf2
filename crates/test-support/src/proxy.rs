//! A TCP proxy that simulates a broken network.

use std::{io, path::Path};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, UnixStream},
    sync::watch,
    task::AbortHandle,
};

/// A network between a client and a server that a test can break. The proxy runs on the runtime
/// that created it, until it is dropped.
#[derive(Debug)]
pub struct Proxy {
    address: String,
    state: watch::Sender<State>,
    task: AbortHandle,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The proxy forwards everything.
    Whole,
    /// The proxy closes all connections, and each new one at once.
    Cut,
    /// The proxy forwards from client to server only.
    Mute,
    /// The proxy forwards nothing and keeps connections open, so neither side notices.
    Dark,
}

impl Proxy {
    /// Starts a proxy to `server`: an address and port, or the path of a socket.
    ///
    /// # Panics
    /// Panics if no port is free.
    pub async fn to(server: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (state, seen) = watch::channel(State::Whole);
        let server = server.to_owned();
        let task = tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                // The result is dropped, because tests break connections on purpose.
                tokio::spawn(connect(client, server.clone(), seen.clone()));
            }
        });
        Self {
            address,
            state,
            task: task.abort_handle(),
        }
    }

    /// Returns the address and port that clients connect to.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Closes all connections and refuses new ones.
    pub fn cut(&self) {
        self.state.send_replace(State::Cut);
    }

    /// Forwards requests and holds answers back.
    pub fn mute(&self) {
        self.state.send_replace(State::Mute);
    }

    /// Forwards nothing and keeps connections open.
    pub fn darken(&self) {
        self.state.send_replace(State::Dark);
    }

    /// Forwards everything, including the bytes held back so far.
    pub fn mend(&self) {
        self.state.send_replace(State::Whole);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
        self.cut();
    }
}

async fn connect(client: TcpStream, server: String, seen: watch::Receiver<State>) {
    if *seen.borrow() == State::Cut {
        return;
    }
    let connected = match Path::new(&server).is_absolute() {
        true => match UnixStream::connect(&server).await {
            Ok(server) => forward(client, server, seen).await,
            Err(error) => Err(error),
        },
        false => match TcpStream::connect(&server).await {
            Ok(server) => forward(client, server, seen).await,
            Err(error) => Err(error),
        },
    };
    // Each side may close at any time, so an error is not a failure.
    drop(connected);
}

async fn forward(
    client: TcpStream,
    server: impl AsyncRead + AsyncWrite,
    seen: watch::Receiver<State>,
) -> io::Result<()> {
    let mut to_cut = seen.clone();
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = tokio::io::split(server);
    let there = pass(&mut from_client, &mut to_server, seen.clone(), |state| {
        state != State::Dark
    });
    let back = pass(&mut from_server, &mut to_client, seen.clone(), |state| {
        state == State::Whole
    });
    tokio::select! {
        ended = there => ended,
        ended = back => ended,
        _ = to_cut.wait_for(|state| *state == State::Cut) => Ok(()),
    }
}

/// Copies bytes from `from` to `to`. Bytes wait while `open` rejects the state.
async fn pass(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    mut seen: watch::Receiver<State>,
    open: impl Fn(State) -> bool,
) -> io::Result<()> {
    let mut buffer = vec![0; 1 << 16];
    loop {
        let read = from.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        if seen.wait_for(|state| open(*state)).await.is_err() {
            return Ok(());
        }
        to.write_all(&buffer[..read]).await?;
    }
}
